//! The records of a flow file: rows of CSV, lines of Zeek, objects of JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};

use contract::StepError;
use csv::{ByteRecord, ReaderBuilder};
use document::sources::flows::TableFormat;
use document::sources::table::TableSource;
use encoding_rs::WINDOWS_1252;

use super::dialect::{Clock, Dialect, Field};
use super::json;
use crate::sources::table::cells::shown;
use crate::sources::table::text::Text;

/// Maximum length of a line or JSON object; a longer one is not a record.
const LONGEST_BYTES: u64 = 1 << 20;
/// Number of records that are read to detect the format.
const LOOKED_AT: usize = 1000;

/// A field with its text.
pub(super) type Fields<'a> = Vec<(Field, Cow<'a, str>)>;

/// Callback for a record: its line, and its fields or the error.
pub(super) type Visit<'a> =
    dyn FnMut(u64, Result<Fields<'_>, String>) -> Result<(), StepError> + 'a;

/// Counts of other contents of a file, by name for the outcome.
pub(super) type Counts = BTreeMap<&'static str, usize>;

/// How the records of a file are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Delimited,
    Zeek,
    JsonLines,
    JsonArray,
}

/// A file of flows whose format is known.
#[derive(Debug, Clone)]
pub(super) struct FlowFile<'a> {
    path: PathBuf,
    source: &'a TableSource,
    shape: Shape,
    /// The format; `None` for a file without records if the document names the format.
    pub(super) dialect: Option<&'static Dialect>,
    /// Whether the records have labels.
    pub(super) is_labelled: bool,
}

impl<'a> FlowFile<'a> {
    /// Reads the first records of a file to detect its format.
    ///
    /// Errors: refused for a file of another format, or of an unknown one; usage if the document
    /// lacks a time zone that the format needs.
    pub(super) fn open(path: &Path, source: &'a TableSource) -> Result<Self, StepError> {
        let mut bytes = Text::open(path, source)?.bytes;
        let start = bytes.fill_buf().map_err(|error| StepError::reading(path, &error))?;
        let begin = start.trim_ascii_start();
        let shape = match begin.first() {
            None => {
                return Err(StepError::refused(format!("`{}` is empty", path.display()))
                    .hint("name a file with at least one flow"));
            }
            Some(b'{') => Shape::JsonLines,
            Some(b'[') => Shape::JsonArray,
            Some(b'#') => Shape::Zeek,
            Some(_) => Shape::Delimited,
        };
        let mut file =
            Self { path: path.to_owned(), source, shape, dialect: None, is_labelled: false };
        let names = file.names(bytes)?;
        file.dialect = names.iter().find_map(|names| {
            Dialect::find(source.format, &|name| names.iter().any(|known| known == name))
        });
        let Some(dialect) = file.dialect else {
            let is_empty_list = shape == Shape::JsonArray && names.is_empty();
            if is_empty_list && source.format == TableFormat::NfdumpJson {
                return Ok(file);
            }
            return Err(file.unknown(names.first()));
        };
        let has_label = |names: &[String]| file.label_of(dialect, names).is_some();
        file.is_labelled = names.iter().any(|names| has_label(names));
        if let (Some(label), false) = (&source.label, file.is_labelled) {
            let message = format!("`{}` has no column `{label}`", path.display());
            return Err(StepError::refused(message).hint("set the label column with `table.label`"));
        }
        if dialect.clock != Clock::Zoned && source.time_zone.is_none() {
            return Err(StepError::usage(format!(
                "`{}` is {}, whose times have no time zone",
                path.display(),
                dialect.name
            ))
            .hint(
                "set `table.time_zone`, such as UTC: the zone of the machine that wrote the file",
            ));
        }
        Ok(file)
    }

    fn unknown(&self, names: Option<&Vec<String>>) -> StepError {
        let shown_names = names.map(|names| shown(&names.join(", "))).unwrap_or_default();
        let path = self.path.display();
        let message = if self.source.format == TableFormat::Flows {
            format!("`{path}` has no known flow format")
        } else {
            format!("`{path}` does not have the flow format that `table.format` names")
        };
        StepError::refused(message).hint(format!(
            "known formats: {}; the file has the fields: {shown_names}",
            Dialect::names()
        ))
    }

