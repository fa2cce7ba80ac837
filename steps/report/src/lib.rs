//! Makes a page of a run.

use contract::steps::ReportArgs;
use contract::{Outcome, StepError};

/// Runs the step.
pub fn run(_args: &ReportArgs, _outcome: &mut Outcome) -> Result<(), StepError> {
    Err(StepError::bug("`report` is not written yet"))
}
