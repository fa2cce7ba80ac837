//! `collect`: fetches raw samples for a time range; never invents one.

use contract::steps::CollectArgs;
use contract::{Outcome, StepError};

/// Collects the samples of the document's source for the range that is due.
pub fn run(_args: &CollectArgs, _outcome: &mut Outcome) -> Result<(), StepError> {
    Err(StepError::bug("`collect` is not there yet"))
}
