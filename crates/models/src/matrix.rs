//! From a table stored by column to a matrix stored by row.

use frames::FeatureTable;
use ndarray::Array2;

/// Rows that are turned at a time: so many rows of a wide table stay in the cache.
const BLOCK_ROWS: usize = 64;

/// Returns the features as a matrix of shape (rows, features), row by row; a gap stays `NaN`.
pub fn matrix(table: &FeatureTable) -> Array2<f64> {
    let (rows, columns) = (table.rows(), table.table.columns.len());
    let mut values = vec![0.0; rows * columns];
    if columns > 0 {
        for (block, target) in values.chunks_mut(BLOCK_ROWS * columns).enumerate() {
            let first = block * BLOCK_ROWS;
            for (index, column) in table.table.columns.iter().enumerate() {
                let source = &column.values[first..];
                let slots = target.iter_mut().skip(index).step_by(columns);
                slots.zip(source).for_each(|(slot, value)| *slot = *value);
            }
        }
    }
    Array2::from_shape_vec((rows, columns), values).expect("the vector has rows * columns items")
}
