//! Reads CSV, plain or gzip, row by row.

use std::io::BufRead;
use std::path::Path;

use contract::StepError;
use csv::{ByteRecord, ReaderBuilder};
use document::sources::Entity;
use document::sources::table::TableSource;
use frames::samples::{SampleRows, text_number};

use super::bad::{Bad, BadCells};
use super::cells::Cells;
use super::columns::{Columns, FileColumn};
use super::sink::BLOCK_ROWS;
use super::text::Text;
use crate::source::Stop;

/// Rows of a CSV file, with their positions for errors.
struct Rows<'a> {
    path: &'a Path,
    reader: csv::Reader<Box<dyn BufRead>>,
    header: Vec<String>,
    record: ByteRecord,
    lines_before: u64,
}

/// Returns the names of the columns, in the order of the file.
pub(super) fn header(path: &Path, source: &TableSource) -> Result<Vec<String>, StepError> {
    Ok(Rows::open(path, source)?.header)
}

/// Finds the columns to read, and returns which ones are left out and why.
///
/// If the document does not name the samples, the whole file is read once to find the columns of
/// numbers: those in which most cells, apart from gaps, are numbers.
pub(super) fn columns(
    path: &Path,
    source: &TableSource,
    entity: &Entity,
) -> Result<(Columns, Vec<String>), StepError> {
    let mut rows = Rows::open(path, source)?;
    let (mut columns, mut notes) = Columns::find(path, source, entity, &rows.header)?;
    if !source.columns.is_empty() {
        return Ok((columns, notes));
    }
    let cells = Cells::new(source)?;
    let mut seen = vec![(Bad::default(), 0_usize); columns.samples.len()];
    while rows.next()? {
        for (column, (bad, numbers)) in columns.samples.iter().zip(&mut seen) {
            match cells.number(rows.text(column)?) {
                Ok(value) => *numbers += usize::from(value.is_some()),
                Err(message) => bad.note(|| rows.place(column, &message)),
            }
        }
    }
    let mut seen = seen.into_iter();
    columns.retain(path, |column| {
        let (bad, numbers) = seen.next().unwrap_or_default();
        let reason = match numbers {
            _ if column.name.is_empty() => "it has no name",
            _ if bad.is_text(numbers) => bad.first(),
            0 => "it holds no number",
            _ => return true,
        };
        notes.push(format!("column `{}` is left out: {reason}", column.name));
        false
    })?;
    Ok((columns, notes))
}

/// Passes the rows to `each`, some thousands at a time; counts the bad cells.
pub(super) fn read(
    path: &Path,
    source: &TableSource,
    columns: &Columns,
    each: &mut dyn FnMut(SampleRows) -> Result<(), Stop>,
) -> Result<BadCells, Stop> {
    let mut rows = Rows::open(path, source)?;
    let cells = Cells::new(source)?;
    let mut bad = BadCells::new(columns.samples.len(), source.max_bad_ratio);
    let width = columns.samples.len() + columns.texts.len();
    let empty = || SampleRows { columns: vec![Vec::new(); width], ..SampleRows::default() };
    let mut block = empty();
    while rows.next()? {
        bad.rows += 1;
        if let Some(column) = &columns.time {
            let time = cells.time(rows.text(column)?);
            block.times.push(rows.at(column, time)?);
        }
        let text = |column: &Option<FileColumn>| match column {
            Some(column) => rows.text(column).map(|text| text.trim().to_owned()),
            None => Ok(String::new()),
        };
        block.entities.push(text(&columns.entity)?);
        block.labels.push(text(&columns.label)?);
        let values = block.columns.iter_mut().zip(&mut bad.columns);
        for (column, (values, bad)) in columns.samples.iter().zip(values) {
            let number = cells.number(rows.text(column)?).unwrap_or_else(|message| {
                bad.note(|| rows.place(column, &message));
                None
            });
            values.push(number);
        }
        let values = block.columns.iter_mut().skip(columns.samples.len());
        for (column, values) in columns.texts.iter().zip(values) {
            values.push(text_number(rows.text(column)?));
        }
        if block.entities.len() == BLOCK_ROWS {
            each(std::mem::replace(&mut block, empty()))?;
        }
    }
    each(block)?;
    Ok(bad)
}

impl<'a> Rows<'a> {
    fn open(path: &'a Path, source: &TableSource) -> Result<Self, StepError> {
        let Text { bytes, delimiter, lines_before } = Text::open(path, source)?;
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .has_headers(true)
            .from_reader(bytes);
        let record = ByteRecord::new();
        let mut rows = Self { path, reader, header: Vec::new(), record, lines_before };
        let header = rows.reader.byte_headers().map_err(|error| unreadable(path, &error))?;
        let header: Result<Vec<String>, _> = header
            .iter()
            .map(|cell| std::str::from_utf8(cell).map(|cell| cell.trim().to_owned()))
            .collect();
        rows.header = header.map_err(|error| not_text(path, &error))?;
        if rows.header.is_empty() {
            return Err(StepError::refused(format!("`{}` is empty", path.display()))
                .hint("name a table with a header and at least one row"));
        }
        Ok(rows)
    }

    /// Moves to the next row; a row of another length than the header is refused.
    fn next(&mut self) -> Result<bool, StepError> {
        let more = self
            .reader
            .read_byte_record(&mut self.record)
            .map_err(|error| unreadable(self.path, &error))?;
        if more && self.record.len() != self.header.len() {
            return Err(StepError::refused(format!(
                "`{}:{}`: {} cells, expected {} as in the header",
                self.path.display(),
                self.line(),
                self.record.len(),
                self.header.len()
            ))
            .hint("check `table.delimiter`, and that each text with a delimiter is in quotes"));
        }
        Ok(more)
    }

    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line) + self.lines_before
    }

    fn text(&self, column: &FileColumn) -> Result<&str, StepError> {
        let bytes = self.record.get(column.index).unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|error| {
            let row = self.record.position().map_or(0, csv::Position::byte);
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            let what = format!(
                "the cell is not UTF-8: byte 0x{byte:02x} in the row that begins at byte {row}"
            );
            StepError::refused(self.place(column, &what)).hint(ENCODING)
        })
    }

    /// Adds the position of the cell to an error.
    fn at<T>(&self, column: &FileColumn, parsed: Result<T, String>) -> Result<T, StepError> {
        parsed.map_err(|message| {
            StepError::refused(self.place(column, &message)).hint(
                "correct the cell, or set `time_format`, `time_zone` and `decimal` of the table",
            )
        })
    }

    fn place(&self, column: &FileColumn, message: &str) -> String {
        format!("`{}:{}`: column `{}`: {message}", self.path.display(), self.line(), column.name)
    }
}

/// Hint for text that is not UTF-8.
const ENCODING: &str = "set `table.encoding` to latin-1 or utf-16";

fn not_text(path: &Path, error: &std::str::Utf8Error) -> StepError {
    let message = format!(
        "`{}:1`: the header is not UTF-8, from byte {} of a cell on",
        path.display(),
        error.valid_up_to()
    );
    StepError::refused(message).hint(ENCODING)
}

fn unreadable(path: &Path, error: &csv::Error) -> StepError {
    match error.kind() {
        csv::ErrorKind::Io(error) => StepError::reading(path, error),
        _ => StepError::refused(format!("cannot read `{}` as CSV: {error}", path.display()))
            .hint("check `table.delimiter`, and that each text with a delimiter is in quotes"),
    }
}
