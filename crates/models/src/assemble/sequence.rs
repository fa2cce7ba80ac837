//! Calibration of a model that scores rows in the order of time.

use std::collections::{BTreeMap, BTreeSet};

use contract::StepError;
use detectors::sequence::{DynMemory, DynSequence, Training};
use frames::FeatureTable;

use crate::matrix;

/// Returns the scores of the calibration rows, in their order. For fitted rows (the last rows of
/// each entity) these are scores from models that were fitted without them.
pub(super) fn decisions(
    model: &dyn DynSequence,
    training: &Training<DynMemory>,
    calibration: &FeatureTable,
) -> Vec<f64> {
    let table = &calibration.table;
    let values = matrix(calibration);
    let mut decisions = vec![0.0; table.rows()];
    for (entity, rows) in by_entity(calibration) {
        let scores = training.scores.get(entity).map(Vec::as_slice).unwrap_or_default();
        if let Some(first) = scores.len().checked_sub(rows.len()) {
            rows.iter().zip(&scores[first..]).for_each(|(row, score)| decisions[*row] = *score);
            continue;
        }
        let mut memory = model.fresh();
        for row in rows {
            let time = table.times[row].ms();
            decisions[row] = model.step(&mut memory, time, &values.row(row).to_vec()).decision;
        }
    }
    decisions
}

/// Returns the scores of the fitted rows, in order of time, without calibration rows that are not
/// `normal` or whose windows contain one that is not.
pub(super) fn usual(
    model: &dyn DynSequence,
    training: &Training<DynMemory>,
    calibration: &FeatureTable,
    normal: &[usize],
) -> BTreeMap<String, Vec<f64>> {
    let normal: BTreeSet<usize> = normal.iter().copied().collect();
    let mut series = training.scores.clone();
    for (entity, rows) in by_entity(calibration) {
        let Some(scores) = series.get_mut(entity) else { continue };
        let Some(first) = scores.len().checked_sub(rows.len()) else { continue };
        let normal: Vec<bool> = rows.iter().map(|row| normal.contains(row)).collect();
        let mut usual = model.usual(&normal).into_iter();
        let tail = scores.split_off(first);
        scores.extend(tail.into_iter().filter(|_| usual.next() == Some(true)));
    }
    series
}

/// Returns the rows of each entity in the order of time.
pub(super) fn by_entity(table: &FeatureTable) -> BTreeMap<&str, Vec<usize>> {
    let mut order: Vec<usize> = (0..table.rows()).collect();
    order.sort_by_key(|row| table.table.times[*row]);
    let mut by_entity: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for row in order {
        by_entity.entry(table.table.entity_of(row)).or_default().push(row);
    }
    by_entity
}

pub(super) fn without_training(kind: &str) -> StepError {
    StepError::refused(format!("the candidate `{kind}` has no record of its fitting"))
        .hint("it is truncated: train it again")
}
