//! Runs one task as a process: its flags come from its typed struct, its log lines go into its
//! folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use contract::outcome::Status;
use contract::step::{Common, LogFormat, RETRYING};
use contract::{ErrorKind, Outcome, SYSTEM_HINT, Span, StepError, artifact, read_json, write_json};
use fs_err as fs;
use plan::Task;
use store::s3::cache;
use tokio::process::{Child, Command};

use crate::run::limit::GRACE;
use crate::run::{Options, RUNNER};

/// How one attempt of a task ended.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) exit_code: i32,
    /// The outcome of the step; absent when it wrote none.
    pub(super) outcome: Option<Outcome>,
}

impl Attempt {
    /// Returns whether another attempt may succeed.
    pub(super) fn is_retried(&self) -> bool {
        let kinds = [ErrorKind::Unavailable, ErrorKind::LostRace];
        kinds.iter().any(|kind| i32::from(kind.exit_code()) == self.exit_code)
    }
}

/// Runs a task once; its outcome and its log are in `folder`. A task that does not end by itself at
/// its deadline is killed.
pub(super) async fn attempt(
    program: &Path,
    task: &Task,
    folder: &Path,
    options: &Options,
) -> Result<Attempt, StepError> {
    let deadline = options.limit.map(|limit| limit.of_task(task));
    let child = start(program, task, folder, options, deadline)?;
    let Some(deadline) = deadline else { return finish(child, &task.name, folder).await };
    match tokio::time::timeout(deadline.to_std() + GRACE, finish(child, &task.name, folder)).await {
        Ok(attempt) => attempt,
        Err(_) => killed(task, folder, deadline),
    }
}

/// Records that a task was killed, also in its outcome for tasks that read it.
fn killed(task: &Task, folder: &Path, deadline: Span) -> Result<Attempt, StepError> {
    let error = StepError::unavailable(format!(
        "it did not end within `{deadline}` and was killed"
    ))
    .hint("its log shows what it waited for; all tasks of a tick must end within `scoring.every`");
    let mut outcome = Outcome::start(task.command.stage().name());
    outcome.status = Status::Failed;
    outcome.exit_code = error.kind.exit_code();
    outcome.error = Some(error);
    write_json(&folder.join("outcome.json"), &outcome)?;
    Ok(Attempt { exit_code: outcome.exit_code.into(), outcome: Some(outcome) })
}

fn start(
    program: &Path,
    task: &Task,
    folder: &Path,
    options: &Options,
    deadline: Option<Span>,
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
        deadline,
        scratch: task.command.common().scratch,
        termination_log: None,
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
        .map_err(|e| {
            StepError::unavailable(format!("cannot start `{}`: {e}", program.display()))
                .hint(SYSTEM_HINT)
        })
}

/// Time between two reads of the log of a running task.
const LOG_PERIOD: Duration = Duration::from_secs(1);

/// Waits for a task's process, reads its log, and shows its retries.
async fn finish(mut child: Child, name: &str, folder: &Path) -> Result<Attempt, StepError> {
    let mut retries = Retries { path: folder.join("log.jsonl"), read: 0, last: String::new() };
    retries.read =
        fs::metadata(&retries.path).map_or(0, |it| usize::try_from(it.len()).unwrap_or(0));
    let status = loop {
        match tokio::time::timeout(LOG_PERIOD, child.wait()).await {
            Ok(ended) => break ended,
            Err(_) => retries.show(name),
        }
    };
    let status = status.map_err(|e| {
        StepError::unavailable(format!("cannot wait for a task: {e}")).hint(SYSTEM_HINT)
    })?;
    let exit_code = status.code().unwrap_or_else(|| {
        use std::os::unix::process::ExitStatusExt as _;
        128 + status.signal().unwrap_or(0)
    });
    Ok(Attempt { exit_code, outcome: read_json(&folder.join("outcome.json")).ok() })
}

/// Reports of retries in the log of a running task.
struct Retries {
    path: PathBuf,
    /// Number of bytes of the log that were read.
    read: usize,
    /// The last shown line; many queries fail for the same reason, which is shown once.
    last: String,
}

impl Retries {
    fn show(&mut self, name: &str) {
        // An unreadable log is ignored; the outcome contains all retries when the step ends.
        let bytes = fs::read(&self.path).unwrap_or_default();
        let new = bytes.get(self.read..).unwrap_or_default();
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole;
        for line in new[..whole].split(|byte| *byte == b'\n') {
            let Some(message) = retrying(line).filter(|message| *message != self.last) else {
                continue;
            };
            crate::cli::say(&format!("  {name}: {message}"));
            self.last = message;
        }
    }
}

/// Returns the message of a log line that reports a retry.
fn retrying(line: &[u8]) -> Option<String> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    let message = fields.get("message")?.as_str()?;
    message.starts_with(RETRYING).then(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_log_lines_are_recognised() {
        let line =
            r#"{"level":"WARN","fields":{"message":"Retrying: `http://h`: cannot connect"}}"#;
        assert_eq!(retrying(line.as_bytes()).unwrap(), "Retrying: `http://h`: cannot connect");
        let flat = r#"{"level":"WARN","message":"Retrying: x"}"#;
        assert_eq!(retrying(flat.as_bytes()).unwrap(), "Retrying: x");
        for other in [r#"{"message":"Started"}"#, "not JSON", ""] {
            assert_eq!(retrying(other.as_bytes()), None);
        }
    }
}
