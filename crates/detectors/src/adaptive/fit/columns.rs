//! Number of rows of each entity, and centre and scale of each column.

use std::collections::BTreeMap;

use crate::adaptive::Usual;
use crate::fit::FitError;
use crate::fit::parts::{Part, Rows};

/// Values beyond this are ignored: their squares would be infinite.
const LARGEST: f64 = 1e150;

/// Result of the first pass over the rows.
#[derive(Debug, Default)]
pub(super) struct Overview {
    pub(super) entities: BTreeMap<String, Entity>,
    pub(super) columns: Vec<Column>,
    pub(super) rows: usize,
}

/// Result of the first pass for an entity.
#[derive(Debug, Default)]
pub(super) struct Entity {
    /// Number of its rows.
    pub(super) rows: usize,
    columns: Vec<Column>,
}

impl Entity {
    /// Returns the usual values of each column in its normal rows.
    pub(super) fn usual(&self) -> Vec<Usual> {
        self.columns.iter().map(Column::usual).collect()
    }
}

/// How the values of a column are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Scale {
    /// Mean of the values.
    pub(super) centre: f64,
    /// Their standard deviation, which is at least a share of their range, or of the mean if the
    /// range is 0; 0 if there is no value.
    pub(super) deviation: f64,
    /// Whether the standard deviation was below that share: the column changed in a few rows at
    /// most.
    pub(super) is_constant: bool,
}

/// Moments and range of a column's values in normal rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    count: f64,
    mean: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
    low: f64,
    high: f64,
    /// Whether there is a value in any row, normal or not.
    has_values: bool,
}

impl Overview {
    pub(super) fn of(rows: &impl Rows) -> Result<Self, FitError> {
        let mut overview = Self::default();
        rows.for_each_part(&mut |part| {
            overview.add(part);
            Ok(())
        })?;
        Ok(overview)
    }

    fn add(&mut self, part: &Part<'_>) {
        self.rows += part.times.len();
        let mut rows_of = vec![Vec::new(); part.names.len()];
        part.entities.iter().enumerate().for_each(|(row, of)| rows_of[*of as usize].push(row));
        for (name, rows) in part.names.iter().zip(rows_of).filter(|(_, rows)| !rows.is_empty()) {
            if !self.entities.contains_key(name) {
                self.entities.insert(name.clone(), Entity::default());
            }
            let Some(entity) = self.entities.get_mut(name) else { continue };
            entity.rows += rows.len();
            entity.columns.resize_with(part.values.ncols(), Column::empty);
            let normal: Vec<usize> = rows.into_iter().filter(|row| part.normal[*row]).collect();
            for (column, all) in entity.columns.iter_mut().zip(part.values.columns()) {
                let values = normal.iter().map(|row| all[*row]);
                let values: Vec<f64> = values.filter(|value| value.abs() <= LARGEST).collect();
                column.merge(&Column::of(&values));
            }
        }
        self.columns.resize_with(part.values.ncols(), Column::empty);
        for (column, values) in self.columns.iter_mut().zip(part.values.columns()) {
            column.has_values |= values.iter().any(|value| value.is_finite());
            let normal = values.iter().zip(part.normal).filter(|(_, normal)| **normal);
            let values: Vec<f64> =
                normal.map(|(value, _)| *value).filter(|value| value.abs() <= LARGEST).collect();
            column.merge(&Column::of(&values));
        }
    }

    /// Returns whether any column has a value.
    pub(super) fn has_values(&self) -> bool {
        self.columns.iter().any(|column| column.has_values)
    }

    /// Returns the number of rows of the entity with the most.
    pub(super) fn longest(&self) -> usize {
        self.entities.values().map(|entity| entity.rows).max().unwrap_or(0)
    }
}

impl Column {
    fn empty() -> Self {
        Self {
            count: 0.0,
            mean: 0.0,
            squares: 0.0,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            has_values: false,
        }
    }

    fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::empty();
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { count, mean, squares, low, high, has_values: true }
    }

    /// Adds the values of another part (Chan, Golub and `LeVeque` 1983, "Algorithms for Computing
    /// the Sample Variance", eq. 2.1).
    fn merge(&mut self, other: &Self) {
        if other.count <= 0.0 {
            return;
        }
        if self.count <= 0.0 {
            *self = Self { has_values: true, ..other.clone() };
            return;
        }
        let count = self.count + other.count;
        let difference = other.mean - self.mean;
        self.squares += other.squares + difference * difference * self.count * other.count / count;
        self.mean += difference * other.count / count;
        self.count = count;
        (self.low, self.high) = (self.low.min(other.low), self.high.max(other.high));
    }

    fn usual(&self) -> Usual {
        let deviation = (self.squares / self.count.max(1.0)).sqrt();
        Usual { rows: self.count, mean: self.mean, deviation }
    }

    /// Returns how the values are scaled.
    pub(super) fn scale(&self, min_range_share: f64) -> Scale {
        if self.count <= 0.0 {
            return Scale::default();
        }
        let (centre, range) = (self.mean, self.high - self.low);
        if range > 0.0 {
            let deviation = (self.squares / self.count).sqrt();
            let least = min_range_share * range;
            Scale { centre, deviation: deviation.max(least), is_constant: deviation < least }
        } else {
            Scale { centre, deviation: (0.01 * centre.abs()).max(1e-6), is_constant: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_parts_are_those_of_all() {
        let values: Vec<f64> = (0..1000).map(|row| f64::from(row * 37 % 101) + 1e6).collect();
        let whole = Column::of(&values);
        let mut parts = Column::empty();
        for part in values.chunks(77) {
            parts.merge(&Column::of(part));
        }
        assert!((parts.mean - whole.mean).abs() < 1e-9);
        assert!((parts.squares / whole.squares - 1.0).abs() < 1e-12);
        assert_eq!((parts.low, parts.high, parts.count), (whole.low, whole.high, whole.count));
        assert_eq!(Column::empty().scale(0.01), Scale::default());
        let constant = Scale { centre: 5.0, deviation: 0.05, is_constant: true };
        assert_eq!(Column::of(&[5.0; 9]).scale(0.01), constant);
        assert!(!Column::of(&values).scale(0.01).is_constant);
    }
}
