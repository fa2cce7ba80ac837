//! `features.parquet`: one row per window and entity, with their feature contract.

use std::collections::BTreeSet;
use std::path::Path;

use contract::{FeatureContract, OTHER_VERSION_HINT, StepError, Timestamp};

use crate::parquet::{self, Reader, Writer};
use crate::samples::read_keys;
use crate::table::{Column, Table};

/// Labels of the rows; every vector has one item per row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowLabels {
    /// The label.
    pub label: Vec<String>,
    /// The scenario the row belongs to, guard bands included; empty outside of any.
    pub scenario: Vec<String>,
    /// Whether the row is in a guard band, and counts in no metric.
    pub excluded: Vec<bool>,
}

/// Feature rows, sorted by time and then by entity name.
#[derive(Debug, Clone)]
pub struct FeatureTable {
    /// What the columns mean.
    pub contract: FeatureContract,
    /// Time, entity and features; `NaN` is a gap.
    pub table: Table,
    /// Whether the samples do not reach back far enough for the row's features. Such rows are
    /// neither used for training nor scored.
    pub warm_up: Vec<bool>,
    /// Labels of the rows, if there are any.
    pub labels: Option<RowLabels>,
}

/// Times and entities of the rows of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Number of rows.
    pub rows: usize,
    /// Earliest time; `None` without rows.
    pub first: Option<Timestamp>,
    /// Latest time.
    pub last: Option<Timestamp>,
    /// Names of the entities.
    pub entities: BTreeSet<String>,
}

/// Writes `features.parquet` in parts of consecutive rows; the file appears when it is published.
pub struct FeatureWriter {
    writer: Writer,
    labelled: bool,
}

impl std::fmt::Debug for FeatureWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeatureWriter").field("labelled", &self.labelled).finish_non_exhaustive()
    }
}

impl FeatureWriter {
    /// Starts a file; `labelled` means that its rows have labels.
    pub fn create(
        path: &Path,
        contract: &FeatureContract,
        labelled: bool,
    ) -> Result<Self, StepError> {
        let mut fields = vec![
            parquet::time_field("time"),
            parquet::text_field("entity"),
            parquet::flag_field(WARM_UP),
        ];
        if labelled {
            fields.extend([
                parquet::text_field(LABEL),
                parquet::text_field(SCENARIO),
                parquet::flag_field(EXCLUDED),
            ]);
        }
        fields.extend(contract.names().iter().map(|name| parquet::number_field(name)));
        let metadata = [(FeatureContract::METADATA_KEY, contract.to_json()?)];
        Ok(Self { writer: Writer::create(path, fields, &metadata)?, labelled })
    }

    /// Adds the rows of a table with the file's contract, a row group at a time: a second copy of all
    /// columns would be large.
    pub fn write(&mut self, table: &FeatureTable) -> Result<(), StepError> {
        if self.labelled != table.labels.is_some() {
            return Err(StepError::bug("rows with and without labels in one file of features"));
        }
        for first in (0..table.rows()).step_by(parquet::ROW_GROUP_ROWS) {
            let end = table.rows().min(first + parquet::ROW_GROUP_ROWS);
            self.writer.write(table.arrays(first..end))?;
        }
        Ok(())
    }

    /// Makes the file visible at its path.
    pub fn publish(self) -> Result<(), StepError> {
        self.writer.publish()
    }
}

const WARM_UP: &str = "warm_up";
const LABEL: &str = "label";
const SCENARIO: &str = "scenario";
const EXCLUDED: &str = "excluded";

