//! Converts a table stored by column to a matrix stored by row.

use frames::FeatureTable;
use ndarray::Array2;

/// Rows that are converted at a time: this number of rows of a wide table fits into the cache.
const BLOCK_ROWS: usize = 64;

/// Returns the features as a matrix of shape (rows, features), row by row; a gap stays `NaN`.
pub fn matrix(table: &FeatureTable) -> Array2<f64> {
    let (rows, columns) = (table.rows(), table.table.columns.len());
    let mut matrix = Array2::zeros((rows, columns));
    // A fresh matrix lies row by row; one without columns has no slice to fill.
    if let Some(values) = matrix.as_slice_mut().filter(|_| columns > 0) {
        for (block, target) in values.chunks_mut(BLOCK_ROWS * columns).enumerate() {
            let first = block * BLOCK_ROWS;
            for (index, column) in table.table.columns.iter().enumerate() {
                let slots = target.iter_mut().skip(index).step_by(columns);
                slots.zip(&column.values[first..]).for_each(|(slot, value)| *slot = *value);
            }
        }
    }
    matrix
}
