//! `feature`: samples in, one row of features per window and entity out.
//!
//! The same code makes the features of a training range and of the single window that is scored.
//! Every feature of a row is computed from the samples in its [lookback](document::features::lookback)
//! alone, in an order of operations that is fixed relative to the row: so a window that is computed
//! alone has the same bits as in a batch, at any number of threads.
//!
//! In order: `grid` puts samples on the step grid, `fill` closes gaps as the document says,
//! `plan` turns the document's rules into columns, `rolling`, `pointwise` and `peers` compute them,
//! `labels` says what is known of each row.

mod fill;
mod grid;
mod labels;
mod peers;
mod plan;
mod pointwise;
mod rolling;
mod table;

use contract::steps::FeatureArgs;
use contract::{Outcome, StepError};
use frames::labels::read_labels;
use frames::{FeatureTable, Samples};

pub use crate::table::{Counts, features};

/// Reads samples and labels, makes the features and writes them.
///
/// Refuses samples that cannot be read or put on a grid (exit code 3); a document whose rules do
/// not fit the samples is a usage error.
pub fn run(args: &FeatureArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::sections::Feature::read(&args.document)?;
    let samples = Samples::read(&args.samples)?;
    let intervals = args.labels.as_deref().map(read_labels).transpose()?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(usize::from(args.common.threads))
        .build()
        .map_err(|e| StepError::unavailable(format!("cannot start threads: {e}")))?;
    let (table, counts) = pool.install(|| features(&document, samples, intervals.as_deref()))?;
    tell(&table, &counts, outcome);
    table.write(&args.features)
}

/// Notes what happened to the samples, and which columns hold nothing.
fn tell(table: &FeatureTable, counts: &Counts, outcome: &mut Outcome) {
    for (name, value) in counts.named() {
        outcome.count(name, value);
    }
    outcome.count("rows", table.rows());
    outcome.count("columns", table.table.columns.len());
    outcome.count("entities", table.table.entities.len());
    outcome.count("warm_up_rows", table.warm_up.iter().filter(|warm_up| **warm_up).count());
    let lost = counts.duplicates();
    if lost > 0 {
        outcome.warn(format!(
            "{lost} samples share time and entity with a later one, which alone is taken: a row is one \
             window of one entity (a column that tells them apart makes them entities of their own, such \
             as `entity` of a table)"
        ));
    }
    if table.rows() == 0 {
        outcome.warn("no samples, so no feature rows");
        return;
    }
    let empty = |column: &&frames::Column| column.values.iter().all(|value| value.is_nan());
    let empty: Vec<&str> =
        table.table.columns.iter().filter(empty).map(|column| column.name.as_str()).collect();
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
