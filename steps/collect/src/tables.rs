//! Reads the tables of documents as a whole: their last time, their labels, their columns.

use std::path::{Path, PathBuf};

use contract::{Span, StepError, Timestamp};
use document::Document;
use document::sources::table::TableSource;
use document::sources::{Entity, Source};
use frames::samples::SampleRows;

use crate::sources::table;

/// A row of a table that has a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledRow {
    /// Its time.
    pub time: Timestamp,
    /// Its entity; empty if the table has no entities.
    pub entity: String,
    /// Its label, as in the table.
    pub label: String,
}

/// Returns the tables of a document, with their files below `base`.
fn tables<'a>(
    document: &'a Document,
    base: &Path,
) -> impl Iterator<Item = (&'a Source, &'a TableSource, PathBuf)> {
    document.sources.values().filter_map(move |source| {
        let settings = source.table.as_ref()?;
        Some((source, settings, base.join(&settings.path)))
    })
}

/// Returns the time of the last row of all tables of a document, whose paths are below `base`;
/// `None` if it reads no table, or they have no rows.
pub fn last_time(document: &Document, base: &Path) -> Result<Option<Timestamp>, StepError> {
    let mut last: Option<Timestamp> = None;
    for (source, settings, path) in tables(document, base) {
        each_block(&path, settings, &source.entity, document.step, &mut |rows| {
            last = last.max(rows.times.into_iter().max());
            Ok(())
        })?;
    }
    Ok(last)
}

/// Returns the labelled rows of all tables of a document, in the order of the files; `None` if no
/// table has a column of labels. A row without a label is left out.
pub fn labels(document: &Document, base: &Path) -> Result<Option<Vec<LabelledRow>>, StepError> {
    let mut labels: Option<Vec<LabelledRow>> = None;
    for (source, settings, path) in tables(document, base) {
        if settings.label.is_none() {
            continue;
        }
        let found = labels.get_or_insert_default();
        each_block(&path, settings, &source.entity, document.step, &mut |rows| {
            let keys = rows.times.into_iter().zip(rows.entities).zip(rows.labels);
            let labelled = keys.map(|((time, entity), label)| LabelledRow { time, entity, label });
            found.extend(labelled.filter(|row| !row.label.is_empty()));
            Ok(())
        })?;
    }
    Ok(labels)
}

/// Passes the rows of a table to `each`, some thousands at a time, in the order of the file. Rows
/// without a time column get times a step apart, separately for each entity.
///
/// Errors: refused (3) for a file that does not match the settings.
pub fn each_block(
    path: &Path,
    settings: &TableSource,
    entity: &Entity,
    step: Span,
    each: &mut dyn FnMut(SampleRows) -> Result<(), StepError>,
) -> Result<(), StepError> {
    table::each_block(path, settings, entity, step, each)
}

/// Returns the names of a table's columns, in the order of the file.
pub fn header(path: &Path, settings: &TableSource) -> Result<Vec<String>, StepError> {
    table::header(path, settings)
}
