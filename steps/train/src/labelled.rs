//! Labelled rows of the train part, including anomalous ones, as input of class models.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::StepError;
use frames::{Dataset, FeatureTable};
use linfa::dataset::DatasetBase;
use models::class_trees::Classes;
use models::matrix;
use ndarray::{Array1, Array2, Axis};

/// Blocks of consecutive rows of a class, which are used if runs cannot be distinguished.
const BLOCKS: usize = 5;

/// Rows with the class and the run of each.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Values of shape (rows, features).
    pub values: Array2<f64>,
    /// The classes, in the order of their names.
    pub classes: Classes,
    /// Index of each row's class.
    pub class: Vec<usize>,
    /// Name of each row's run: rows of one are alike for other reasons than their class.
    pub runs: Vec<String>,
}

impl Labelled {
    /// Reads the labelled rows of a data set; a data set without labelled rows is refused.
    pub fn read(dataset: &Path, normal: &[String]) -> Result<(FeatureTable, Self), StepError> {
        let path = dataset.join(Dataset::LABELLED_FILE);
        let missing = |why: &str| {
            StepError::refused(format!("`{}` {why}", path.display())).hint(
                "set `labels.scenarios`, or `label` of the table, and use a `range` with scenarios",
            )
        };
        if !path.exists() {
            return Err(missing("is not there: the features have no labels"));
        }
        let table = FeatureTable::read(&path)?;
        let labelled = Self::of(&table, normal).ok_or_else(|| missing("has no labels"))?;
        Ok((table, labelled))
    }

    /// Takes the rows of a table that count: those outside of guard bands. Returns `None` without
    /// labels.
    ///
    /// A run is a scenario; outside of scenarios it is an entity if there are several, otherwise
    /// one of five blocks of consecutive rows of a class.
    pub fn of(table: &FeatureTable, normal: &[String]) -> Option<Self> {
        let labels = table.labels.as_ref()?;
        let rows: Vec<usize> = (0..table.rows()).filter(|row| !labels.excluded[*row]).collect();
        let names: BTreeSet<&String> = rows.iter().map(|row| &labels.label[*row]).collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        let index = |row: &usize| names.binary_search(&labels.label[*row]).unwrap_or(0);
        let class: Vec<usize> = rows.iter().map(index).collect();
        let mut totals = vec![0; names.len()];
        class.iter().for_each(|class| totals[*class] += 1);
        let mut seen = vec![0; names.len()];
        let entities: BTreeSet<u32> = rows.iter().map(|row| table.table.entity[*row]).collect();
        let runs = rows.iter().zip(&class).map(|(row, class)| {
            seen[*class] += 1;
            match (labels.scenario[*row].as_str(), entities.len()) {
                ("", 0 | 1) => {
                    let block = (seen[*class] - 1) * BLOCKS / totals[*class];
                    format!("{} block {}", names[*class], block + 1)
                }
                ("", _) => table.table.entity_of(*row).to_owned(),
                (scenario, _) => scenario.to_owned(),
            }
        });
        let runs = runs.collect();
        let normal = names.iter().map(|name| frames::is_normal(normal, name)).collect();
        let values = matrix(table).select(Axis(0), &rows);
        Some(Self { values, classes: Classes { names, normal }, class, runs })
    }

    /// Returns the rows whose class is normal, or those whose class is not; classes without rows
    /// are removed.
    #[must_use]
    pub fn only(&self, normal: bool) -> Self {
        let kept: Vec<usize> = (0..self.class.len())
            .filter(|row| self.classes.normal[self.class[*row]] == normal)
            .collect();
        let places: Vec<usize> = (0..self.classes.names.len())
            .filter(|class| self.classes.normal[*class] == normal)
            .collect();
        let place = |row: &usize| places.binary_search(&self.class[*row]).unwrap_or(0);
        Self {
            values: self.values.select(Axis(0), &kept),
            class: kept.iter().map(place).collect(),
            runs: kept.iter().map(|row| self.runs[*row].clone()).collect(),
            classes: Classes {
                names: places.iter().map(|class| self.classes.names[*class].clone()).collect(),
                normal: vec![normal; places.len()],
            },
        }
    }

    /// Returns the rows with these numbers as a data set.
    pub fn dataset(&self, rows: &[usize]) -> DatasetBase<Array2<f64>, Array1<usize>> {
        let targets = rows.iter().map(|row| self.class[*row]).collect();
        DatasetBase::new(self.values.select(Axis(0), rows), targets)
    }

    /// Returns all rows as a data set.
    pub fn all(&self) -> DatasetBase<Array2<f64>, Array1<usize>> {
        DatasetBase::new(self.values.clone(), Array1::from(self.class.clone()))
    }

    /// Returns the fold of each row and the number of folds: one run per fold if there are at most
    /// `most` runs, otherwise `most` folds among which the runs of each class are distributed.
    pub fn folds(&self, most: usize) -> (Vec<usize>, usize) {
        let mut runs_of: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        for (class, run) in self.class.iter().zip(&self.runs) {
            runs_of.insert((*class, run), 0);
        }
        let names: BTreeSet<&str> = self.runs.iter().map(String::as_str).collect();
        let each = names.len() <= most;
        let mut number_in_class = BTreeMap::new();
        for ((class, run), fold) in &mut runs_of {
            let number = number_in_class.entry(*class).or_insert(0_usize);
            let whole = names.range(..*run).count();
            *fold = if each { whole } else { *number % most };
            *number += 1;
        }
        let fold = |(class, run): (&usize, &String)| {
            runs_of.get(&(*class, run.as_str())).copied().unwrap_or(0)
        };
        let folds = self.class.iter().zip(&self.runs).map(fold).collect();
        (folds, if each { names.len() } else { most })
    }
}
