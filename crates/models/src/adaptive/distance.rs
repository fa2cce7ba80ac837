//! How far a row of window features lies from those of training.

use contract::StepError;

use crate::Tensors;

/// Added to a squared distance before its logarithm is taken.
const SMALLEST: f64 = 1e-9;

/// Two squared distances of a row, averaged as logarithms: Mahalanobis' with a ridge on the
/// covariance, and the sum of squared z-scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Distance {
    /// Mean of each feature.
    mean: Vec<f64>,
    /// Standard deviation of each feature, with a floor.
    deviation: Vec<f64>,
    /// Inverse of the lower Cholesky factor of the covariance, row by row without the upper part.
    whitening: Vec<f64>,
}

impl Distance {
    /// Makes the distance; `whitening` is a lower triangle over the features, row by row.
    pub fn new(
        mean: Vec<f64>,
        deviation: Vec<f64>,
        whitening: Vec<f64>,
    ) -> Result<Self, StepError> {
        let features = mean.len();
        if deviation.len() != features || whitening.len() != triangle(features) {
            return Err(StepError::bug("the parts of a distance do not fit together"));
        }
        Ok(Self { mean, deviation, whitening })
    }

    /// Returns the number of features.
    pub fn features(&self) -> usize {
        self.mean.len()
    }

    /// Returns the mean of the logarithms of the two squared distances.
    ///
    /// # Panics
    /// If the row does not have [`Distance::features`] items.
    pub fn score(&self, row: &[f64]) -> f64 {
        let centred = self.centred(row);
        let mahalanobis: f64 = self.whitened(&centred).iter().map(|value| value * value).sum();
        0.5 * ((mahalanobis + SMALLEST).ln() + (self.squares(&centred) + SMALLEST).ln())
    }

    /// Returns each feature's part in the score, which sum to 1 at most: the mean of its shares
    /// `d (C^-1 d)` and `z^2` of the two squared distances. A part may be negative.
    ///
    /// # Panics
    /// If the row does not have [`Distance::features`] items.
    pub fn contributions(&self, row: &[f64]) -> Vec<f64> {
        let centred = self.centred(row);
        let whitened = self.whitened(&centred);
        let mut parts = vec![0.0; centred.len()];
        let mut start = 0;
        for (index, value) in whitened.iter().enumerate() {
            let weights = &self.whitening[start..=start + index];
            parts.iter_mut().zip(weights).for_each(|(part, weight)| *part += weight * value);
            start += index + 1;
        }
        let mahalanobis: f64 = whitened.iter().map(|value| value * value).sum();
        let squares = self.squares(&centred);
        for ((part, difference), deviation) in parts.iter_mut().zip(&centred).zip(&self.deviation) {
            let z = difference / deviation;
            *part = 0.5
                * (*part * difference / (mahalanobis + SMALLEST) + z * z / (squares + SMALLEST));
        }
        parts
    }

    fn centred(&self, row: &[f64]) -> Vec<f64> {
        assert_eq!(row.len(), self.features(), "a row has the features of the distance");
        row.iter().zip(&self.mean).map(|(value, mean)| value - mean).collect()
    }

    fn squares(&self, centred: &[f64]) -> f64 {
        let scaled =
            centred.iter().zip(&self.deviation).map(|(value, deviation)| value / deviation);
        scaled.map(|z| z * z).sum()
    }

    fn whitened(&self, centred: &[f64]) -> Vec<f64> {
        let mut start = 0;
        let rows = (1..=centred.len()).map(|length| {
            let weights = &self.whitening[start..start + length];
            start += length;
            dot(weights, centred)
        });
        rows.collect()
    }

    pub(crate) fn write(&self, prefix: &str, tensors: &mut Tensors) {
        let features = self.features();
        let mut insert = |name: &str, values: &[f64]| {
            tensors.insert_f64(&format!("{prefix}.{name}"), &[values.len()], values.to_vec());
        };
        insert("mean", &self.mean);
        insert("deviation", &self.deviation);
        insert("whitening", &self.whitening[..triangle(features)]);
    }

    pub(crate) fn read(
        prefix: &str,
        features: usize,
        tensors: &mut Tensors,
    ) -> Result<Self, StepError> {
        let mean = tensors.take_f64(&format!("{prefix}.mean"), &[features])?;
        let deviation = tensors.take_f64(&format!("{prefix}.deviation"), &[features])?;
        let whitening = tensors.take_f64(&format!("{prefix}.whitening"), &[triangle(features)])?;
        let refused = |name: &str| {
            Err(StepError::refused(format!("tensor `{prefix}.{name}` is out of range")))
        };
        if mean.iter().any(|mean| mean.abs() > 1e9) {
            return refused("mean");
        }
        if !deviation.iter().all(|deviation| (1e-9..1e9).contains(deviation)) {
            return refused("deviation");
        }
        // Beyond this a squared distance would not be finite.
        if whitening.iter().any(|weight| weight.abs() > 1e100) {
            return refused("whitening");
        }
        Self::new(mean, deviation, whitening)
    }
}

/// Returns the number of items of a lower triangle.
fn triangle(size: usize) -> usize {
    size * (size + 1) / 2
}

/// Returns the sum of products with the length of the first, in an order that depends on that
/// length alone; eight sums side by side, which is what a processor is quick at.
fn dot(weights: &[f64], values: &[f64]) -> f64 {
    const LANES: usize = 8;
    let values = &values[..weights.len()];
    let mut sums = [0.0; LANES];
    let (left, right) = (weights.chunks_exact(LANES), values.chunks_exact(LANES));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    for (left, right) in left.zip(right) {
        for ((sum, a), b) in sums.iter_mut().zip(left).zip(right) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}
