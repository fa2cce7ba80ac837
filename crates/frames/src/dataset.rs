//! `dataset/`: the validated rows, split in order of time.

use std::collections::BTreeSet;
use std::path::Path;

use contract::StepError;

use crate::FeatureTable;

/// The three parts of a data set; none holds warm-up rows.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// What models are fitted on.
    pub train: FeatureTable,
    /// Rows that calibrate scores and thresholds.
    pub validation: FeatureTable,
    /// Rows that are used only for metrics; there may be none.
    pub test: FeatureTable,
}

impl Dataset {
    /// Names of the parts' files.
    pub const FILES: [&str; 3] = ["train.parquet", "validation.parquet", "test.parquet"];

    /// Name of a further file: the labelled rows of the train part, anomalous ones too. It exists
    /// if a model is fitted on labels.
    pub const LABELLED_FILE: &str = "labelled.parquet";

    /// Most values for which metrics are computed: 128 MB, 670,000 rows of 25 features. For a
    /// larger data set only some entities are used.
    pub const MOST_MEASURED_VALUES: usize = 16 << 20;

    /// Reads the rows of every k-th entity (by name) of each part, so that there are at most
    /// `most_values` values, and at least one entity. Also returns k, which is 1 if all entities
    /// are read.
    pub fn read_sample(folder: &Path, most_values: usize) -> Result<(Self, usize), StepError> {
        let paths = Self::FILES.map(|file| folder.join(file));
        let mut values = 0_usize;
        for path in &paths {
            let (contract, rows) = FeatureTable::describe(path)?;
            values = values.saturating_add(rows.saturating_mul(contract.columns.len()));
        }
        let every = values.div_ceil(most_values.max(1)).max(1);
        if every == 1 {
            return Ok((Self::read(folder)?, 1));
        }
        let mut entities = BTreeSet::new();
        for path in &paths {
            entities.append(&mut FeatureTable::extent(path)?.entities);
        }
        let every = every.min(entities.len().max(1));
        let kept: BTreeSet<String> = entities.into_iter().step_by(every).collect();
        let [train, validation, test] =
            paths.map(|path| FeatureTable::read_entities(&path, |entity| kept.contains(entity)));
        Ok((Self { train: train?, validation: validation?, test: test? }, every))
    }

    /// Reads the three parts of a folder.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        let [train, validation, test] =
            Self::FILES.map(|file| FeatureTable::read(&folder.join(file)));
        Ok(Self { train: train?, validation: validation?, test: test? })
    }

    /// Writes the three parts into an existing folder.
    pub fn write(&self, folder: &Path) -> Result<(), StepError> {
        for (file, part) in Self::FILES.iter().zip([&self.train, &self.validation, &self.test]) {
            part.write(&folder.join(file))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use contract::{FeatureColumn, FeatureContract, Span, Timestamp};

    use super::*;
    use crate::Table;

    /// Rows of five entities in each of so many minutes.
    fn part(first: i64, minutes: i64) -> FeatureTable {
        let column = FeatureColumn {
            name: "load".to_owned(),
            unit: String::new(),
            formula: "sample".to_owned(),
        };
        let contract = FeatureContract {
            format: FeatureContract::FORMAT,
            step: Span::from_seconds(60),
            lookback: Span::ZERO,
            fill: "none".to_owned(),
            columns: vec![column],
        };
        let mut table = Table::empty(["load"]);
        for minute in first..first + minutes {
            for node in ["e", "b", "a", "d", "c"] {
                table.times.push(Timestamp::from_ms(60_000 * minute));
                let entity = table.entity_index(node);
                table.entity.push(entity);
                table.columns[0].values.push(minute as f64);
            }
        }
        let warm_up = vec![false; table.times.len()];
        FeatureTable { contract, table, warm_up, labels: None }
    }

    #[test]
    fn sample_of_a_large_data_set_has_all_rows_of_every_kth_entity() {
        let temp = tempfile::tempdir().unwrap();
        let dataset =
            Dataset { train: part(0, 6000), validation: part(6000, 30), test: part(6030, 20) };
        dataset.write(temp.path()).unwrap();
        // 30,250 rows of one value each.
        let (all, every) = Dataset::read_sample(temp.path(), 30_250).unwrap();
        assert_eq!((all.train.rows(), every), (30_000, 1));
        let (sample, every) = Dataset::read_sample(temp.path(), 20_000).unwrap();
        assert_eq!(every, 2);
        for (part, minutes) in [(&sample.train, 6000), (&sample.validation, 30), (&sample.test, 20)]
        {
            let names: BTreeSet<&str> = (0..part.rows()).map(|r| part.table.entity_of(r)).collect();
            assert_eq!(part.rows(), 3 * minutes);
            assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "c", "e"]);
            let values = &part.table.columns[0].values;
            assert_eq!(values.iter().filter(|value| (**value - values[0]).abs() < 0.5).count(), 3);
        }
        let (one, every) = Dataset::read_sample(temp.path(), 1).unwrap();
        assert_eq!((one.train.rows(), every), (6000, 5), "one entity at least");
        let extent = FeatureTable::extent(&temp.path().join(Dataset::FILES[1])).unwrap();
        let last = Timestamp::from_ms(60_000 * 6029);
        assert_eq!((extent.rows, extent.last, extent.entities.len()), (150, Some(last), 5));
    }
}
