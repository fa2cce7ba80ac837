//! Level and deviation of one entity in training.
//!
//! Columns are scaled by all entities' training rows together. An entity with another level would
//! alarm permanently, and one with smaller deviations never. So each entity starts from its own
//! level and deviation. If it has few rows, they are shrunk towards those of all entities: the
//! level linearly, the deviation as a logarithm.

use contract::StepError;
use contract::tensors::{Arrays, Numbers};

use super::{Following, Memory};

/// Number of rows of an entity that have the same weight as all entities together.
const ROWS_OF_ALL: f64 = 1440.0;

/// Smallest own deviation, in training scales.
const LEAST: f64 = 0.02;

/// Statistics of a column over an entity's training rows, in its own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// Rows with a value.
    pub rows: f64,
    /// Mean of the values.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
}

/// An entity's level and deviation of each column in training, in training scales; empty for an
/// unknown entity, which gets those of all entities.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Own {
    levels: Vec<f64>,
    deviations: Vec<f64>,
}

impl Own {
    /// Adds it to the arrays of an entity.
    pub(super) fn write(&self, arrays: Arrays) -> Arrays {
        arrays
            .with("own_levels", Numbers::F64(self.levels.clone()))
            .with("own_deviations", Numbers::F64(self.deviations.clone()))
    }

    /// Takes it from the arrays of an entity.
    pub(super) fn read(arrays: &mut Arrays) -> Result<Self, StepError> {
        let levels = arrays.take_f64("own_levels")?;
        Ok(Self { levels, deviations: arrays.take_f64("own_deviations")? })
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.levels.is_empty() && self.deviations.is_empty()
    }

    pub(super) fn level(&self, column: usize) -> f64 {
        self.levels.get(column).copied().unwrap_or(0.0)
    }

    pub(super) fn deviation(&self, column: usize) -> f64 {
        self.deviations.get(column).copied().unwrap_or(1.0)
    }

    /// Returns whether it is valid for this number of columns; a file may contain anything.
    pub(super) fn fits(&self, columns: usize) -> bool {
        self.is_unknown()
            || (self.levels.len() == columns
                && self.deviations.len() == columns
                && self.deviations.iter().all(|deviation| *deviation >= LEAST))
    }
}

impl Following {
    /// Returns the memory at the first row of an entity with these training statistics, by column.
    pub fn first_of(&self, usual: &[Usual]) -> Memory {
        let mut memory = self.fresh();
        memory.own = Own { levels: memory.means.clone(), deviations: memory.variances.clone() };
        for (column, usual) in usual.iter().enumerate().take(self.columns()) {
            let (scale, centre) = (self.scale[column], self.centre[column]);
            if scale <= 0.0 || usual.rows <= 0.0 {
                continue;
            }
            let weight = usual.rows / (usual.rows + ROWS_OF_ALL);
            let level = ((usual.mean - centre) / scale).clamp(-self.clip, self.clip);
            let deviation = (usual.deviation / scale).clamp(1e-6, self.clip);
            let (level, deviation) = (weight * level, deviation.powf(weight).max(LEAST));
            (memory.own.levels[column], memory.own.deviations[column]) = (level, deviation);
            (memory.means[column], memory.variances[column]) = (level, deviation * deviation);
        }
        memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following() -> Following {
        Following {
            step_ms: 60_000,
            centre: vec![10.0, 5.0],
            scale: vec![2.0, 0.0],
            constant: Vec::new(),
            mean_rate: 0.01,
            variance_rate: 0.01,
            deviation_floor: 0.5,
            cap: 3.5,
            clip: 30.0,
            windows: vec![5],
            gate_windows: vec![5],
            gate_rows: 5,
            stay_rows: 3,
        }
    }

    #[test]
    fn entity_with_many_rows_starts_from_its_own_and_one_with_few_from_all() {
        let first = |rows: f64| {
            let usual = [Usual { rows, mean: 20.0, deviation: 0.2 }; 2];
            let own = following().first_of(&usual).own;
            [0, 1].map(|column| (own.level(column), own.deviation(column)))
        };
        let near = |found: (f64, f64), level: f64, deviation: f64| {
            (found.0 - level).abs() < 1e-3 && (found.1 - deviation).abs() < 1e-3
        };
        let [known, without_scale] = first(1e9);
        assert!(near(known, 5.0, 0.1), "{known:?}");
        assert!(near(without_scale, 0.0, 1.0), "{without_scale:?}");
        assert!(near(first(ROWS_OF_ALL)[0], 2.5, 0.1_f64.sqrt()));
        assert!(near(first(0.0)[0], 0.0, 1.0));
    }
}
