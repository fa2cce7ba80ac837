//! The simplest baseline: how many standard deviations columns lie from their mean (Shewhart:
//! Economic Control of Quality of Manufactured Product, 1931).

#[cfg(feature = "fit")]
pub mod fit;
pub mod settings;

use contract::StepError;
use ndarray::{ArrayView1, ArrayView2};

use crate::blocks::score_blocks;
use crate::detector::{Detector, Reader, shares};
use crate::{Scaler, Tensors};

/// How the kind is read.
pub(crate) const READER: Reader = Reader::Rows(|tensors| Ok(Box::new(ZScore::read(tensors)?)));

/// Weight of a column within the threshold: enough to order quiet rows, too little to raise an alarm.
const WEIGHT_WITHIN_THRESHOLD: f64 = 0.01;

/// Mean over the columns of the squared z-score; a column within the threshold counts one
/// hundredth.
///
/// Attribution: each column's term of that sum.
#[derive(Debug, Clone, PartialEq)]
pub struct ZScore {
    scaler: Scaler,
    threshold: f64,
}

impl ZScore {
    /// Makes the detector; `scaler` must be a z-score scaler, `threshold` is in standard deviations.
    pub fn new(scaler: Scaler, threshold: f64) -> Self {
        Self { scaler, threshold }
    }

    /// Returns how many columns of a row lie beyond the threshold.
    pub fn columns_beyond(&self, row: ArrayView1<'_, f64>) -> usize {
        let scaled =
            row.iter().enumerate().map(|(column, value)| self.scaler.scale(column, *value));
        scaled.filter(|z| z.abs() > self.threshold).count()
    }

    fn term(&self, z: f64) -> f64 {
        if z.abs() > self.threshold { z * z } else { WEIGHT_WITHIN_THRESHOLD * z * z }
    }

    pub(crate) fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let scaler = Scaler::read(tensors)?;
        let threshold = tensors.take_number("threshold")?;
        if threshold < 0.0 {
            return Err(StepError::damaged("tensor `threshold` is negative"));
        }
        Ok(Self { scaler, threshold })
    }
}

impl Detector for ZScore {
    fn kind(&self) -> &'static str {
        "z_score"
    }

    fn columns(&self) -> usize {
        self.scaler.columns()
    }

    fn decision(&self, rows: ArrayView2<'_, f64>, threads: usize) -> Vec<f64> {
        let columns = self.columns();
        assert_eq!(rows.ncols(), columns, "a row has the columns of the model");
        score_blocks(rows, 1024, threads, |rows, scores| {
            for (row, score) in rows.chunks_exact(columns).zip(scores) {
                let values = row.iter().enumerate();
                let terms =
                    values.map(|(column, value)| self.term(self.scaler.scale(column, *value)));
                *score = terms.sum::<f64>() / columns as f64;
            }
        })
    }

    fn attribution(&self, row: ArrayView1<'_, f64>) -> Vec<f64> {
        assert_eq!(row.len(), self.columns(), "a row has the columns of the model");
        let values = row.iter().enumerate();
        shares(values.map(|(column, value)| self.term(self.scaler.scale(column, *value))).collect())
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        self.scaler.write(&mut tensors);
        tensors.insert_f64("threshold", &[1], vec![self.threshold]);
        tensors
    }

    fn is_ratio_scaled(&self) -> bool {
        true
    }
}
