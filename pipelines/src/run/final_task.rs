//! Runs a task after all tasks of a plan, whether they succeeded or failed.

use contract::StepError;
use plan::Task;

use super::execute::{Runner, pause_before};
use super::process;

impl Runner<'_> {
    /// Runs a task that is not part of the plan, in a folder with its name beside the others.
    ///
    /// Errors: the error of the task's last attempt.
    pub async fn run_last(&self, task: &Task) -> Result<(), StepError> {
        let program = super::this_program()?;
        let folder = self.folder.join(&task.name);
        let mut attempts = 0;
        loop {
            tokio::time::sleep(pause_before(attempts)).await;
            attempts += 1;
            // A signal ends the program and the task, because no runner handles signals here.
            let attempt = process::attempt(&program, task, &folder, self.options).await?;
            if attempt.exit_code == 0 {
                return Ok(());
            }
            let has_time =
                self.options.limit.is_none_or(|limit| limit.leaves(pause_before(attempts)));
            if !attempt.is_retried() || attempts > self.options.retries || !has_time {
                let code = attempt.exit_code;
                let error = attempt.outcome.and_then(|outcome| outcome.error);
                return Err(error.unwrap_or_else(|| {
                    StepError::bug(format!("{}: ended with exit code {code}", task.name))
                }));
            }
        }
    }
}
