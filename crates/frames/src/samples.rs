//! `samples.parquet`: the samples as the source returned them.

use std::path::Path;

use contract::{StepError, Timestamp};

use crate::parquet::{self, Reader, Writer};
use crate::table::{Column, Table};

const TIME: &str = "time";
const ENTITY: &str = "entity";
const LABEL: &str = "label";

/// Raw samples as `feature` reads them, sorted by time and, within a time, in the source's order.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// The samples; `NaN` is a gap. Infinities are kept.
    pub table: Table,
    /// The source's own label of each row, where it has one.
    pub labels: Option<Vec<String>>,
}

impl Samples {
    /// Reads a samples file.
    pub fn read(path: &Path) -> Result<Self, StepError> {
        let (reader, mut samples) = Self::open(path)?;
        reader.for_each_batch(|batch| samples.append(path, batch))?;
        Ok(samples)
    }

    /// Calls `each` with the rows in parts, in order, so that memory does not grow with the file:
    /// `each` takes rows from the part ([`Samples::take_first`]), and the next rows are added to
    /// the remaining ones. The remaining rows of the last part are returned. An entity has the same
    /// number in every part.
    pub fn read_parts(
        path: &Path,
        mut each: impl FnMut(&mut Self) -> Result<(), StepError>,
    ) -> Result<Self, StepError> {
        let (reader, mut samples) = Self::open(path)?;
        reader.for_each_batch(|batch| {
            samples.append(path, batch)?;
            each(&mut samples)
        })?;
        Ok(samples)
    }

    /// Calls `each` with times and entities alone, in parts, in order; the columns have no values.
    /// Returns the samples without rows.
    pub fn read_keys(
        path: &Path,
        mut each: impl FnMut(&Table) -> Result<(), StepError>,
    ) -> Result<Self, StepError> {
        let (reader, mut samples) = Self::open(path)?;
        reader.for_each_batch_of(Some(&[TIME, ENTITY]), |batch| {
            samples.table.times.clear();
            samples.table.entity.clear();
            read_keys(path, batch, &mut samples.table)?;
            each(&samples.table)
        })?;
        samples.table.times.clear();
        samples.table.entity.clear();
        Ok(samples)
    }

    /// Returns the first `rows` rows and keeps the others.
    #[must_use]
    pub fn take_first(&mut self, rows: usize) -> Self {
        fn take<T>(from: &mut Vec<T>, rows: usize) -> Vec<T> {
            let rest = from.split_off(rows);
            std::mem::replace(from, rest)
        }
        let table = &mut self.table;
        let columns = table.columns.iter_mut().map(|column| Column {
            name: column.name.clone(),
            values: take(&mut column.values, rows),
        });
        let columns = columns.collect();
        let first = Table {
            times: take(&mut table.times, rows),
            entity: take(&mut table.entity, rows),
            entities: table.entities.clone(),
            columns,
        };
        Self { table: first, labels: self.labels.as_mut().map(|labels| take(labels, rows)) }
    }

    /// Opens a file and makes the samples without rows that fit it.
    fn open(path: &Path) -> Result<(Reader, Self), StepError> {
        let reader = Reader::open(path)?;
        let fields: Vec<String> =
            reader.schema().fields().iter().map(|f| f.name().clone()).collect();
        let names =
            fields.iter().map(String::as_str).filter(|name| ![TIME, ENTITY, LABEL].contains(name));
        let table = Table::empty(names);
        let labels = fields.iter().any(|name| name == LABEL).then(Vec::new);
        Ok((reader, Self { table, labels }))
    }

    fn append(&mut self, path: &Path, batch: &arrow_array::RecordBatch) -> Result<(), StepError> {
        read_keys(path, batch, &mut self.table)?;
        if let Some(labels) = &mut self.labels {
            parquet::read_texts(path, batch, LABEL, |label| labels.push(label.to_owned()))?;
        }
        for Column { name, values } in &mut self.table.columns {
            parquet::read_numbers(path, batch, name, values)?;
        }
        Ok(())
    }
}

/// Appends the time and entity columns of a batch.
pub(crate) fn read_keys(
    path: &Path,
    batch: &arrow_array::RecordBatch,
    table: &mut Table,
) -> Result<(), StepError> {
    parquet::read_times(path, batch, TIME, &mut table.times)?;
    // Mostly there are few entities, in runs or cycles; a map is faster only for more.
    let mut known: std::collections::HashMap<String, u32> =
        table.entities.iter().cloned().zip(0..).collect();
    let (entity, entities) = (&mut table.entity, &mut table.entities);
    parquet::read_texts(path, batch, ENTITY, |name| {
        let index = known.get(name).copied().unwrap_or_else(|| {
            let index = u32::try_from(entities.len()).unwrap_or(u32::MAX);
            entities.push(name.to_owned());
            known.insert(name.to_owned(), index);
            index
        });
        entity.push(index);
    })
}

