//! Distance from the training mean, measured by the training covariance (Mahalanobis: On the
//! Generalised Distance in Statistics, 1936).

#[cfg(feature = "fit")]
pub mod fit;
pub mod settings;

use contract::StepError;
use ndarray::{ArrayView1, ArrayView2};

use crate::blocks::score_blocks;
use crate::detector::{Detector, Reader, shares};
use crate::{Scaler, Tensors};

/// How the kind is read.
pub(crate) const READER: Reader = Reader::Rows(|tensors| Ok(Box::new(Mahalanobis::read(tensors)?)));

/// Lower limit of squared distances, so that the logarithm is finite.
const SMALLEST_SQUARE: f64 = 1e-12;

/// Logarithm of the squared Mahalanobis distance of the z-scored row.
///
/// Attribution: column j's term `z_j (P z)_j` of the squared distance `z' P z`, where P is the
/// inverse of the shrunk correlation matrix; a negative term counts as 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Mahalanobis {
    scaler: Scaler,
    /// Lower triangle by rows, (columns, columns): inverse of the Cholesky factor, so that the
    /// squared distance is the squared length of `whitening * z`.
    whitening: Vec<f64>,
}

impl Mahalanobis {
    /// Makes the detector from a z-score scaler and the inverse of the Cholesky factor of the
    /// scaled rows' covariance, of shape (columns, columns), lower triangular, by rows.
    pub fn new(scaler: Scaler, whitening: Vec<f64>) -> Result<Self, StepError> {
        if whitening.len() != scaler.columns() * scaler.columns() {
            return Err(StepError::bug("the whitening matrix is not square over the columns"));
        }
        Ok(Self { scaler, whitening })
    }

    /// Writes `whitening * z` into `whitened`.
    fn whiten(&self, scaled: &[f64], whitened: &mut [f64]) {
        for (index, (row, slot)) in
            self.whitening.chunks_exact(scaled.len()).zip(whitened).enumerate()
        {
            *slot = row[..=index].iter().zip(scaled).map(|(a, b)| a * b).sum();
        }
    }

    pub(crate) fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let scaler = Scaler::read(tensors)?;
        let columns = scaler.columns();
        let whitening = tensors.take_f64("whitening", &[columns, columns])?;
        // Beyond this a squared distance would not be finite.
        if whitening.iter().any(|weight| weight.abs() > 1e100) {
            return Err(StepError::damaged("tensor `whitening` is out of range"));
        }
        Ok(Self { scaler, whitening })
    }
}

impl Detector for Mahalanobis {
    fn kind(&self) -> &'static str {
        "mahalanobis"
    }

    fn columns(&self) -> usize {
        self.scaler.columns()
    }

    fn decision(&self, rows: ArrayView2<'_, f64>, threads: usize) -> Vec<f64> {
        let columns = self.columns();
        assert_eq!(rows.ncols(), columns, "a row has the columns of the model");
        score_blocks(rows, 256, threads, |rows, scores| {
            let (mut scaled, mut whitened) = (vec![0.0; columns], vec![0.0; columns]);
            for (row, score) in rows.chunks_exact(columns).zip(scores) {
                self.scaler.scale_rows(row, &mut scaled, |value| value);
                self.whiten(&scaled, &mut whitened);
                let square: f64 = whitened.iter().map(|value| value * value).sum();
                *score = square.clamp(SMALLEST_SQUARE, f64::MAX).ln();
            }
        })
    }

    fn attribution(&self, row: ArrayView1<'_, f64>) -> Vec<f64> {
        let columns = self.columns();
        assert_eq!(row.len(), columns, "a row has the columns of the model");
        let values = row.iter().enumerate();
        let scaled: Vec<f64> =
            values.map(|(column, value)| self.scaler.scale(column, *value)).collect();
        let mut whitened = vec![0.0; columns];
        self.whiten(&scaled, &mut whitened);
        let mut terms = vec![0.0; columns];
        for (weights, value) in self.whitening.chunks_exact(columns).zip(&whitened) {
            terms.iter_mut().zip(weights).for_each(|(term, weight)| *term += weight * value);
        }
        terms.iter_mut().zip(&scaled).for_each(|(term, z)| *term *= z);
        shares(terms)
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        self.scaler.write(&mut tensors);
        let columns = self.columns();
        tensors.insert_f64("whitening", &[columns, columns], self.whitening.clone());
        tensors
    }

    fn is_ratio_scaled(&self) -> bool {
        // The score is a logarithm already.
        false
    }
}
