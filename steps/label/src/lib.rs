//! `label`: turns a scenario log into labels, with guard bands around each change.
//!
//! `log` reads the CSV; `intervals` converts it to intervals.

mod intervals;
mod log;

use std::path::Path;

use contract::steps::LabelArgs;
use contract::{Outcome, StepError};
use document::document::Labels;
use frames::LabelInterval;
use frames::labels::write_labels;

pub use intervals::TRANSITION;

/// Writes the intervals of a scenario log.
///
/// A scenario from `start` to `end` covers the windows that end in `(start, end]`. Its guard bands
/// are `(start - guard, start + guard]` and `(end - guard, end + guard]`: a rate is computed over a
/// past window, so rows just after a change still contain data from before it, and the log has the
/// times of commands, not of their effects. Rows in a band count in no metric; the time between the
/// bands, `(start + guard, end - guard]`, is known to be anomalous. The intervals of a scenario do
/// not overlap. A label that means normal makes no interval; `transition` makes only a guard band.
///
/// Errors: refused (3), with file and line, for an invalid log.
pub fn run(args: &LabelArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::sections::Label::read(&args.document)?;
    let scenarios = log::read(&args.scenarios)?;
    let made = intervals::make(&args.scenarios, &scenarios, &document.labels)?;
    outcome.count("lines", scenarios.len());
    outcome.count("scenarios", made.scenarios);
    outcome.count("intervals", made.intervals.len());
    made.warnings.into_iter().for_each(|warning| outcome.warn(warning));
    write_labels(&args.labels, &made.intervals)
}

/// Returns the intervals of a scenario log, as [`run`] writes them.
pub fn read(scenarios: &Path, labels: &Labels) -> Result<Vec<LabelInterval>, StepError> {
    Ok(intervals::make(scenarios, &log::read(scenarios)?, labels)?.intervals)
}