/// Rows to add to a samples file: one item a row in every vector.
#[derive(Debug, Clone, Default)]
pub struct SampleRows {
    /// Time of each row.
    pub times: Vec<Timestamp>,
    /// Entity of each row.
    pub entities: Vec<String>,
    /// Label of each row; empty where the source has none.
    pub labels: Vec<String>,
    /// A vector for each column: `None` is a gap, `NaN` is a value of the source.
    pub columns: Vec<Vec<Option<f64>>>,
}

impl SampleRows {
    /// Divides the rows into so many parts. `part_of` names the part of a row by its entity and label;
    /// without one the row is in none.
    #[must_use]
    pub fn split(
        &self,
        parts: usize,
        mut part_of: impl FnMut(&str, &str) -> Option<usize>,
    ) -> Vec<Self> {
        let label = |row: usize| self.labels.get(row).map_or("", String::as_str);
        let entities = self.entities.iter().enumerate();
        let of_rows: Vec<Option<usize>> =
            entities.map(|(row, entity)| part_of(entity, label(row))).collect();
        let empty = Self { columns: vec![Vec::new(); self.columns.len()], ..Self::default() };
        let mut all = vec![empty; parts];
        for (row, part) in of_rows.iter().enumerate() {
            let Some(part) = part.and_then(|part| all.get_mut(part)) else { continue };
            part.times.push(self.times[row]);
            part.entities.push(self.entities[row].clone());
            part.labels.extend(self.labels.get(row).cloned());
        }
        for (index, column) in self.columns.iter().enumerate() {
            for (value, part) in column.iter().zip(&of_rows) {
                if let Some(part) = part.and_then(|part| all.get_mut(part)) {
                    part.columns[index].push(*value);
                }
            }
        }
        all
    }
}

/// Returns the number that stands for a text in a sample column: 48 bits of its SHA-256, which a
/// float holds exactly. Spaces around the text do not count; an empty one is a gap.
///
/// ```
/// use frames::samples::text_number;
///
/// assert_eq!(text_number("worker"), text_number(" worker "));
/// assert_ne!(text_number("worker"), text_number("control-plane"));
/// assert_eq!(text_number(""), None);
/// ```
pub fn text_number(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let hash = contract::artifact::sha256(text.as_bytes());
    let bits = hash.get(..12).and_then(|digits| u64::from_str_radix(digits, 16).ok())?;
    Some(bits as f64)
}

/// Writes `samples.parquet` row group by row group; the file appears when it is published.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use contract::Timestamp;
/// use frames::samples::SampleRows;
/// use frames::{Samples, SamplesWriter};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("samples.parquet");
/// let mut writer = SamplesWriter::create(&path, &["load"], false)?;
/// writer.write(&SampleRows {
///     times: vec![Timestamp::from_ms(0), Timestamp::from_ms(60_000)],
///     entities: vec!["node-1".to_owned(); 2],
///     columns: vec![vec![Some(0.5), None]],
///     ..SampleRows::default()
/// })?;
/// assert!(!path.exists(), "nothing is visible before the file is complete");
/// writer.publish()?;
///
/// let table = Samples::read(&path)?.table;
/// assert_eq!(table.rows(), 2);
/// assert!(table.columns[0].values[1].is_nan(), "a missing sample is a gap");
/// # Ok(())
/// # }
/// ```
pub struct SamplesWriter {
    writer: Writer,
    labelled: bool,
}

impl std::fmt::Debug for SamplesWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SamplesWriter").field("labelled", &self.labelled).finish_non_exhaustive()
    }
}

impl SamplesWriter {
    /// Starts a file with these sample columns.
    pub fn create(path: &Path, columns: &[&str], labelled: bool) -> Result<Self, StepError> {
        let mut fields = vec![parquet::time_field(TIME), parquet::text_field(ENTITY)];
        if labelled {
            fields.push(parquet::text_field(LABEL));
        }
        fields.extend(columns.iter().map(|name| parquet::number_field(name)));
        Ok(Self { writer: Writer::create(path, fields, &[])?, labelled })
    }

    /// Adds rows as a row group of their own.
    pub fn write(&mut self, rows: &SampleRows) -> Result<(), StepError> {
        let mut columns = vec![
            parquet::times(&rows.times),
            parquet::texts(rows.entities.iter().map(String::as_str)),
        ];
        if self.labelled {
            columns.push(parquet::texts(rows.labels.iter().map(String::as_str)));
        }
        columns.extend(rows.columns.iter().map(|values| parquet::raw_numbers(values)));
        self.writer.write(columns)?;
        self.writer.end_row_group()
    }

    /// Makes the file visible at its path.
    pub fn publish(self) -> Result<(), StepError> {
        self.writer.publish()
    }
}
