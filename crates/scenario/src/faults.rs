//! The faults of the local executor, one file each: settings, requirements, and execution.

mod connections;
mod http_load;
mod memory_leak;
mod network;
mod reverse_shell;
mod short_processes;
mod stress;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::process::{Command, Stdio};

use contract::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use connections::Connections;
pub use http_load::HttpLoad;
pub use memory_leak::MemoryLeak;
pub use network::Network;
pub use reverse_shell::ReverseShell;
pub use short_processes::ShortProcesses;
pub use stress::{Cpu, Disk, Io, Memory, ProcessStorm};

use crate::file::ScenarioFile;
use crate::worker::Stop;

/// A kind of fault.
pub trait Fault {
    /// Checks the settings against the limits and the allowed hosts; returns the cause.
    fn check(&self, file: &ScenarioFile) -> Result<(), String>;

    /// Checks that this machine can run it, without side effects.
    fn prepare(&self) -> Result<(), StepError>;

    /// Runs it until `stop`. It does not have to end its processes, because the worker kills them.
    fn run(&self, stop: &Stop) -> Result<(), StepError>;
}

/// The fault of a step, with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Busy processors.
    Cpu(Cpu),
    /// Memory that is taken at once and kept.
    Memory(Memory),
    /// Memory that grows until the end.
    MemoryLeak(MemoryLeak),
    /// Files written, read and removed.
    Disk(Disk),
    /// Reads, writes and flushes of many kinds, mixed.
    Io(Io),
    /// Processes that fork without pause.
    ProcessStorm(ProcessStorm),
    /// Programs started from a temporary folder.
    ShortProcesses(ShortProcesses),
    /// Connections to ports.
    Connections(Connections),
    /// A shell that takes its commands from a connection.
    ReverseShell(ReverseShell),
    /// HTTP requests.
    HttpLoad(HttpLoad),
    /// A slow or lossy network device.
    Network(Network),
}

impl FaultKind {
    /// Returns the name in the scenario file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Memory(_) => "memory",
            Self::MemoryLeak(_) => "memory_leak",
            Self::Disk(_) => "disk",
            Self::Io(_) => "io",
            Self::ProcessStorm(_) => "process_storm",
            Self::ShortProcesses(_) => "short_processes",
            Self::Connections(_) => "connections",
            Self::ReverseShell(_) => "reverse_shell",
            Self::HttpLoad(_) => "http_load",
            Self::Network(_) => "network",
        }
    }

    /// Returns the fault behind the settings.
    pub fn fault(&self) -> &dyn Fault {
        match self {
            Self::Cpu(fault) => fault,
            Self::Memory(fault) => fault,
            Self::MemoryLeak(fault) => fault,
            Self::Disk(fault) => fault,
            Self::Io(fault) => fault,
            Self::ProcessStorm(fault) => fault,
            Self::ShortProcesses(fault) => fault,
            Self::Connections(fault) => fault,
            Self::ReverseShell(fault) => fault,
            Self::HttpLoad(fault) => fault,
            Self::Network(fault) => fault,
        }
    }

    pub(crate) fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        self.fault().check(file).map_err(|cause| format!("{}.{cause}", self.name()))
    }
}

/// Checks that a count is at least 1 and at most a limit of the file.
fn within(field: &str, count: u64, limit: &str, most: u64) -> Result<(), String> {
    match count {
        0 => Err(format!("{field}: must be at least 1")),
        _ if count > most => Err(format!("{field}: {count} is above `limits.{limit}`, {most}")),
        _ => Ok(()),
    }
}

fn loopback() -> String {
    "127.0.0.1".to_owned()
}

/// Checks that a host is a loopback address or one that the file allows by name.
fn is_allowed(host: &str, file: &ScenarioFile) -> Result<(), String> {
    let is_loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if is_loopback || file.allowed_hosts.contains(host) {
        return Ok(());
    }
    Err(format!("host: `{host}` is neither a loopback address nor one of `allowed_hosts`"))
}

/// Resolves a host; a name is resolved by a current DNS query.
fn address(host: &str, port: u16) -> Result<SocketAddr, StepError> {
    let unresolved = |cause: String| {
        StepError::unavailable(format!("cannot resolve `{host}`: {cause}"))
            .hint("use an IP address, or check the name")
    };
    let mut found =
        (host, port).to_socket_addrs().map_err(|error| unresolved(error.to_string()))?;
    found.next().ok_or_else(|| unresolved("no address".to_owned()))
}

/// Checks that a program is installed by running it with its version flag.
fn needs(program: &str, argument: &str, package: &str) -> Result<(), StepError> {
    let mut asked = Command::new(program);
    asked.arg(argument).stdout(Stdio::null()).stderr(Stdio::null());
    match asked.status() {
        Ok(_) => Ok(()),
        Err(error) => Err(StepError::usage(format!("cannot start `{program}`: {error}"))
            .hint(format!("install it, for example with: apt-get install {package}"))),
    }
}
