//! What comes after all tasks of a plan, however they ended.

use contract::StepError;

use super::execute::{Runner, pause_before};
use super::process;
use crate::plan::Task;

impl Runner<'_> {
    /// Runs a task that is none of the plan's, in a folder of its name beside the others.
    ///
    /// Errors: what the task says of its last attempt.
    pub async fn run_last(&self, task: &Task) -> Result<(), StepError> {
        let program = super::this_program()?;
        let folder = self.folder.join(&task.name);
        let mut attempts = 0;
        loop {
            tokio::time::sleep(pause_before(attempts)).await;
            attempts += 1;
            let child = process::start(&program, task, &folder, self.options)?;
            // A signal ends the program, and with it the task: no runner listens here.
            let attempt = process::finish(child, &task.name, &folder).await?;
            if attempt.exit_code == 0 {
                return Ok(());
            }
            if !attempt.is_retried() || attempts > self.options.retries {
                let code = attempt.exit_code;
                let error = attempt.outcome.and_then(|outcome| outcome.error);
                return Err(error.unwrap_or_else(|| {
                    StepError::bug(format!("{}: ended with exit code {code}", task.name))
                }));
            }
        }
    }
}
