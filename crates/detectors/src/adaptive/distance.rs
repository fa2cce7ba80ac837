//! Distance of a row of window features from those of training.

use contract::StepError;

use crate::Tensors;

/// Added to a squared distance before its logarithm is taken.
pub(super) const SMALLEST: f64 = 1e-9;

/// Two squared distances of a row, averaged as logarithms: Mahalanobis' with a ridge on the
/// covariance, and the sum of squared z-scores.
///
/// A feature that is `NaN` is missing, and the row is scored by the others: the Mahalanobis
/// distance is that of the marginal distribution, which is the smallest distance for any value of
/// the missing features. Both squared distances are multiplied by the ratio of all features to the
/// present ones, so that the score of a usual row does not change.
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
        let Departure { centred, whitened, absent } = self.centred(row);
        let mahalanobis: f64 = whitened.iter().map(|value| value * value).sum();
        let squares = self.squares(&centred, &absent);
        let present = self.features() - absent.len();
        let ratio = self.features() as f64 / present.max(1) as f64;
        0.5 * ((ratio * mahalanobis + SMALLEST).ln() + (ratio * squares + SMALLEST).ln())
    }

    /// Returns the contribution of each feature to the score: the mean of its shares `d (C^-1 d)`
    /// and `z^2` of the two squared distances. They sum to at most 1, and may be negative.
    ///
    /// # Panics
    /// If the row does not have [`Distance::features`] items.
    pub fn contributions(&self, row: &[f64]) -> Vec<f64> {
        let Departure { centred, whitened, absent } = self.centred(row);
        let mut parts = vec![0.0; centred.len()];
        let mut start = 0;
        for (index, value) in whitened.iter().enumerate() {
            let weights = &self.whitening[start..=start + index];
            parts.iter_mut().zip(weights).for_each(|(part, weight)| *part += weight * value);
            start += index + 1;
        }
        let mahalanobis: f64 = whitened.iter().map(|value| value * value).sum();
        let squares = self.squares(&centred, &absent);
        for ((part, difference), deviation) in parts.iter_mut().zip(&centred).zip(&self.deviation) {
            let z = difference / deviation;
            *part = 0.5
                * (*part * difference / (mahalanobis + SMALLEST) + z * z / (squares + SMALLEST));
        }
        absent.iter().for_each(|feature| parts[*feature] = 0.0);
        parts
    }

    /// Returns a row's features whitened, and divided by their deviations, with what is expected in
    /// place of what is missing; and which features are missing, in order.
    ///
    /// # Panics
    /// If the row does not have [`Distance::features`] items.
    pub(super) fn places(&self, row: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<usize>) {
        let Departure { mut centred, whitened, absent } = self.centred(row);
        centred.iter_mut().zip(&self.deviation).for_each(|(value, deviation)| *value /= deviation);
        (whitened, centred, absent)
    }

    fn centred(&self, row: &[f64]) -> Departure {
        assert_eq!(row.len(), self.features(), "a row has the features of the distance");
        let mut centred: Vec<f64> =
            row.iter().zip(&self.mean).map(|(value, mean)| value - mean).collect();
        let absent: Vec<usize> = (0..row.len()).filter(|at| centred[*at].is_nan()).collect();
        absent.iter().for_each(|at| centred[*at] = 0.0);
        let mut whitened = self.whitened(&centred);
        if !absent.is_empty() {
            let expected = self.expected(&whitened, &absent);
            absent.iter().zip(expected).for_each(|(at, value)| centred[*at] = value);
            whitened = self.whitened(&centred);
        }
        Departure { centred, whitened, absent }
    }

    /// Returns the expected values of the missing features, given the others, as differences from
    /// the means: `-K_mm^-1 K_mp x_p` with the inverse covariance `K` (a Gaussian's conditional
    /// mean). `whitened` is the row with 0 for the missing ones.
    fn expected(&self, whitened: &[f64], absent: &[usize]) -> Vec<f64> {
        let from = absent.first().copied().unwrap_or(0);
        // Columns of the whitening matrix, of which only rows at or below the diagonal are not 0.
        let column = |feature: usize| -> Vec<f64> {
            let weight = |row: usize| self.whitening[triangle(row) + feature];
            let rows = from..self.features();
            rows.map(|row| if row < feature { 0.0 } else { weight(row) }).collect()
        };
        let columns: Vec<Vec<f64>> = absent.iter().map(|feature| column(*feature)).collect();
        let right: Vec<f64> =
            columns.iter().map(|column| -dot(column, &whitened[from..])).collect();
        let mut factor: Vec<Vec<f64>> = Vec::with_capacity(absent.len());
        // Cholesky's decomposition of the part of K, then the two triangles one after the other.
        for (row, left) in columns.iter().enumerate() {
            let mut of_row: Vec<f64> = Vec::with_capacity(row + 1);
            for (at, right) in columns[..=row].iter().enumerate() {
                let rest = dot(left, right) - factor.get(at).map_or(0.0, |of| dot(&of_row, of));
                of_row.push(match factor.get(at) {
                    Some(of) => rest / of[at],
                    None => (rest - dot(&of_row, &of_row)).max(f64::MIN_POSITIVE).sqrt(),
                });
            }
            factor.push(of_row);
        }
        let mut values = right;
        for row in 0..values.len() {
            values[row] = (values[row] - dot(&factor[row][..row], &values)) / factor[row][row];
        }
        for row in (0..values.len()).rev() {
            let later = (row + 1..values.len()).map(|below| factor[below][row] * values[below]);
            values[row] = (values[row] - later.sum::<f64>()) / factor[row][row];
        }
        values
    }

    fn squares(&self, centred: &[f64], absent: &[usize]) -> f64 {
        let square = |at: &usize| (centred[*at] / self.deviation[*at]).powi(2);
        let all: f64 = (0..centred.len()).map(|at| square(&at)).sum();
        // They are excluded one by one only if there are any, because a separate sum would be
        // slower.
        let missing: f64 = absent.iter().map(square).sum();
        if absent.is_empty() { all } else { (all - missing).max(0.0) }
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
            Err(StepError::damaged(format!("tensor `{prefix}.{name}` is out of range")))
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

/// A row minus the means, with expected values for missing ones.
struct Departure {
    centred: Vec<f64>,
    whitened: Vec<f64>,
    /// The missing features, in order.
    absent: Vec<usize>,
}

/// Returns the number of items of a lower triangle.
fn triangle(size: usize) -> usize {
    size * (size + 1) / 2
}

/// Returns the sum of products over the length of the first, in an order that depends only on that
/// length. Eight parallel sums are fast on a processor.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Covariance of four features; the first two and the last two depend on each other most.
    const COVARIANCE: [[f64; 4]; 4] =
        [[2.0, 1.2, 0.3, 0.1], [1.2, 1.5, 0.2, 0.3], [0.3, 0.2, 1.0, 0.7], [0.1, 0.3, 0.7, 3.0]];

    /// The distance over some of the features, by a decomposition of their own covariance.
    fn distance(features: &[usize]) -> Distance {
        let size = features.len();
        let mut factor = vec![vec![0.0; size]; size];
        let mut inverse = vec![vec![0.0; size]; size];
        for row in 0..size {
            for column in 0..=row {
                let sum: f64 = (0..column).map(|at| factor[row][at] * factor[column][at]).sum();
                let rest = COVARIANCE[features[row]][features[column]] - sum;
                factor[row][column] =
                    if row == column { rest.sqrt() } else { rest / factor[column][column] };
            }
            let solved = (0..=row).map(|column| {
                let unit = f64::from(u8::from(row == column));
                let sum: f64 = (column..row).map(|at| factor[row][at] * inverse[at][column]).sum();
                (unit - sum) / factor[row][row]
            });
            let solved: Vec<f64> = solved.collect();
            inverse[row][..=row].copy_from_slice(&solved);
        }
        let triangle = inverse.iter().enumerate().flat_map(|(row, of)| of[..=row].to_vec());
        let deviation = features.iter().map(|at| COVARIANCE[*at][*at].sqrt()).collect();
        let mean = features.iter().map(|at| [1.0, -2.0, 0.5, 4.0][*at]).collect();
        Distance::new(mean, deviation, triangle.collect()).unwrap()
    }

    #[test]
    fn missing_features_give_the_distance_of_the_others() {
        let whole = distance(&[0, 1, 2, 3]);
        let row = [3.0, 1.0, -1.5, 9.0];
        for absent in [vec![0], vec![3], vec![1, 2], vec![0, 1, 3]] {
            let present: Vec<usize> = (0..4).filter(|at| !absent.contains(at)).collect();
            let mut thinned = row;
            absent.iter().for_each(|at| thinned[*at] = f64::NAN);
            let of_present: Vec<f64> = present.iter().map(|at| row[*at]).collect();
            let raised = (4.0 / present.len() as f64).ln();
            let expected = distance(&present).score(&of_present) + raised;
            let found = whole.score(&thinned);
            assert!((found - expected).abs() < 1e-9, "{absent:?}: {found}, not {expected}");
            let parts = whole.contributions(&thinned);
            assert!(absent.iter().all(|at| parts[*at] == 0.0), "{parts:?}");
            assert!((parts.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{parts:?}");
        }
        let nothing = whole.score(&[f64::NAN; 4]);
        assert!(nothing.is_finite() && nothing < -10.0);
    }
}
