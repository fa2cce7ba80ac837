//! Faults by `stress-ng`: processors, memory, disk, processes.

use std::process::{Command, Stdio};
use std::time::Duration;

use contract::{SYSTEM_HINT, StepError};
use fs_err as fs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, needs, within};
use crate::file::ScenarioFile;
use crate::processes;
use crate::worker::Stop;

/// Time between two checks of the program.
const POLL: Duration = Duration::from_millis(100);

/// Busy processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Busy processes, at least 1.
    pub workers: u32,
    /// Share of a processor that each uses, 1 to 100 per cent.
    #[serde(default = "all")]
    pub load_percent: u8,
}

fn all() -> u8 {
    100
}

/// Memory that is taken at once and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Processes that share the memory, at least 1.
    pub workers: u32,
    /// Memory of all workers together, in MiB.
    pub memory_mib: u64,
}

/// Files written, read and removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Writing processes, at least 1.
    pub workers: u32,
    /// Size of the files of all workers together, in MiB.
    pub disk_mib: u64,
    /// Folder the files are written to.
    #[serde(default = "temporary")]
    pub folder: std::path::PathBuf,
}

fn temporary() -> std::path::PathBuf {
    "/tmp".into()
}

/// Reads, writes and flushes of many kinds, mixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Io {
    /// Processes, at least 1.
    pub workers: u32,
    /// Size of the files of all workers together, in MiB.
    pub disk_mib: u64,
    /// Folder the files are written to.
    #[serde(default = "temporary")]
    pub folder: std::path::PathBuf,
}

/// Processes that fork without pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessStorm {
    /// Forking processes, at least 1.
    pub workers: u32,
}

impl Fault for Cpu {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        if !(1..=100).contains(&self.load_percent) {
            return Err("load_percent: must be 1 to 100".to_owned());
        }
        within("workers", self.workers.into(), "workers", file.limits.workers.into())
    }

    fn prepare(&self) -> Result<(), StepError> {
        stress_ng()
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        let (workers, load) = (self.workers.to_string(), self.load_percent.to_string());
        stress(&["--cpu", &workers, "--cpu-load", &load, "--cpu-method", "sqrt"], stop)
    }
}

impl Fault for Memory {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        within("memory_mib", self.memory_mib, "memory_mib", file.limits.memory_mib)?;
        within("workers", self.workers.into(), "workers", file.limits.workers.into())
    }

    fn prepare(&self) -> Result<(), StepError> {
        stress_ng()
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        // `--vm-bytes` is the sum over all workers; `--vm-keep` keeps it instead of mapping it anew.
        let (workers, bytes) = (self.workers.to_string(), format!("{}m", self.memory_mib));
        stress(&["--vm", &workers, "--vm-bytes", &bytes, "--vm-keep", "--oomable"], stop)
    }
}

impl Fault for Disk {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        within("disk_mib", self.disk_mib, "disk_mib", file.limits.disk_mib)?;
        within("workers", self.workers.into(), "workers", file.limits.workers.into())
    }

    fn prepare(&self) -> Result<(), StepError> {
        is_folder("disk", &self.folder)?;
        stress_ng()
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        let (workers, each) = (self.workers, (self.disk_mib / u64::from(self.workers)).max(1));
        let (workers, bytes) = (workers.to_string(), format!("{each}m"));
        on_files(&["--hdd", &workers, "--hdd-bytes", &bytes], &self.folder, stop)
    }
}

impl Fault for Io {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        within("disk_mib", self.disk_mib, "disk_mib", file.limits.disk_mib)?;
        within("workers", self.workers.into(), "workers", file.limits.workers.into())
    }

    fn prepare(&self) -> Result<(), StepError> {
        is_folder("io", &self.folder)?;
        stress_ng()
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        // `--iomix-bytes` is the sum over all workers.
        let (workers, bytes) = (self.workers.to_string(), format!("{}m", self.disk_mib));
        on_files(&["--iomix", &workers, "--iomix-bytes", &bytes], &self.folder, stop)
    }
}

impl Fault for ProcessStorm {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        within("workers", self.workers.into(), "workers", file.limits.workers.into())
    }

    fn prepare(&self) -> Result<(), StepError> {
        stress_ng()
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        stress(&["--fork", &self.workers.to_string()], stop)
    }
}

fn is_folder(kind: &str, folder: &std::path::Path) -> Result<(), StepError> {
    if folder.is_dir() {
        return Ok(());
    }
    let folder = folder.display();
    Err(StepError::usage(format!("{kind}.folder: `{folder}` is not a folder"))
        .hint("set `folder` to an existing folder with enough space"))
}

fn stress_ng() -> Result<(), StepError> {
    needs("stress-ng", "--version", "stress-ng")
}

/// Runs `stress-ng` until the stop, with its files in a separate folder below `folder`. Killed
/// writers do not remove their files, so this function removes the folder.
fn on_files(arguments: &[&str], folder: &std::path::Path, stop: &Stop) -> Result<(), StepError> {
    let place = folder.join(format!(".lynceus-scenario-{}", std::process::id()));
    fs::create_dir(&place).map_err(|error| StepError::writing(&place, &error))?;
    let shown = place.display().to_string();
    let done = stress(&[arguments, &["--temp-path", &shown]].concat(), stop);
    processes::kill_descendants();
    let removed = fs::remove_dir_all(&place);
    done.and(removed.map_err(|error| StepError::writing(&place, &error)))
}

/// Runs `stress-ng` until the stop. The program's own timeout is a little later, and ends it if the
/// worker was killed.
fn stress(arguments: &[&str], stop: &Stop) -> Result<(), StepError> {
    let timeout = format!("{}s", stop.left().as_secs() + 5);
    let mut child = Command::new("stress-ng")
        .args(arguments)
        .args(["--timeout", &timeout, "--quiet"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| {
            StepError::unavailable(format!("cannot start `stress-ng`: {error}"))
                .hint("install it, for example with: apt-get install stress-ng")
        })?;
    while !stop.wait(POLL) {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                let line = arguments.join(" ");
                return Err(StepError::unavailable(format!("`stress-ng {line}` ended: {status}"))
                    .hint(
                        "run this command by hand to see its output; `limits` of the scenario file \
                         apply",
                    ));
            }
            Err(error) => {
                return Err(StepError::unavailable(format!("cannot wait for stress-ng: {error}"))
                    .hint(SYSTEM_HINT));
            }
        }
    }
    Ok(())
}