impl FeatureTable {
    /// Reserved names, which a feature must not have.
    pub const RESERVED: [&str; 6] = ["time", "entity", WARM_UP, LABEL, SCENARIO, EXCLUDED];

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.table.rows()
    }

    /// Returns the rows whose numbers are in `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let labels = self.labels.as_ref().map(|labels| RowLabels {
            label: rows.iter().map(|&row| labels.label[row].clone()).collect(),
            scenario: rows.iter().map(|&row| labels.scenario[row].clone()).collect(),
            excluded: rows.iter().map(|&row| labels.excluded[row]).collect(),
        });
        Self {
            contract: self.contract.clone(),
            table: self.table.select(rows),
            warm_up: rows.iter().map(|&row| self.warm_up[row]).collect(),
            labels,
        }
    }

    /// Returns the table with those of its columns that `contract` has, in the order of `contract`.
    /// Columns that only one of them has, and different meanings of columns, are not changed, so
    /// that the check of the contract finds them.
    #[must_use]
    pub fn with_columns_of(mut self, contract: &FeatureContract) -> Self {
        let names = contract.names();
        if self.contract.names() == names {
            return self;
        }
        let of_contract = std::mem::take(&mut self.contract.columns);
        let of_table = std::mem::take(&mut self.table.columns);
        let mut columns: Vec<_> = of_contract.into_iter().zip(of_table).collect();
        columns.retain(|(column, _)| names.contains(&column.name.as_str()));
        columns.sort_by_key(|(column, _)| names.iter().position(|name| *name == column.name));
        (self.contract.columns, self.table.columns) = columns.into_iter().unzip();
        self
    }

    /// Writes the table.
    pub fn write(&self, path: &Path) -> Result<(), StepError> {
        let mut writer = FeatureWriter::create(path, &self.contract, self.labels.is_some())?;
        writer.write(self)?;
        writer.publish()
    }

    /// Returns some rows as the arrays of the file, in the order of its fields.
    fn arrays(&self, rows: std::ops::Range<usize>) -> Vec<arrow_array::ArrayRef> {
        let mut arrays = vec![
            parquet::times(&self.table.times[rows.clone()]),
            parquet::texts(rows.clone().map(|row| self.table.entity_of(row))),
            parquet::flags(&self.warm_up[rows.clone()]),
        ];
        if let Some(labels) = &self.labels {
            arrays.extend([
                parquet::texts(labels.label[rows.clone()].iter().map(String::as_str)),
                parquet::texts(labels.scenario[rows.clone()].iter().map(String::as_str)),
                parquet::flags(&labels.excluded[rows.clone()]),
            ]);
        }
        let columns = self.table.columns.iter();
        arrays.extend(columns.map(|Column { values, .. }| parquet::numbers(&values[rows.clone()])));
        arrays
    }

    /// Reads a table; one without a contract, or whose columns break it, is refused.
    pub fn read(path: &Path) -> Result<Self, StepError> {
        let (reader, mut table) = Self::open(path)?;
        reader.for_each_batch(|batch| table.append(path, batch))?;
        Ok(table)
    }

    /// Calls `each` with the table in parts of consecutive rows, so that memory does not grow with
    /// the file; errors are those of [`FeatureTable::read`] and of `each`. An entity has the same
    /// number in every part. Returns the contract.
    pub fn read_parts(
        path: &Path,
        mut each: impl FnMut(&Self) -> Result<(), StepError>,
    ) -> Result<FeatureContract, StepError> {
        let (reader, mut part) = Self::open(path)?;
        reader.for_each_batch(|batch| {
            part.clear();
            part.append(path, batch)?;
            each(&part)
        })?;
        Ok(part.contract)
    }

    /// Reads everything but the features: the columns have no values.
    pub fn read_keys(path: &Path) -> Result<Self, StepError> {
        let (reader, mut table) = Self::open(path)?;
        let names = [&Self::RESERVED[..]].concat();
        reader.for_each_batch_of(Some(&names), |batch| table.append_keys(path, batch))?;
        Ok(table)
    }

    /// Reads the rows of some entities; the others are not kept in memory.
    pub fn read_entities(path: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Self, StepError> {
        let (_, mut rows) = Self::open(path)?;
        Self::read_parts(path, |part| {
            let wanted: Vec<bool> =
                part.table.entities.iter().map(|entity| is_wanted(entity)).collect();
            let entities = part.table.entity.iter().enumerate();
            let of_wanted = entities.filter(|(_, entity)| wanted[**entity as usize]);
            rows.extend(part.select(&of_wanted.map(|(row, _)| row).collect::<Vec<_>>()));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Adds the rows of a later part of the same file.
    pub fn extend(&mut self, part: Self) {
        // In a later part the entities of the earlier parts have the same numbers.
        self.table.entities = part.table.entities;
        self.table.times.extend(part.table.times);
        self.table.entity.extend(part.table.entity);
        for (column, more) in self.table.columns.iter_mut().zip(part.table.columns) {
            column.values.extend(more.values);
        }
        self.warm_up.extend(part.warm_up);
        if let (Some(labels), Some(more)) = (&mut self.labels, part.labels) {
            labels.label.extend(more.label);
            labels.scenario.extend(more.scenario);
            labels.excluded.extend(more.excluded);
        }
    }

    /// Returns the number of rows of a file, their time range, and their entities.
    pub fn extent(path: &Path) -> Result<Extent, StepError> {
        let (reader, mut part) = Self::open(path)?;
        let mut extent = Extent::default();
        reader.for_each_batch_of(Some(&["time", "entity"]), |batch| {
            part.clear();
            read_keys(path, batch, &mut part.table)?;
            let times = &part.table.times;
            extent.rows += times.len();
            extent.first = extent.first.into_iter().chain(times.iter().copied()).min();
            extent.last = extent.last.into_iter().chain(times.iter().copied()).max();
            Ok(())
        })?;
        extent.entities = part.table.entities.into_iter().collect();
        Ok(extent)
    }

    /// Calls `each` with the values of one feature, some rows at a time, in order; a gap is `NaN`.
    pub fn each_of_column(
        path: &Path,
        name: &str,
        mut each: impl FnMut(&[f64]),
    ) -> Result<(), StepError> {
        let mut values = Vec::new();
        Reader::open(path)?.for_each_batch_of(Some(&[name]), |batch| {
            values.clear();
            parquet::read_numbers(path, batch, name, &mut values)?;
            each(&values);
            Ok(())
        })
    }

    /// Reads one feature of every row; a gap is `NaN`.
    pub fn read_column(path: &Path, name: &str) -> Result<Vec<f64>, StepError> {
        let reader = Reader::open(path)?;
        let mut values = Vec::with_capacity(reader.rows());
        reader.for_each_batch_of(Some(&[name]), |batch| {
            parquet::read_numbers(path, batch, name, &mut values)
        })?;
        Ok(values)
    }

    /// Returns the contract and the number of rows of a file, without reading the rows.
    pub fn describe(path: &Path) -> Result<(FeatureContract, usize), StepError> {
        let (reader, table) = Self::open(path)?;
        Ok((table.contract, reader.rows()))
    }

    /// Opens a file, and makes an empty table with its columns.
    fn open(path: &Path) -> Result<(Reader, Self), StepError> {
        let reader = Reader::open(path)?;
        let shown = path.display();
        let contract = reader.metadata(FeatureContract::METADATA_KEY).ok_or_else(|| {
            StepError::refused(format!("`{shown}` has no feature contract")).hint(
                "create it with the step `feature`; to use your own table, run `collect` \
                       first",
            )
        })?;
        let contract: FeatureContract =
            contract::artifact::parse_json(&format!("{shown} (contract)"), contract.as_bytes())?;
        if contract.format != FeatureContract::FORMAT {
            return Err(StepError::refused(format!(
                "`{shown}` has a feature contract of format {}, this version reads format {}",
                contract.format,
                FeatureContract::FORMAT
            ))
            .hint(OTHER_VERSION_HINT));
        }
        let labelled = reader.schema().field_with_name(LABEL).is_ok();
        let table = Table::empty(contract.names());
        let labels = labelled.then(RowLabels::default);
        Ok((reader, Self { contract, table, warm_up: Vec::new(), labels }))
    }

    /// Takes the rows out; the names of the entities stay.
    fn clear(&mut self) {
        self.table.times.clear();
        self.table.entity.clear();
        self.table.columns.iter_mut().for_each(|column| column.values.clear());
        self.warm_up.clear();
        if let Some(labels) = &mut self.labels {
            *labels = RowLabels::default();
        }
    }

    fn append(&mut self, path: &Path, batch: &arrow_array::RecordBatch) -> Result<(), StepError> {
        self.append_keys(path, batch)?;
        for Column { name, values } in &mut self.table.columns {
            parquet::read_numbers(path, batch, name, values)?;
        }
        Ok(())
    }

    fn append_keys(
        &mut self,
        path: &Path,
        batch: &arrow_array::RecordBatch,
    ) -> Result<(), StepError> {
        read_keys(path, batch, &mut self.table)?;
        parquet::read_flags(path, batch, WARM_UP, &mut self.warm_up)?;
        if let Some(labels) = &mut self.labels {
            parquet::read_texts(path, batch, LABEL, |text| labels.label.push(text.to_owned()))?;
            parquet::read_texts(path, batch, SCENARIO, |text| {
                labels.scenario.push(text.to_owned());
            })?;
            parquet::read_flags(path, batch, EXCLUDED, &mut labels.excluded)?;
        }
        Ok(())
    }
}
