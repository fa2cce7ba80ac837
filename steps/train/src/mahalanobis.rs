//! Fitting a Mahalanobis distance.

use document::models::Mahalanobis as Settings;
use linfa::ParamGuard;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use models::Scaler;
use models::mahalanobis::Mahalanobis;
use ndarray::Array2;

use crate::{FitError, rows};

/// Checked parameters of the Mahalanobis distance.
#[derive(Debug, Clone, PartialEq)]
pub struct MahalanobisValidParams {
    settings: Settings,
}

/// Parameters of the Mahalanobis distance.
#[derive(Debug, Clone, PartialEq)]
pub struct MahalanobisParams(MahalanobisValidParams);

impl MahalanobisParams {
    /// Takes the document's parameters.
    pub fn new(settings: Settings) -> Self {
        Self(MahalanobisValidParams { settings })
    }
}

impl ParamGuard for MahalanobisParams {
    type Checked = MahalanobisValidParams;
    type Error = FitError;

    fn check_ref(&self) -> Result<&Self::Checked, FitError> {
        let Settings { ridge, min_std, .. } = self.0.settings;
        if !(ridge.is_finite() && ridge >= 0.0) {
            return Err(FitError::parameter("ridge", ridge, "0 or more"));
        }
        if !(min_std.is_finite() && min_std >= 0.0) {
            return Err(FitError::parameter("min_std", min_std, "0 or more"));
        }
        Ok(&self.0)
    }

    fn check(self) -> Result<Self::Checked, FitError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

impl<T> Fit<Array2<f64>, T, FitError> for MahalanobisValidParams {
    type Object = Mahalanobis;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<Mahalanobis, FitError> {
        rows::check(&dataset.records, 2)?;
        let scaler = Scaler::fit_z_score(dataset.records.view(), self.settings.min_std);
        let scaled = scaler.transform(dataset.records.view());
        let columns = scaled.ncols();
        // Scaled columns have mean 0, so the mean product is the covariance.
        let mut covariance = scaled.t().dot(&scaled) / scaled.nrows() as f64;
        covariance.diag_mut().iter_mut().for_each(|variance| *variance += self.settings.ridge);
        let whitening = inverse_cholesky(&covariance).ok_or(FitError::Singular)?;
        let whitening = (0..columns * columns).map(|at| whitening[[at / columns, at % columns]]);
        Mahalanobis::new(scaler, whitening.collect()).map_err(FitError::Model)
    }
}

/// Returns the inverse of the lower Cholesky factor, or nothing where a pivot vanishes.
pub(crate) fn inverse_cholesky(matrix: &Array2<f64>) -> Option<Array2<f64>> {
    let size = matrix.nrows();
    let mut factor = Array2::<f64>::zeros((size, size));
    for row in 0..size {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| factor[[row, k]] * factor[[column, k]]).sum();
            let rest = matrix[[row, column]] - known;
            if row == column {
                // Against the size of the diagonal: what is left may be nothing but rounding.
                if rest <= 1e-10 * matrix[[row, row]].max(1e-300) {
                    return None;
                }
                factor[[row, row]] = rest.sqrt();
            } else {
                factor[[row, column]] = rest / factor[[column, column]];
            }
        }
    }
    let mut inverse = Array2::<f64>::zeros((size, size));
    for column in 0..size {
        inverse[[column, column]] = 1.0 / factor[[column, column]];
        for row in column + 1..size {
            let sum: f64 = (column..row).map(|k| factor[[row, k]] * inverse[[k, column]]).sum();
            inverse[[row, column]] = -sum / factor[[row, row]];
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_factor_whitens() {
        let matrix = ndarray::array![[4.0, 2.0, 0.6], [2.0, 5.0, 1.0], [0.6, 1.0, 3.0]];
        let whitening = inverse_cholesky(&matrix).unwrap();
        let unit = whitening.dot(&matrix).dot(&whitening.t());
        for ((row, column), value) in unit.indexed_iter() {
            let expected = if row == column { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-12);
        }
        assert!(inverse_cholesky(&ndarray::array![[1.0, 1.0], [1.0, 1.0]]).is_none());
    }
}
