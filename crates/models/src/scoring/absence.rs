//! Columns without a value for several rows, for bundles without a model that follows its signals.

use std::collections::BTreeMap;

use contract::StepError;
use contract::tensors::{Arrays, Numbers, Record};
use detectors::adaptive::MOST_CARRIED_ROWS;
use ndarray::ArrayView1;

use super::series::entry;
use super::{Judgement, Row, ScoreState};
use crate::Bundle;

/// Number of consecutive rows without a value, for each column of an entity.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Absence {
    /// Time of the last row, in milliseconds.
    time_ms: i64,
    /// Consecutive rows without a value, by column; a column with a value is left out.
    rows: BTreeMap<usize, u32>,
}

impl Record for Absence {
    fn to_arrays(&self) -> Arrays {
        // A column is one of some hundred.
        let columns = self.rows.keys().map(|column| u32::try_from(*column).unwrap_or(u32::MAX));
        Arrays::default()
            .with("time_ms", Numbers::I64(vec![self.time_ms]))
            .with("columns", Numbers::U32(columns.collect()))
            .with("rows", Numbers::U32(self.rows.values().copied().collect()))
    }

    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
        let columns = arrays.take_u32("columns")?.into_iter().map(|column| column as usize);
        Ok(Self {
            time_ms: arrays.take_i64("time_ms")?.first().copied().unwrap_or_default(),
            rows: columns.zip(arrays.take_u32("rows")?).collect(),
        })
    }
}

impl Absence {
    /// Adds the next row; returns the missing columns.
    fn observe(&mut self, time_ms: i64, values: ArrayView1<'_, f64>) -> Vec<usize> {
        self.time_ms = time_ms;
        self.rows.retain(|column, _| values.get(*column).is_some_and(|value| !value.is_finite()));
        for (column, _) in values.iter().enumerate().filter(|(_, value)| !value.is_finite()) {
            let rows = self.rows.entry(column).or_default();
            *rows = rows.saturating_add(1);
        }
        let missing = self.rows.iter().filter(|(_, rows)| **rows > MOST_CARRIED_ROWS);
        missing.map(|(column, _)| *column).collect()
    }

    /// Returns whether the last row came after a time in milliseconds.
    pub(super) fn is_later_than(&self, oldest_ms: i64) -> bool {
        self.time_ms > oldest_ms
    }
}

impl Bundle {
    /// Records the columns of the model that have had no value for several rows.
    pub(super) fn watch_absence(
        &self,
        of: &Row<'_>,
        judgement: &mut Judgement,
        state: &mut ScoreState,
    ) {
        // Most entities have no missing column, and need no state.
        if of.values.iter().all(|value| value.is_finite()) {
            state.absences.remove(of.entity);
            return;
        }
        let absence = entry(&mut state.absences, of.entity, Absence::default);
        let mut missing = absence.observe(of.time.ms(), of.values);
        let columns = &self.manifest.contract.columns;
        missing.retain(|column| {
            let sketch = columns.get(*column).and_then(|it| self.reference.feature(&it.name));
            sketch.is_some_and(|sketch| sketch.count > 0)
        });
        judgement.add_notices(&[], &missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_without_a_value_for_more_than_fifteen_rows_is_missing_until_it_has_one() {
        let mut absence = Absence::default();
        let gap = ndarray::array![1.0, f64::NAN];
        for row in 0..15 {
            assert!(absence.observe(row, gap.view()).is_empty(), "{row}");
        }
        assert_eq!(absence.observe(15, gap.view()), [1]);
        assert!(absence.observe(16, ndarray::array![f64::NAN, 2.0].view()).is_empty());
        assert!(absence.observe(17, gap.view()).is_empty(), "counted anew");
        assert!(absence.is_later_than(16) && !absence.is_later_than(17));
    }
}
