//! Reads CSV, plain or gzip, row by row.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use contract::StepError;
use csv::{ByteRecord, ReaderBuilder};
use document::sources::TableSource;
use flate2::read::MultiGzDecoder;
use frames::samples::SampleRows;
use fs_err as fs;

use super::cells;
use super::columns::{Columns, FileColumn};
use super::sink::BLOCK_ROWS;
use crate::source::Stop;

/// Rows of a CSV file, with what is needed to say where an error is.
struct Rows<'a> {
    path: &'a Path,
    reader: csv::Reader<Box<dyn Read>>,
    header: Vec<String>,
    record: ByteRecord,
}

/// Finds the columns to read, and says which ones are left out and why.
///
/// Where the document does not name the samples, the whole file is read once to see which columns
/// hold only numbers.
pub(super) fn columns(
    path: &Path,
    source: &TableSource,
) -> Result<(Columns, Vec<String>), StepError> {
    let mut rows = Rows::open(path, source)?;
    let mut columns = Columns::find(path, source, &rows.header)?;
    if !source.columns.is_empty() {
        return Ok((columns, Vec::new()));
    }
    let mut wrong: Vec<Option<String>> = vec![None; columns.samples.len()];
    let mut some = vec![false; columns.samples.len()];
    while rows.next()? {
        for ((column, wrong), some) in columns.samples.iter().zip(&mut wrong).zip(&mut some) {
            if wrong.is_some() {
                continue;
            }
            match rows.text(column).and_then(|text| rows.at(column, cells::number(text))) {
                Ok(value) => *some |= value.is_some(),
                Err(error) => *wrong = Some(error.message),
            }
        }
    }
    let mut left_out = Vec::new();
    let mut seen = wrong.into_iter().zip(some);
    columns.retain(path, |column| {
        let (wrong, some) = seen.next().unwrap_or_default();
        let reason = match wrong {
            _ if column.name.is_empty() => "it has no name".to_owned(),
            Some(wrong) => wrong,
            None if !some => "it holds no number".to_owned(),
            None => return true,
        };
        left_out.push(format!("column `{}` is left out: {reason}", column.name));
        false
    })?;
    Ok((columns, left_out))
}

/// Hands the rows to `each`, some thousands at a time.
pub(super) fn read(
    path: &Path,
    source: &TableSource,
    columns: &Columns,
    each: &mut dyn FnMut(SampleRows) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut rows = Rows::open(path, source)?;
    let empty =
        || SampleRows { columns: vec![Vec::new(); columns.samples.len()], ..SampleRows::default() };
    let mut block = empty();
    while rows.next()? {
        if let Some(column) = &columns.time {
            let time = cells::time(rows.text(column)?, source.time_format);
            block.times.push(rows.at(column, time)?);
        }
        let text = |column: &Option<FileColumn>| match column {
            Some(column) => rows.text(column).map(|text| text.trim().to_owned()),
            None => Ok(String::new()),
        };
        block.entities.push(text(&columns.entity)?);
        block.labels.push(text(&columns.label)?);
        for (column, values) in columns.samples.iter().zip(&mut block.columns) {
            values.push(rows.at(column, cells::number(rows.text(column)?))?);
        }
        if block.entities.len() == BLOCK_ROWS {
            each(std::mem::replace(&mut block, empty()))?;
        }
    }
    each(block)
}

impl<'a> Rows<'a> {
    fn open(path: &'a Path, source: &TableSource) -> Result<Self, StepError> {
        let read_error = |error: std::io::Error| StepError::reading(path, &error);
        let mut file =
            BufReader::with_capacity(64 << 10, fs::File::open(path).map_err(read_error)?);
        let start = file.fill_buf().map_err(read_error)?;
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            return Err(StepError::refused(format!("`{}` is UTF-16 text", path.display()))
                .hint("save it as UTF-8"));
        }
        if start.starts_with(b"PAR1") {
            return Err(StepError::refused(format!("`{}` is a Parquet file", path.display()))
                .hint("its name must end with .parquet"));
        }
        let packed = start.starts_with(&[0x1f, 0x8b]);
        let bytes: Box<dyn Read> =
            if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let delimiter = source.delimiter.replace("\\t", "\t");
        let delimiter = delimiter.bytes().next().unwrap_or(b',');
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .has_headers(true)
            .from_reader(bytes);
        let mut rows = Self { path, reader, header: Vec::new(), record: ByteRecord::new() };
        let header = rows.reader.byte_headers().map_err(|error| unreadable(path, &error))?;
        rows.header =
            header.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        if rows.header.is_empty() {
            return Err(StepError::refused(format!("`{}` is empty", path.display())));
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
            .hint("is `table.delimiter` the file's, and each text with it in quotes?"));
        }
        Ok(more)
    }

    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    fn text(&self, column: &FileColumn) -> Result<&str, StepError> {
        let bytes = self.record.get(column.index).unwrap_or_default();
        let text = std::str::from_utf8(bytes);
        self.at(column, text.map_err(|_| "the cell is not UTF-8 text".to_owned()))
    }

    /// Says in an error where the cell is.
    fn at<T>(&self, column: &FileColumn, parsed: Result<T, String>) -> Result<T, StepError> {
        parsed.map_err(|message| {
            let (path, line, name) = (self.path.display(), self.line(), &column.name);
            StepError::refused(format!("`{path}:{line}`: column `{name}`: {message}"))
        })
    }
}

fn unreadable(path: &Path, error: &csv::Error) -> StepError {
    match error.kind() {
        csv::ErrorKind::Io(error) => StepError::reading(path, error),
        _ => StepError::refused(format!("cannot read `{}` as CSV: {error}", path.display())),
    }
}
