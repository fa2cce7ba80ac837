//! Reads Parquet files of any origin.

use std::path::Path;

use contract::{StepError, Timestamp};
use document::sources::Entity;
use document::sources::table::TableSource;
use frames::external::{ExternalColumn, ExternalKind, ExternalRows, ExternalTable};
use frames::samples::{SampleRows, text_number};

use super::bad::{Bad, BadCells};
use super::cells::Cells;
use super::columns::{Columns, FileColumn};
use crate::source::Stop;

/// Returns the names of the columns, in the order of the file.
pub(super) fn header(path: &Path) -> Result<Vec<String>, StepError> {
    Ok(ExternalTable::open(path)?.columns().into_iter().map(|column| column.name).collect())
}

/// Finds the columns to read, and returns which ones are left out and why.
pub(super) fn columns(
    path: &Path,
    source: &TableSource,
    entity: &Entity,
) -> Result<(Columns, Vec<String>), StepError> {
    let all = ExternalTable::open(path)?.columns();
    let header: Vec<String> = all.iter().map(|column| column.name.clone()).collect();
    let (mut columns, mut notes) = Columns::find(path, source, entity, &header)?;
    if source.columns.is_empty() {
        columns.retain(path, |column| {
            let is_number = all[column.index].kind == ExternalKind::Number;
            if !is_number || column.name.is_empty() {
                notes.push(format!("column `{}` is left out: it holds no numbers", column.name));
            }
            is_number && !column.name.is_empty()
        })?;
    }
    Ok((columns, notes))
}

/// Passes the rows to `each`, batch by batch; counts the bad cells of text columns.
pub(super) fn read(
    path: &Path,
    source: &TableSource,
    columns: &Columns,
    each: &mut dyn FnMut(SampleRows) -> Result<(), Stop>,
) -> Result<BadCells, Stop> {
    let cells = Cells::new(source)?;
    let table = ExternalTable::open(path)?;
    let all = table.columns();
    let reading = Reading { path, columns, all: &all, cells: &cells };
    let mut bad = BadCells::new(columns.samples.len(), source.max_bad_ratio);
    let mut out_of_order = false;
    let read = table.for_each_batch(|rows| {
        bad.rows += rows.rows();
        match each(reading.sample_rows(rows, &mut bad)?) {
            Ok(()) => Ok(()),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::OutOfOrder) => {
                out_of_order = true;
                // This error only ends the reading and is not returned to the caller.
                Err(StepError::refused("the rows are not in order of time")
                    .hint("sort the rows by time"))
            }
        }
    });
    if out_of_order { Err(Stop::OutOfOrder) } else { read.map(|()| bad).map_err(Stop::Error) }
}

struct Reading<'a> {
    path: &'a Path,
    columns: &'a Columns,
    all: &'a [ExternalColumn],
    cells: &'a Cells,
}

impl Reading<'_> {
    fn sample_rows(
        &self,
        rows: &ExternalRows<'_>,
        bad: &mut BadCells,
    ) -> Result<SampleRows, StepError> {
        let texts = |column: &Option<FileColumn>| match column {
            Some(column) => {
                let texts = rows.texts(column.index)?;
                Ok(texts.into_iter().map(Option::unwrap_or_default).collect())
            }
            None => Ok(vec![String::new(); rows.rows()]),
        };
        let samples = self.columns.samples.iter().zip(&mut bad.columns);
        let numbers = samples.map(|(column, bad)| self.numbers(column, rows, bad));
        let numbers_of_texts = self.columns.texts.iter().map(|column| {
            let texts = rows.texts(column.index)?.into_iter();
            Ok(texts.map(|text| text.and_then(|text| text_number(&text))).collect())
        });
        Ok(SampleRows {
            times: match &self.columns.time {
                Some(column) => self.times(column, rows)?,
                None => Vec::new(),
            },
            entities: texts(&self.columns.entity)?,
            labels: texts(&self.columns.label)?,
            columns: numbers.chain(numbers_of_texts).collect::<Result<_, StepError>>()?,
        })
    }

    /// Reads a column of samples; a text column that the document names has numbers as text.
    fn numbers(
        &self,
        column: &FileColumn,
        rows: &ExternalRows<'_>,
        bad: &mut Bad,
    ) -> Result<Vec<Option<f64>>, StepError> {
        if self.all[column.index].kind != ExternalKind::Text {
            return rows.numbers(column.index);
        }
        let texts = rows.texts(column.index)?.into_iter().enumerate();
        let number = |(index, text): (usize, Option<String>)| {
            self.cells.number(&text?).unwrap_or_else(|message| {
                bad.note(|| self.place(column, rows.first_row + index, &message));
                None
            })
        };
        Ok(texts.map(number).collect())
    }

    /// Reads a time column: timestamps, or numbers or texts in the document's format.
    fn times(
        &self,
        column: &FileColumn,
        rows: &ExternalRows<'_>,
    ) -> Result<Vec<Timestamp>, StepError> {
        let parsed: Vec<Option<Result<Timestamp, String>>> = match self.all[column.index].kind {
            ExternalKind::Time => {
                rows.times(column.index)?.into_iter().map(|time| time.map(Ok)).collect()
            }
            ExternalKind::Number if self.cells.has_number_times() => {
                let numbers = rows.numbers(column.index)?.into_iter();
                numbers.map(|number| number.map(|n| self.cells.number_time(n))).collect()
            }
            ExternalKind::Number | ExternalKind::Text | ExternalKind::Other => {
                let texts = rows.texts(column.index)?.into_iter();
                texts.map(|text| text.map(|text| self.cells.time(&text))).collect()
            }
        };
        let checked = parsed.into_iter().enumerate().map(|(index, time)| {
            let time = time.unwrap_or_else(|| Err("the time is missing".to_owned()));
            time.map_err(|message| {
                StepError::refused(self.place(column, rows.first_row + index, &message))
                    .hint("correct the cell, or set `time_format` and `time_zone` of the table")
            })
        });
        checked.collect()
    }

    fn place(&self, column: &FileColumn, row: usize, message: &str) -> String {
        format!("`{}`: row {row}: column `{}`: {message}", self.path.display(), column.name)
    }
}
