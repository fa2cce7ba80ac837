//! The test table of a document: rows that are not used for training, scored by the model of the
//! run.

use std::path::{Path, PathBuf};

use contract::StepError;
use document::below;

use super::super::context::Context;
use super::super::predict;
use super::super::{Global, OutputFormat, print};
use crate::run::RunRecord;

/// Prefix of its metrics among those of the run.
const PREFIX: &str = "test_table";
/// File with the score of each row, in the run's folder.
const SCORES: &str = "test_table/scores.parquet";

/// Returns the file of the document's test table, if it has one.
///
/// Errors: usage (2) for a missing file.
pub(super) fn of(context: &Context) -> Result<Option<PathBuf>, StepError> {
    let sources = &context.document.sources;
    let mut tables = sources
        .iter()
        .filter_map(|(name, source)| Some((name, source.table.as_ref()?.test.as_ref()?)));
    let Some((name, test)) = tables.next() else { return Ok(None) };
    let path = below(&context.base, test);
    if !path.is_file() {
        return Err(StepError::usage(format!(
            "`sources.{name}.table.test`: there is no table `{}`",
            path.display()
        ))
        .hint("the path is relative to the document's folder"));
    }
    Ok(Some(path))
}

/// Scores the rows of the test table with a run's model; prints the metrics, and stores them and
/// the score of each row in the run.
pub(super) fn judge(
    global: &Global,
    context: &Context,
    table: Option<&Path>,
    folder: &Path,
) -> Result<(), StepError> {
    let Some(table) = table else { return Ok(()) };
    let tested = predict::with_bundle(context, &folder.join("select/bundle"), table)?;
    let scores = folder.join(SCORES);
    if let Some(parent) = scores.parent() {
        fs_err::create_dir_all(parent).map_err(|e| StepError::writing(parent, &e))?;
    }
    tested.rows.write(&scores)?;
    let mut record = RunRecord::read(folder)?;
    let metrics = tested.metrics.into_iter().filter(|(_, value)| value.is_finite());
    record.metrics.extend(metrics.map(|(name, value)| (format!("{PREFIX}.{name}"), value)));
    record.write(folder)?;
    match global.output() {
        OutputFormat::Json => Ok(()),
        OutputFormat::Text => print(&format!(
            "\ntest table {}:\n{}scores  {}\n",
            table.display(),
            tested.text,
            scores.display()
        )),
    }
}
