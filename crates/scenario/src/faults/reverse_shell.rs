//! A shell that receives its commands over a network connection, like the reverse shell of an
//! attacker.

use std::io::Write as _;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use contract::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, within};
use crate::file::ScenarioFile;
use crate::worker::Stop;

/// The shell.
const SHELL: &str = "/bin/sh";
/// The commands that it receives in turn; they only read.
const COMMANDS: [&[u8]; 3] = [b"id\n", b"uname -a\n", b"ls /\n"];

/// A shell whose input and output are a connection to a listener of the fault itself. Both ends
/// are on 127.0.0.1, and the listener accepts only the shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReverseShell {
    /// Port of 127.0.0.1 that the shell connects to; 0 (default) is a free one.
    #[serde(default)]
    pub port: u16,
    /// Commands per second that the shell is given, at least 1: `id`, `uname -a`, `ls /`.
    #[serde(default = "one")]
    pub per_second: u32,
}

fn one() -> u32 {
    1
}

impl Fault for ReverseShell {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        within("per_second", self.per_second.into(), "per_second", file.limits.per_second.into())
    }

    fn prepare(&self) -> Result<(), StepError> {
        if Path::new(SHELL).exists() {
            return Ok(());
        }
        Err(StepError::usage(format!("reverse_shell: there is no `{SHELL}`"))
            .hint("every distribution has one: install its package, such as dash"))
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        let (mut operator, mut shell) = self.start().map_err(|error| failed(&error))?;
        let distance = Duration::from_secs(1) / self.per_second;
        let mut told = Ok(());
        for command in COMMANDS.iter().cycle() {
            told = operator.write_all(command);
            if told.is_err() || stop.wait(distance) {
                break;
            }
        }
        // The shell exits at the end of its input; its running command is killed with it.
        drop(operator.shutdown(Shutdown::Both));
        drop(shell.kill());
        drop(shell.wait());
        told.map_err(|error| failed(&error))
    }
}

impl ReverseShell {
    /// Starts the shell; returns the controlling side of the connection, and the shell.
    fn start(&self) -> std::io::Result<(TcpStream, Child)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        let connection = TcpStream::connect(listener.local_addr()?)?;
        let own = connection.local_addr()?;
        let operator = loop {
            let (stream, peer) = listener.accept()?;
            // Any other connection is closed.
            if peer == own {
                break stream;
            }
        };
        let side = || connection.try_clone().map(OwnedFd::from);
        let shell = Command::new(SHELL).stdin(side()?).stdout(side()?).stderr(side()?).spawn()?;
        let mut replies = operator.try_clone()?;
        // The output is read and discarded, so that the shell never blocks; the thread ends with
        // the connection.
        std::thread::spawn(move || std::io::copy(&mut replies, &mut std::io::sink()));
        Ok((operator, shell))
    }
}

fn failed(error: &std::io::Error) -> StepError {
    StepError::unavailable(format!("reverse_shell: the shell or its connection failed: {error}"))
        .hint("is `port` free, and may this user start `/bin/sh`?")
}
