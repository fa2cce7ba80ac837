//! Movements of columns that were constant in training.
//!
//! A column that was constant in training has no scale: whether a change of it is large is unknown.
//! The first changes count as large. If it keeps changing hour after hour (a feature that was
//! switched on, a job that runs each half hour), that is its usual behaviour, and its departures
//! are measured in units of the hourly maxima.

use contract::StepError;
use contract::tensors::{Arrays, Numbers};

/// Share of the hours whose largest movement may exceed the level: 4 of 72.
const ABOVE: f64 = 4.0 / 72.0;

/// Initial and smallest level, in scales.
const LEAST: f64 = 0.1;

/// Factor by which an hour above the level raises it.
const RISE: f64 = 4.0;

/// Share by which any other hour lowers it.
const FALL: f64 = 2.0 * ABOVE / (1.0 - ABOVE);

/// The level that the hourly maxima of a column's moves pass in about one of 18 hours: an hour above
/// it raises it, but not beyond that hour's maximum, and the others lower it so that both balance
/// (a quantile by stochastic approximation; Robbins, Monro, 1951). It is the column's usual
/// deviation. Its steps are large, because each hour before it is reached has a high score, and
/// more of them than the rank of the threshold would set the threshold for days.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Spikes {
    /// Rows of the current hour.
    rows: u32,
    /// Level of each column, in scales.
    levels: Vec<f64>,
    /// Largest movement of each column in the current hour, in scales.
    largest: Vec<f64>,
}

impl Spikes {
    pub(super) fn new(columns: usize) -> Self {
        Self { rows: 0, levels: vec![LEAST; columns], largest: vec![0.0; columns] }
    }

    /// Adds the state to the arrays of an entity.
    pub(super) fn write(&self, arrays: Arrays) -> Arrays {
        arrays
            .with("spike_rows", Numbers::U32(vec![self.rows]))
            .with("spike_levels", Numbers::F64(self.levels.clone()))
            .with("spike_largest", Numbers::F64(self.largest.clone()))
    }

    /// Takes the state from the arrays of an entity.
    pub(super) fn read(arrays: &mut Arrays) -> Result<Self, StepError> {
        Ok(Self {
            rows: arrays.take_u32("spike_rows")?.first().copied().unwrap_or_default(),
            levels: arrays.take_f64("spike_levels")?,
            largest: arrays.take_f64("spike_largest")?,
        })
    }

    /// Returns whether the state is valid for this number of columns; a file may contain anything.
    pub(super) fn fits(&self, columns: usize) -> bool {
        [self.levels.len(), self.largest.len()] == [columns; 2]
    }

    /// Returns the least usual deviation of a column.
    pub(super) fn deviation(&self, index: usize) -> f64 {
        self.levels[index]
    }

    /// Records a movement of a column.
    pub(super) fn note(&mut self, index: usize, moved: f64) {
        self.largest[index] = self.largest[index].max(moved.abs());
    }

    /// Ends a row; `hour` is the number of rows per hour.
    pub(super) fn end_row(&mut self, hour: u32) {
        self.rows = self.rows.saturating_add(1);
        if self.rows < hour {
            return;
        }
        self.rows = 0;
        for (level, largest) in self.levels.iter_mut().zip(&mut self.largest) {
            *level = if *largest > *level {
                (RISE * *level).min(*largest)
            } else {
                (*level * (1.0 - FALL)).max(LEAST)
            };
            *largest = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The deviation after so many hours, of which one in `every` has a move of 30 scales.
    fn after(spikes: &mut Spikes, hours: usize, every: usize) -> f64 {
        for hour in 0..hours {
            (0..60).for_each(|minute| {
                let moves = hour % every == 0 && minute == 7;
                spikes.note(0, if moves { -30.0 } else { 0.0 });
                spikes.end_row(60);
            });
        }
        spikes.deviation(0)
    }

    #[test]
    fn a_column_that_moves_hour_after_hour_is_measured_by_its_moves() {
        let mut spikes = Spikes::new(1);
        assert!(after(&mut spikes, 1, 1) < 1.0, "the first moves are large");
        assert!(after(&mut spikes, 12, 2) > 15.0, "then they are its usual behaviour");
        assert!(after(&mut spikes, 72, 100) < 1.0, "three quiet days later they are large again");
        assert!(after(&mut spikes, 240, 24) < 1.0, "one a day stays large");
    }
}
