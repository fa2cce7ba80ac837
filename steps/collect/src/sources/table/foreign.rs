//! Reads Parquet files of any origin.

use std::path::Path;

use contract::{StepError, Timestamp};
use document::sources::{TableSource, TimeFormat};
use frames::foreign::{ForeignKind, ForeignRows, ForeignTable};
use frames::samples::SampleRows;

use super::cells;
use super::columns::{Columns, FileColumn};
use crate::source::Stop;

/// Finds the columns to read, and says which ones are left out and why.
pub(super) fn columns(
    path: &Path,
    source: &TableSource,
) -> Result<(Columns, Vec<String>), StepError> {
    let kinds = ForeignTable::open(path)?.columns();
    let header: Vec<String> = kinds.iter().map(|(name, _)| name.clone()).collect();
    let mut columns = Columns::find(path, source, &header)?;
    let mut left_out = Vec::new();
    if source.columns.is_empty() {
        columns.retain(path, |column| {
            let number = kinds[column.index].1 == ForeignKind::Number && !column.name.is_empty();
            if !number {
                left_out.push(format!("column `{}` is left out: it holds no numbers", column.name));
            }
            number
        })?;
    }
    Ok((columns, left_out))
}

/// Hands the rows to `each`, batch by batch.
pub(super) fn read(
    path: &Path,
    source: &TableSource,
    columns: &Columns,
    each: &mut dyn FnMut(SampleRows) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut out_of_order = false;
    let read = ForeignTable::open(path)?.for_each_batch(|rows| {
        match each(sample_rows(path, source, columns, rows)?) {
            Ok(()) => Ok(()),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::OutOfOrder) => {
                out_of_order = true;
                // Only ends the reading; the caller never sees it.
                Err(StepError::refused("the rows are not in order of time"))
            }
        }
    });
    if out_of_order { Err(Stop::OutOfOrder) } else { read.map_err(Stop::Error) }
}

fn sample_rows(
    path: &Path,
    source: &TableSource,
    columns: &Columns,
    rows: &ForeignRows<'_>,
) -> Result<SampleRows, StepError> {
    let texts = |column: &Option<FileColumn>| match column {
        Some(column) => {
            let texts = rows.texts(&column.name)?;
            Ok(texts.into_iter().map(Option::unwrap_or_default).collect())
        }
        None => Ok(vec![String::new(); rows.rows()]),
    };
    let samples = columns.samples.iter().map(|column| rows.numbers(&column.name));
    Ok(SampleRows {
        times: match &columns.time {
            Some(column) => times(path, source.time_format, column, rows)?,
            None => Vec::new(),
        },
        entities: texts(&columns.entity)?,
        labels: texts(&columns.label)?,
        columns: samples.collect::<Result<_, _>>()?,
    })
}

/// Reads a time column: timestamps, or numbers or texts in the document's format.
fn times(
    path: &Path,
    format: TimeFormat,
    column: &FileColumn,
    rows: &ForeignRows<'_>,
) -> Result<Vec<Timestamp>, StepError> {
    let name = &column.name;
    let parsed: Vec<Option<Result<Timestamp, String>>> = match (rows.times(name), format) {
        (Ok(times), _) => times.into_iter().map(|time| time.map(Ok)).collect(),
        (Err(_), TimeFormat::Rfc3339) => {
            let texts = rows.texts(name)?.into_iter();
            texts.map(|text| text.map(|text| cells::time(&text, format))).collect()
        }
        (Err(_), TimeFormat::Seconds) => {
            rows.numbers(name)?.into_iter().map(|n| n.map(cells::from_seconds)).collect()
        }
        (Err(_), TimeFormat::Milliseconds) => {
            rows.numbers(name)?.into_iter().map(|n| n.map(cells::from_ms)).collect()
        }
    };
    let checked = parsed.into_iter().enumerate().map(|(index, time)| {
        time.unwrap_or_else(|| Err("the time is missing".to_owned())).map_err(|message| {
            StepError::refused(format!(
                "`{}`: row {}: column `{name}`: {message}",
                path.display(),
                rows.first_row + index
            ))
        })
    });
    checked.collect()
}
