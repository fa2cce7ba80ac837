//! Counts of the collected samples, for the outcome.

use std::collections::BTreeSet;

use contract::Outcome;
use frames::samples::SampleRows;

/// Counts for the outcome.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: usize,
    points: usize,
    nan_values: usize,
    infinite_values: usize,
    gaps: usize,
    entities: BTreeSet<String>,
}

impl Tally {
    /// Counts rows.
    pub(crate) fn add(&mut self, rows: &SampleRows) {
        self.rows += rows.times.len();
        for value in rows.columns.iter().flatten() {
            match value {
                None => self.gaps += 1,
                Some(value) => {
                    self.points += 1;
                    self.nan_values += usize::from(value.is_nan());
                    self.infinite_values += usize::from(value.is_infinite());
                }
            }
        }
        for entity in &rows.entities {
            if !self.entities.contains(entity) {
                self.entities.insert(entity.clone());
            }
        }
    }

    /// Returns the number of entities.
    pub(crate) fn entities(&self) -> usize {
        self.entities.len()
    }

    /// Adds its counts to those of other files, whose columns are the same.
    pub(crate) fn report(&self, columns: usize, outcome: &mut Outcome) {
        add(outcome, "rows", self.rows);
        outcome.count("columns", columns);
        add(outcome, "points", self.points);
        add(outcome, "nan_values", self.nan_values);
        add(outcome, "infinite_values", self.infinite_values);
        add(outcome, "gaps", self.gaps);
        add(outcome, "entities", self.entities.len());
    }
}

/// Adds to a count.
pub(crate) fn add(outcome: &mut Outcome, name: &str, value: usize) {
    let before = outcome.counts.get(name).and_then(|it| usize::try_from(*it).ok()).unwrap_or(0);
    outcome.count(name, before + value);
}
