//! Labelled rows of the train part, including anomalous ones, as input of class models.

use std::collections::{BTreeMap, BTreeSet};

use linfa::dataset::DatasetBase;
use ndarray::{Array1, Array2, Axis};

use crate::class_trees::Classes;

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
