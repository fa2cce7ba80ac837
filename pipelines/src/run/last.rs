//! What comes after all tasks of a plan, however they ended.

use std::time::Duration;

use contract::StepError;

use super::execute::Runner;
use super::process;
use crate::plan::Task;

impl Runner<'_> {
    /// Runs a task that is none of the plan's, in a folder of its name beside the others.
    ///
    /// Errors: what the task says of its last attempt.
    pub async fn run_last(&self, task: &Task) -> Result<(), StepError> {
        let program = std::env::current_exe()
            .map_err(|e| StepError::unavailable(format!("cannot find this program: {e}")))?;
        let folder = self.folder.join(&task.name);
        let mut tries = 0;
        loop {
            let child = process::start(&program, task, &folder, self.options)?;
            let attempt = tokio::select! {
                attempt = process::finish(child, &folder) => attempt?,
                _ = tokio::signal::ctrl_c() => return Err(StepError::unavailable(super::INTERRUPTED)),
            };
            if attempt.exit_code == 0 {
                return Ok(());
            }
            if !attempt.is_retried() || tries >= self.options.retries {
                let code = attempt.exit_code;
                let error = attempt.outcome.and_then(|outcome| outcome.error);
                return Err(error.unwrap_or_else(|| {
                    StepError::bug(format!("{}: ended with exit code {code}", task.name))
                }));
            }
            tokio::time::sleep(Duration::from_secs(1 << tries.min(5))).await;
            tries += 1;
        }
    }
}