    /// Returns the names of the fields: of the header, or of the first records each.
    fn names(&self, mut bytes: Box<dyn BufRead>) -> Result<Vec<Vec<String>>, StepError> {
        match self.shape {
            Shape::Delimited => {
                let mut reader = self.delimited()?;
                Ok(vec![header(reader.byte_headers().map_err(|e| self.unreadable(&e))?)])
            }
            Shape::Zeek => {
                let mut line = Vec::new();
                let mut number = 0;
                while number < LOOKED_AT && self.line(&mut bytes, &mut line)? {
                    number += 1;
                    if let Some(names) = zeek_names(&line) {
                        return Ok(vec![names]);
                    }
                }
                Ok(Vec::new())
            }
            Shape::JsonLines | Shape::JsonArray => {
                let mut found = Vec::new();
                self.objects(bytes, &mut |_, object| {
                    if let Ok(pairs) = object.and_then(|text| json::flatten(&text)) {
                        found.push(pairs.into_iter().map(|(name, _)| name).collect());
                    }
                    Ok(found.len() < LOOKED_AT)
                })?;
                Ok(found)
            }
        }
    }

    /// Returns the index and field of the label among these names.
    fn label_of(&self, dialect: &Dialect, names: &[String]) -> Option<usize> {
        let own = self.source.label.as_deref().map(|label| label.trim().trim_start_matches('_'));
        let wanted = own.as_slice();
        let wanted = if wanted.is_empty() { dialect.names_of(Field::Label) } else { wanted };
        wanted.iter().find_map(|wanted| names.iter().position(|name| name == wanted))
    }

    /// Returns the field of each name.
    fn fields(&self, dialect: &Dialect, names: &[String]) -> Vec<(Field, usize)> {
        let place = |name: &&str| names.iter().position(|known| known == name);
        let of = |field: Field| {
            dialect.names_of(field).iter().find_map(|name| Some((field, place(name)?)))
        };
        let label = self.label_of(dialect, names).map(|place| (Field::Label, place));
        dialect
            .fields()
            .filter(|field| *field != Field::Label)
            .filter_map(of)
            .chain(label)
            .collect()
    }

    /// Reads all records.
    pub(super) fn read(&self, visit: &mut Visit<'_>) -> Result<Counts, StepError> {
        let Some(dialect) = self.dialect else { return Ok(Counts::new()) };
        let bytes = Text::open(&self.path, self.source)?.bytes;
        match self.shape {
            Shape::Delimited => self.read_delimited(dialect, visit),
            Shape::Zeek => self.read_zeek(dialect, bytes, visit),
            Shape::JsonLines | Shape::JsonArray => {
                let mut counts = Counts::new();
                self.objects(bytes, &mut |line, object| {
                    match object.and_then(|text| json::flatten(&text)) {
                        Ok(pairs) if !is_flow(dialect, &pairs) => count(&mut counts, OTHER),
                        Ok(pairs) => visit(line, Ok(self.of_json(dialect, pairs)))?,
                        Err(message) => visit(line, Err(message))?,
                    }
                    Ok(true)
                })?;
                Ok(counts)
            }
        }
    }

