//! One task as a process: flags from its typed struct, log lines into its folder.

use std::path::Path;
use std::process::Stdio;

use contract::step::{Common, LogFormat};
use contract::{ErrorKind, Outcome, StepError, artifact, read_json};
use fs_err as fs;
use store::s3::cache;
use tokio::process::{Child, Command};

use crate::plan::Task;
use crate::run::{Options, RUNNER};

/// How one attempt of a task ended.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) exit_code: i32,
    /// What the step said of itself; absent when it could not say anything.
    pub(super) outcome: Option<Outcome>,
}

impl Attempt {
    /// Says whether another attempt may end better.
    pub(super) fn is_retried(&self) -> bool {
        let kinds = [ErrorKind::Unavailable, ErrorKind::LostRace];
        kinds.iter().any(|kind| i32::from(kind.exit_code()) == self.exit_code)
    }
}

/// Starts a task; its outcome and its log lie in `folder`.
pub(super) fn start(
    program: &Path,
    task: &Task,
    folder: &Path,
    options: &Options,
) -> Result<Child, StepError> {
    let (outcome, log) = (folder.join("outcome.json"), folder.join("log.jsonl"));
    let write_error = |e: std::io::Error| StepError::writing(folder, &e);
    fs::create_dir_all(folder).map_err(write_error)?;
    artifact::remove(&outcome).map_err(write_error)?;
    let mut command = task.command.clone();
    *command.common_mut() = Common {
        outcome: Some(outcome),
        log: LogFormat::Json,
        threads: options.threads,
        scratch: task.command.common().scratch,
    };
    let log = fs::OpenOptions::new().create(true).append(true).open(log).map_err(write_error)?;
    Command::new(program)
        .arg("step")
        .arg(task.command.stage().name())
        .args(command.command_line()?)
        .env(RUNNER, std::process::id().to_string())
        .envs(cache::to_pass_on())
        .stdin(Stdio::null())
        .stdout(if options.data_on_stdout {
            Stdio::from(std::io::stderr())
        } else {
            Stdio::inherit()
        })
        .stderr(log.into_parts().0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| StepError::unavailable(format!("cannot start `{}`: {e}", program.display())))
}

/// Waits for a task's process and reads what it said.
pub(super) async fn finish(mut child: Child, folder: &Path) -> Result<Attempt, StepError> {
    let status = child
        .wait()
        .await
        .map_err(|e| StepError::unavailable(format!("cannot wait for a task: {e}")))?;
    let exit_code = status.code().unwrap_or_else(|| {
        use std::os::unix::process::ExitStatusExt as _;
        128 + status.signal().unwrap_or(0)
    });
    Ok(Attempt { exit_code, outcome: read_json(&folder.join("outcome.json")).ok() })
}
