//! Calibration of a model that scores rows in the order of time.

use std::collections::BTreeMap;

use contract::StepError;
use frames::FeatureTable;

use crate::adaptive::{Adaptive, Training};
use crate::matrix;

/// Returns the scores of the calibration rows, in their order: where fitting saw them, which is
/// so for the last rows of each entity, those that were made without them.
pub(super) fn decisions(
    model: &Adaptive,
    training: &Training,
    calibration: &FeatureTable,
) -> Vec<f64> {
    let table = &calibration.table;
    let mut order: Vec<usize> = (0..table.rows()).collect();
    order.sort_by_key(|row| table.times[*row]);
    let mut by_entity: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for row in order {
        by_entity.entry(table.entity_of(row)).or_default().push(row);
    }
    let values = matrix(calibration);
    let mut decisions = vec![0.0; table.rows()];
    for (entity, rows) in by_entity {
        let scores = training.scores.get(entity).map(Vec::as_slice).unwrap_or_default();
        if let Some(first) = scores.len().checked_sub(rows.len()) {
            rows.iter().zip(&scores[first..]).for_each(|(row, score)| decisions[*row] = *score);
            continue;
        }
        let mut memory = model.following().fresh();
        for row in rows {
            let time = table.times[row].ms();
            decisions[row] = model.step(&mut memory, time, &values.row(row).to_vec()).decision;
        }
    }
    decisions
}

pub(super) fn without_training(kind: &str) -> StepError {
    StepError::refused(format!("the candidate `{kind}` does not say what its fitting saw"))
        .hint("it was cut: train it again")
}
