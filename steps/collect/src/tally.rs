//! What was collected, for the outcome.

use std::collections::BTreeSet;

use contract::Outcome;
use frames::samples::SampleRows;

/// What was seen, for the outcome.
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

    /// Writes the counts.
    pub(crate) fn report(&self, columns: usize, outcome: &mut Outcome) {
        outcome.count("rows", self.rows);
        outcome.count("columns", columns);
        outcome.count("points", self.points);
        outcome.count("nan_values", self.nan_values);
        outcome.count("infinite_values", self.infinite_values);
        outcome.count("gaps", self.gaps);
        outcome.count("entities", self.entities.len());
    }
}