    fn of_json(&self, dialect: &Dialect, pairs: Vec<(String, String)>) -> Fields<'static> {
        let (names, mut texts): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
        let fields = self.fields(dialect, &names);
        let mut take = |place: usize| texts.get_mut(place).map(std::mem::take).unwrap_or_default();
        fields.into_iter().map(|(field, place)| (field, Cow::Owned(take(place)))).collect()
    }

    fn delimited(&self) -> Result<csv::Reader<Box<dyn BufRead>>, StepError> {
        let Text { bytes, delimiter, .. } = Text::open(&self.path, self.source)?;
        let mut builder = ReaderBuilder::new();
        Ok(builder.delimiter(delimiter).flexible(true).has_headers(true).from_reader(bytes))
    }

    fn read_delimited(
        &self,
        dialect: &Dialect,
        visit: &mut Visit<'_>,
    ) -> Result<Counts, StepError> {
        let mut counts = Counts::new();
        let mut reader = self.delimited()?;
        let first = reader.byte_headers().map_err(|error| self.unreadable(&error))?;
        let names = header(first);
        let fields = self.fields(dialect, &names);
        let mut record = ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| self.unreadable(&error))? {
            let line = record.position().map_or(0, csv::Position::line);
            let only = record.get(0).unwrap_or_default();
            match only {
                // In nfdump's output, totals follow, which are not rows.
                b"Summary" if record.len() == 1 => break,
                b"No matching flows" if record.len() == 1 => continue,
                _ => {}
            }
            if record.iter().all(|cell| cell.trim_ascii().is_empty()) {
                count(&mut counts, EMPTY);
            } else if record.len() != names.len() {
                let message =
                    format!("{} cells, not {} as in the header", record.len(), names.len());
                visit(line, Err(message))?;
            } else if is_header(&record, &names) {
                count(&mut counts, HEADERS);
            } else {
                let cell = |place: usize| decoded(record.get(place).unwrap_or_default());
                visit(
                    line,
                    Ok(fields.iter().map(|(field, place)| (*field, cell(*place))).collect()),
                )?;
            }
        }
        Ok(counts)
    }

    fn read_zeek(
        &self,
        dialect: &Dialect,
        mut bytes: Box<dyn BufRead>,
        visit: &mut Visit<'_>,
    ) -> Result<Counts, StepError> {
        let (mut line, mut number) = (Vec::new(), 0);
        let (mut columns, mut fields) = (0, Vec::new());
        while self.line(&mut bytes, &mut line)? {
            number += 1;
            if line.starts_with(b"#") {
                // If a file has several logs, each of them has a header.
                if let Some(names) = zeek_names(&line) {
                    (columns, fields) = (names.len(), self.fields(dialect, &names));
                }
                continue;
            }
            let cells: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
            if line.is_empty() {
                // The last line of a truncated file.
            } else if cells.len() != columns {
                let message = format!("{} cells, not {columns} as in `#fields`", cells.len());
                visit(number, Err(message))?;
            } else {
                let cell =
                    |place: usize| match decoded(cells.get(place).copied().unwrap_or_default()) {
                        unset if unset == "-" || unset == "(empty)" => Cow::Borrowed(""),
                        cell => cell,
                    };
                let fields = fields.iter().map(|(field, place)| (*field, cell(*place)));
                visit(number, Ok(fields.collect()))?;
            }
        }
        Ok(Counts::new())
    }

    /// Passes the text of each JSON object to `each` until `each` stops it.
    fn objects(
        &self,
        mut bytes: Box<dyn BufRead>,
        each: &mut dyn FnMut(u64, Result<String, String>) -> Result<bool, StepError>,
    ) -> Result<(), StepError> {
        let (mut line, mut number) = (Vec::new(), 0);
        let mut objects = json::Objects::new(LONGEST_BYTES);
        while self.line(&mut bytes, &mut line)? {
            number += 1;
            let text = decoded(&line);
            if self.shape == Shape::JsonArray {
                for object in objects.add(&text) {
                    if !each(number, object)? {
                        return Ok(());
                    }
                }
            } else if !text.trim().is_empty() && !each(number, Ok(text.into_owned()))? {
                return Ok(());
            }
        }
        if let Some(rest) = objects.rest() {
            each(number, Err(rest))?;
        }
        Ok(())
    }

    /// Reads a line without its end; of one that is too long, its beginning.
    fn line(&self, bytes: &mut Box<dyn BufRead>, line: &mut Vec<u8>) -> Result<bool, StepError> {
        line.clear();
        let failed = |error: std::io::Error| StepError::reading(&self.path, &error);
        let read = bytes.by_ref().take(LONGEST_BYTES).read_until(b'\n', line).map_err(failed)?;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if read as u64 == LONGEST_BYTES {
            bytes.skip_until(b'\n').map_err(failed)?;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(read > 0)
    }

    fn unreadable(&self, error: &csv::Error) -> StepError {
        let path = &self.path;
        match error.kind() {
            csv::ErrorKind::Io(error) => StepError::reading(path, error),
            _ => StepError::refused(format!("cannot read `{}` as CSV: {error}", path.display()))
                .hint(
                    "check that the file is complete, and that each text with a delimiter is in \
                     quotes",
                ),
        }
    }
}

/// Returns whether a JSON object is a flow: Hubble also writes other events.
fn is_flow(dialect: &Dialect, pairs: &[(String, String)]) -> bool {
    let has = |name: &str| pairs.iter().any(|(own, _)| own == name);
    dialect.format != TableFormat::Hubble || Dialect::find(dialect.format, &has).is_some()
}

/// Records of another kind than flows.
pub(super) const OTHER: &str = "other_records";
/// Rows without any value.
const EMPTY: &str = "empty_rows";
/// Headers between rows, in concatenated files.
const HEADERS: &str = "repeated_headers";

/// Counts one more.
pub(super) fn count(counts: &mut Counts, name: &'static str) {
    *counts.entry(name).or_default() += 1;
}

/// Returns names without the spaces around them, and without the `_` prefix of Elasticsearch's own
/// names.
fn header(record: &ByteRecord) -> Vec<String> {
    record.iter().map(|cell| decoded(cell).trim().trim_start_matches('_').to_owned()).collect()
}

/// Returns whether a row is a repeated header.
fn is_header(record: &ByteRecord, names: &[String]) -> bool {
    let first = names.first().map(String::as_str).unwrap_or_default();
    record.get(0).is_some_and(|cell| decoded(cell).contains(first)) && header(record) == names
}

fn zeek_names(line: &[u8]) -> Option<Vec<String>> {
    let names = line.strip_prefix(b"#fields\t")?;
    Some(names.split(|byte| *byte == b'\t').map(|name| decoded(name).into_owned()).collect())
}

/// Reads text as UTF-8, or as Windows-1252 if it is not UTF-8.
fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}
