//! `feature`: computes one row of features per window and entity from samples.
//!
//! The same code makes the features of a training range and of the single window that is scored.
//! Every feature of a row is computed only from the samples in its
//! [lookback](document::features::lookback), in an order of operations that is fixed relative to
//! the row. Therefore a window that is computed alone has the same bits as in a batch, at any
//! number of threads.
//!
//! In order: `stream` reads the samples in blocks of time, `extents` finds the windows of each
//! entity, `grid` puts samples on the step grid, `fill` closes gaps as the document says, `plan`
//! turns the document's rules into columns, `rolling`, `pointwise` and `peers` compute them,
//! `labels` labels each row.

mod extents;
mod fill;
mod grid;
mod labels;
mod peers;
mod plan;
mod pointwise;
mod rolling;
mod stream;
mod table;

use contract::steps::FeatureArgs;
use contract::{Outcome, SYSTEM_HINT, StepError};
use frames::labels::read_labels;

use crate::stream::Written;
pub use crate::table::{Counts, features};

/// Reads samples and labels, makes the features and writes them.
///
/// Refuses samples that cannot be read or put on a grid (exit code 3); a document whose rules do
/// not fit the samples is a usage error.
pub fn run(args: &FeatureArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::sections::Feature::read(&args.document)?;
    let intervals = args.labels.as_deref().map(read_labels).transpose()?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(usize::from(args.common.threads))
        .build()
        .map_err(|e| {
            StepError::unavailable(format!("cannot start threads: {e}")).hint(SYSTEM_HINT)
        })?;
    let written = pool.install(|| {
        stream::write(&document, &args.samples, intervals.as_deref(), &args.features)
    })?;
    tell(&written, outcome);
    Ok(())
}

/// Records how the samples were changed, and which columns have no value.
fn tell(written: &Written, outcome: &mut Outcome) {
    for (name, value) in written.counts.named() {
        outcome.count(name, value);
    }
    outcome.count("rows", written.rows);
    outcome.count("columns", written.columns.len());
    outcome.count("entities", written.entities);
    outcome.count("warm_up_rows", written.warm_up_rows);
    let lost = written.counts.duplicates();
    if lost > 0 {
        outcome.warn(format!(
            "{lost} samples share time and entity with a later one, and only the later one is used: a row is one \
             window of one entity (a column that tells them apart makes them entities of their own, such \
             as `entity` of a table)"
        ));
    }
    if written.rows == 0 {
        outcome.warn("no samples, so no feature rows");
        return;
    }
    let empty = written.columns.iter().filter(|(_, has_value)| !has_value);
    let empty: Vec<&str> = empty.map(|(name, _)| name.as_str()).collect();
    match empty.as_slice() {
        [] => {}
        [name] => outcome.warn(format!("feature `{name}` has no value in any row")),
        [name, rest @ ..] => outcome.warn(format!(
            "feature `{name}` and {} more have no value in any row: {}",
            rest.len(),
            rest.join(", ")
        )),
    }
}
