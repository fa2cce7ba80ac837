//! Programs started from a temporary folder, like a file that an attacker has dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use contract::StepError;
use fs_err as fs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, within};
use crate::file::ScenarioFile;
use crate::worker::Stop;

/// The program that is copied and started; it exits immediately.
const PROGRAM: &str = "/bin/true";

/// Programs started from a new folder below a given one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShortProcesses {
    /// Programs started per second, at least 1.
    pub per_second: u32,
    /// Folder in which the folder with the program is made, such as `/tmp` or `/dev/shm`.
    #[serde(default = "temporary")]
    pub folder: PathBuf,
}

fn temporary() -> PathBuf {
    "/tmp".into()
}

/// A folder that is removed with its content.
struct Dropped(PathBuf);

impl Drop for Dropped {
    fn drop(&mut self) {
        // If this fails, a small file stays in a temporary folder.
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Fault for ShortProcesses {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        within("per_second", self.per_second.into(), "per_second", file.limits.per_second.into())
    }

    fn prepare(&self) -> Result<(), StepError> {
        let missing = |what: &str, path: &Path| {
            StepError::usage(format!("short_processes: {what} `{}` does not exist", path.display())).hint("the program is part of coreutils; `folder` of the step names a folder to copy it to")
        };
        if !Path::new(PROGRAM).exists() {
            return Err(missing("the program", Path::new(PROGRAM)));
        }
        if self.folder.is_dir() { Ok(()) } else { Err(missing("the folder", &self.folder)) }
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        let folder = self.folder.join(format!("lynceus-scenario-{}", std::process::id()));
        let failed = |error: &std::io::Error| StepError::writing(&folder, error);
        fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
        let dropped = Dropped(folder.clone());
        let program = dropped.0.join("task");
        fs::copy(PROGRAM, &program).map_err(|error| failed(&error))?;
        let distance = Duration::from_secs(1) / self.per_second;
        loop {
            let status = Command::new(&program).stdin(Stdio::null()).status();
            status.map_err(|error| {
                StepError::unavailable(format!("cannot start `{}`: {error}", program.display()))
                    .hint(
                        "the folder must allow programs to run: it must not be mounted with \
                         `noexec`",
                    )
            })?;
            if stop.wait(distance) {
                return Ok(());
            }
        }
    }
}
