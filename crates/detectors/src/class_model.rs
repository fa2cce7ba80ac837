//! Common parts of all tree models that distinguish classes.

use contract::StepError;
use ndarray::ArrayView2;

use crate::Tensors;
use crate::blocks::score_blocks;
use crate::class_trees::{Calibration, Classes};
use crate::scaler::is_there;

/// Rows that a thread takes at a time.
const BLOCK_ROWS: usize = 256;

/// Classes, columns and calibration of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClassModel {
    pub(crate) classes: Classes,
    /// The median of each column, for gaps.
    pub(crate) fill: Vec<f64>,
    /// Each column's share of the gain of the splits.
    pub(crate) importance: Vec<f64>,
    pub(crate) calibration: Calibration,
}

impl ClassModel {
    /// Takes its tensors, which are not checked beyond their shapes.
    ///
    /// Errors: refused for a tensor that is missing or of another shape.
    pub(crate) fn take(tensors: &mut Tensors) -> Result<Self, StepError> {
        let columns = tensors.length("fill")?;
        let count = tensors.length("class_normal")?;
        let normal = tensors.take_u32("class_normal", &[count])?;
        let names = tensors.take_text("class_names")?;
        Ok(Self {
            classes: Classes {
                names: names.split('\n').map(str::to_owned).collect(),
                normal: normal.iter().map(|normal| *normal != 0).collect(),
            },
            fill: tensors.take_f64("fill", &[columns])?,
            importance: tensors.take_f64("importance", &[columns])?,
            calibration: Calibration::take(tensors)?,
        })
    }

    /// Adds its tensors.
    pub(crate) fn put(&self, tensors: &mut Tensors) {
        tensors.insert_f64("fill", &[self.fill.len()], self.fill.clone());
        tensors.insert_f64("importance", &[self.importance.len()], self.importance.clone());
        let Calibration { smoothing, exponent } = self.calibration;
        tensors.insert_f64("calibration", &[2], vec![smoothing, exponent]);
        let normal: Vec<u32> =
            self.classes.normal.iter().map(|normal| u32::from(*normal)).collect();
        tensors.insert_u32("class_normal", &[normal.len()], normal);
        tensors.insert_text("class_names", &self.classes.names.join("\n"));
    }

    /// Returns a row with medians in place of gaps, infinities and values beyond 1e150.
    pub(crate) fn filled(&self, row: &[f64]) -> Vec<f64> {
        let values = row.iter().zip(&self.fill);
        values.map(|(value, fill)| if is_there(*value) { *value } else { *fill }).collect()
    }

    /// Returns for each row the probability that it is of no normal class.
    ///
    /// # Panics
    /// If the rows do not have the columns of the model.
    pub(crate) fn abnormal(
        &self,
        rows: ArrayView2<'_, f64>,
        threads: usize,
        probabilities: impl Fn(&[f64]) -> Vec<f64> + Sync,
    ) -> Vec<f64> {
        let columns = self.fill.len();
        assert_eq!(rows.ncols(), columns, "a row has the columns of the model");
        score_blocks(rows, BLOCK_ROWS, threads, |rows, scores| {
            for (row, score) in rows.chunks_exact(columns).zip(scores) {
                let probabilities = probabilities(row);
                let classes = probabilities.iter().zip(&self.classes.normal);
                *score = classes.filter(|(_, normal)| !**normal).map(|(p, _)| p).sum();
            }
        })
    }
}
