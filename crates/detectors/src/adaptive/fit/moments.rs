//! Means and covariances of window features, from sums over rows.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::adaptive::Distance;
use crate::fit::FitError;
use crate::mahalanobis::fit::inverse_cholesky;

/// Sums of features and of their products over rows.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    rows: f64,
    sums: Array1<f64>,
    products: Array2<f64>,
}

impl Moments {
    pub(super) fn new(features: usize) -> Self {
        let products = Array2::zeros((features, features));
        Self { rows: 0.0, sums: Array1::zeros(features), products }
    }

    pub(super) fn rows(&self) -> f64 {
        self.rows
    }

    pub(super) fn features(&self) -> usize {
        self.sums.len()
    }

    /// Adds a block of rows and empties it.
    pub(super) fn take(&mut self, block: &mut Vec<f64>) {
        let features = self.sums.len();
        if let Ok(rows) = ArrayView2::from_shape((block.len() / features, features), block) {
            self.rows += rows.nrows() as f64;
            self.sums += &rows.sum_axis(Axis(0));
            ndarray::linalg::general_mat_mul(1.0, &rows.t(), &rows, 1.0, &mut self.products);
        }
        block.clear();
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sums += &other.sums;
        self.products += &other.products;
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        Self {
            rows: self.rows - other.rows,
            sums: &self.sums - &other.sums,
            products: &self.products - &other.products,
        }
    }

    /// Makes the distance; the ridge of a feature is also its smallest standard deviation.
    pub(super) fn distance(self, ridge: &[f64]) -> Result<Distance, FitError> {
        let Self { rows, sums, mut products } = self;
        let mean = sums / rows;
        // Departures are within a few deviations of 0, so this subtraction loses no precision.
        for ((row, column), product) in products.indexed_iter_mut() {
            *product -= rows * mean[row] * mean[column];
        }
        let variances = products.diag().mapv(|squares| (squares / rows).max(0.0));
        let deviation = variances.iter().zip(ridge);
        let deviation = deviation.map(|(variance, ridge)| variance.sqrt().max(*ridge)).collect();
        products /= rows - 1.0;
        let diagonal = products.diag_mut().into_iter().zip(ridge);
        diagonal.for_each(|(variance, ridge)| *variance += ridge);
        let whitening = inverse_cholesky(&products).ok_or(FitError::Singular)?;
        let rows = whitening.rows().into_iter().enumerate();
        let triangle = rows.flat_map(|(index, row)| row.to_vec().into_iter().take(index + 1));
        Distance::new(mean.to_vec(), deviation, triangle.collect()).map_err(FitError::Model)
    }
}
