//! The rows that are validated: in memory if they are few, otherwise only their keys.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use contract::StepError;
use frames::{FeatureTable, FeatureWriter};

/// Maximum number of values of a table that is kept in memory: 64 MB.
const MOST_VALUES_IN_MEMORY: usize = 8 << 20;

/// The rows that are not warm-up, in the order of the file.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Times, entities, labels; also the features if they are in memory.
    pub(crate) table: FeatureTable,
    /// Number of rows in warm-up, which are left out.
    pub(crate) warm_up: usize,
    /// The file with the features, unless they are in memory.
    file: Option<PathBuf>,
    /// Numbers of the rows in the file, unless all of them count.
    settled: Option<Vec<usize>>,
}

impl Rows {
    pub(crate) fn read(path: &Path) -> Result<Self, StepError> {
        let (contract, rows) = FeatureTable::describe(path)?;
        let in_memory = rows.saturating_mul(contract.columns.len()) <= MOST_VALUES_IN_MEMORY;
        if in_memory {
            return Ok(Self::new(FeatureTable::read(path)?, None));
        }
        Ok(Self::new(FeatureTable::read_keys(path)?, Some(path.to_owned())))
    }

    fn new(mut table: FeatureTable, file: Option<PathBuf>) -> Self {
        if file.is_some() {
            // The columns were not read, so no rows can be selected from them.
            table.table.columns.clear();
        }
        let settled: Vec<usize> = (0..table.rows()).filter(|row| !table.warm_up[*row]).collect();
        let warm_up = table.rows() - settled.len();
        if warm_up == 0 {
            return Self { table, warm_up, file, settled: None };
        }
        let table = table.select(&settled);
        Self { table, warm_up, settled: file.is_some().then_some(settled), file }
    }

    /// Returns the rows with their features, which are read if they are not in memory.
    pub(crate) fn whole(&self) -> Result<Cow<'_, FeatureTable>, StepError> {
        let Some(file) = &self.file else { return Ok(Cow::Borrowed(&self.table)) };
        let table = FeatureTable::read(file)?;
        Ok(Cow::Owned(match &self.settled {
            Some(settled) => table.select(settled),
            None => table,
        }))
    }

    /// Returns a feature of every row, or no values if no feature has this name.
    pub(crate) fn values(&self, name: &str) -> Result<Cow<'_, [f64]>, StepError> {
        let Some(file) = &self.file else {
            let column = self.table.table.column(name);
            return Ok(Cow::Borrowed(column.map_or(&[], |column| &column.values)));
        };
        let mut values = FeatureTable::read_column(file, name)?;
        if let Some(settled) = &self.settled {
            values = settled.iter().map(|row| values[*row]).collect();
        }
        Ok(Cow::Owned(values))
    }

    /// Returns a feature of the rows whose numbers are in `rows`, in that order.
    pub(crate) fn values_of(&self, name: &str, rows: &[usize]) -> Result<Vec<f64>, StepError> {
        let Some(file) = self.file.as_ref().filter(|_| rows.is_sorted()) else {
            let values = self.values(name)?;
            return Ok(rows.iter().map(|row| values[*row]).collect());
        };
        let place = |row: usize| self.settled.as_ref().map_or(row, |settled| settled[row]);
        let mut places = rows.iter().map(|row| place(*row)).peekable();
        let (mut found, mut first) = (Vec::with_capacity(rows.len()), 0);
        FeatureTable::each_of_column(file, name, |values| {
            while let Some(place) = places.next_if(|place| *place < first + values.len()) {
                found.push(values[place - first]);
            }
            first += values.len();
        })?;
        Ok(found)
    }

    /// Writes the rows whose numbers are in `rows`, in that order, to a separate file.
    pub(crate) fn write(&self, rows: &[usize], path: &Path) -> Result<(), StepError> {
        let Some(file) = &self.file else { return self.table.select(rows).write(path) };
        let place = |row: usize| self.settled.as_ref().map_or(row, |settled| settled[row]);
        let is_ordered = rows.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_ordered {
            let places: Vec<usize> = rows.iter().map(|row| place(*row)).collect();
            return FeatureTable::read(file)?.select(&places).write(path);
        }
        let labelled = self.table.labels.is_some();
        let mut writer = FeatureWriter::create(path, &self.table.contract, labelled)?;
        let (mut wanted, mut first) = (rows.iter().map(|row| place(*row)).peekable(), 0);
        FeatureTable::read_parts(file, |part| {
            let end = first + part.rows();
            let mut of_part = Vec::new();
            while let Some(row) = wanted.next_if(|row| *row < end) {
                of_part.push(row - first);
            }
            first = end;
            if of_part.is_empty() { Ok(()) } else { writer.write(&part.select(&of_part)) }
        })?;
        writer.publish()
    }
}

#[cfg(test)]
mod tests {
    use contract::{FeatureColumn, FeatureContract, Span, Timestamp};
    use frames::{Column, Table};

    use super::*;

    fn table(rows: i64) -> FeatureTable {
        let column = |name: &str| FeatureColumn {
            name: name.to_owned(),
            unit: String::new(),
            formula: "sample".to_owned(),
        };
        let contract = FeatureContract {
            format: FeatureContract::FORMAT,
            step: Span::from_seconds(60),
            lookback: Span::ZERO,
            fill: "none".to_owned(),
            columns: vec![column("cpu"), column("memory")],
        };
        let values = |scale: f64| (0..rows).map(|row| scale * row as f64).collect();
        let table = Table {
            times: (0..rows).map(|row| Timestamp::from_ms(row / 2 * 60_000)).collect(),
            entity: (0..rows).map(|row| u32::from(row % 2 == 1)).collect(),
            entities: vec!["a".to_owned(), "b".to_owned()],
            columns: ["cpu", "memory"]
                .map(|name| Column { name: name.to_owned(), values: values(name.len() as f64) })
                .to_vec(),
        };
        let warm_up = (0..rows).map(|row| row < 7).collect();
        FeatureTable { contract, table, warm_up, labels: None }
    }

    #[test]
    fn rows_that_are_left_in_the_file_are_those_in_memory() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("features.parquet");
        // More than a row group.
        table(70_000).write(&path).unwrap();
        let in_memory = Rows::read(&path).unwrap();
        let keys = FeatureTable::read_keys(&path).unwrap();
        let in_file = Rows::new(keys, Some(path));
        assert_eq!((in_file.warm_up, in_file.table.rows()), (7, 69_993));
        assert_eq!(in_file.table.table.times, in_memory.table.table.times);
        assert_eq!(in_file.values("memory").unwrap(), in_memory.values("memory").unwrap());
        let every_third: Vec<usize> = (0..69_993).step_by(3).collect();
        let values = |of: &Rows| of.values_of("memory", &every_third).unwrap();
        assert_eq!(values(&in_file), values(&in_memory));
        let backwards: Vec<usize> = every_third.iter().rev().copied().collect();
        for rows in [every_third, backwards] {
            let written = |of: &Rows, name: &str| {
                let path = temp.path().join(name);
                of.write(&rows, &path).unwrap();
                FeatureTable::read(&path).unwrap()
            };
            let (file, memory) = (written(&in_file, "file"), written(&in_memory, "memory"));
            assert_eq!(file.table.times, memory.table.times);
            assert_eq!(file.table.columns[1].values, memory.table.columns[1].values);
            assert_eq!(file.table.entity_of(1), memory.table.entity_of(1));
        }
    }
}
