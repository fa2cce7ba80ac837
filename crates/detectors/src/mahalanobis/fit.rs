//! Fitting a Mahalanobis distance.

use contract::Outcome;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::Array2;

use super::Mahalanobis;
use super::settings::Mahalanobis as Settings;
use crate::Scaler;
use crate::fit::space::Space;
use crate::fit::{self, FitError, Fitted, Fitter, Job, Params, ValidParams, rows};

/// Parameters of the Mahalanobis distance.
pub type MahalanobisParams = Params<Settings>;

/// How the kind is fitted.
pub(crate) const FITTER: Fitter = Fitter::Rows { fit, draw };

/// Fits the model that a document sets.
fn fit(
    job: &Job<'_>,
    rows: &DatasetBase<Array2<f64>, ()>,
    _outcome: &mut Outcome,
) -> Result<Fitted, FitError> {
    let settings = job.models.mahalanobis.clone().unwrap_or_default();
    let parameters = fit::parameters(&settings);
    Ok(Fitted::rows(MahalanobisParams::from(settings).fit(rows)?, parameters))
}

/// Draws the parameters that a search tries.
fn draw(space: &mut Space<'_>) {
    let ridge = space.logarithmic(1e-3, 1.0);
    space.set("ridge", ridge);
    let min_std = space.logarithmic(1e-4, 1e-1);
    space.set("min_std", min_std);
}

impl<T> Fit<Array2<f64>, T, FitError> for ValidParams<Settings> {
    type Object = Mahalanobis;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<Mahalanobis, FitError> {
        rows::check(&dataset.records, 2)?;
        let scaler = Scaler::fit_z_score(dataset.records.view(), self.settings.min_std);
        let scaled = scaler.transform(dataset.records.view());
        let columns = scaled.ncols();
        // Scaled columns have mean 0, so the mean product is the covariance.
        let mut covariance = products(&scaled) / scaled.nrows() as f64;
        covariance.diag_mut().iter_mut().for_each(|variance| *variance += self.settings.ridge);
        let whitening = inverse_cholesky(&covariance).ok_or(FitError::Singular)?;
        let whitening = (0..columns * columns).map(|at| whitening[[at / columns, at % columns]]);
        Mahalanobis::new(scaler, whitening.collect()).map_err(FitError::Model)
    }
}

/// Returns, for each pair of columns, the sum of their products over the rows.
///
/// `ndarray`'s product uses the instructions of the current processor and rounds differently on
/// others; this function gives the same result on all processors.
fn products(rows: &Array2<f64>) -> Array2<f64> {
    let columns = rows.ncols();
    let mut sums = Array2::<f64>::zeros((columns, columns));
    for row in rows.rows() {
        let row = row.to_vec();
        for (mut sums, value) in sums.rows_mut().into_iter().zip(&row) {
            sums.iter_mut().zip(&row).for_each(|(sum, other)| *sum += value * other);
        }
    }
    sums
}

/// Returns the inverse of the lower Cholesky factor, or `None` if a pivot vanishes.
pub(crate) fn inverse_cholesky(matrix: &Array2<f64>) -> Option<Array2<f64>> {
    let size = matrix.nrows();
    let mut factor = Array2::<f64>::zeros((size, size));
    for row in 0..size {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| factor[[row, k]] * factor[[column, k]]).sum();
            let rest = matrix[[row, column]] - known;
            if row == column {
                // The limit is relative to the size of the diagonal, because a small remainder may
                // be a rounding error.
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
