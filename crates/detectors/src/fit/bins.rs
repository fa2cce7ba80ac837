//! Columns as bins, from which trees are grown: values are sorted once, and a node counts the rows
//! in its bins instead of sorting its rows (Ke and others: `LightGBM`, 2017).

use ndarray::{Array2, ArrayView1};

use crate::numbers::quantile;
use crate::scaler::{is_there, sorted};

/// A column as bins: a value is in the bin of the number of edges below it.
pub(crate) struct Column {
    /// Bin of each row.
    pub(crate) bins: Vec<u16>,
    /// Thresholds between neighbouring bins, ascending.
    pub(crate) edges: Vec<f64>,
    /// Value of each row, without gaps.
    pub(crate) values: Vec<f64>,
    /// The median, which replaces gaps.
    pub(crate) fill: f64,
}

impl Column {
    /// Divides a column into at most this number of bins with about the same number of rows; a
    /// column with at most as many distinct values has a bin for each.
    fn new(column: ArrayView1<'_, f64>, most: u16) -> Self {
        let mut ordered = sorted(column.iter().copied());
        let fill = if ordered.is_empty() { 0.0 } else { quantile(&ordered, 0.5) };
        let gaps = column.len() - ordered.len();
        let middle = ordered.partition_point(|value| *value < fill);
        ordered.splice(middle..middle, std::iter::repeat_n(fill, gaps));
        let values = column.iter().map(|v| if is_there(*v) { *v } else { fill });
        let values: Vec<f64> = values.collect();
        let edges = edges(&ordered, usize::from(most));
        let bin = |value: &f64| edges.partition_point(|edge| edge < value);
        let bins = values.iter().map(|value| u16::try_from(bin(value)).unwrap_or(u16::MAX));
        Self { bins: bins.collect(), edges, values, fill }
    }

    /// Returns the number of bins.
    pub(crate) fn count(&self) -> usize {
        self.edges.len() + 1
    }
}

/// Divides every column of rows of shape (rows, columns).
pub(crate) fn columns(records: &Array2<f64>, most: u16) -> Vec<Column> {
    records.columns().into_iter().map(|column| Column::new(column, most)).collect()
}

/// Returns the number halfway between two values, below the higher one.
pub(crate) fn between(low: f64, high: f64) -> f64 {
    // Divides first, because the sum of two large values may be infinite.
    let middle = low / 2.0 + high / 2.0;
    if middle < high { middle.max(low) } else { low }
}

/// Returns thresholds that divide sorted values; none for a constant.
fn edges(ordered: &[f64], most: usize) -> Vec<f64> {
    let steps = || ordered.windows(2).filter(|pair| pair[0] < pair[1]);
    if steps().count() < most {
        return steps().map(|pair| between(pair[0], pair[1])).collect();
    }
    let mut edges: Vec<f64> = Vec::with_capacity(most);
    for bin in 1..most {
        let place = bin * ordered.len() / most;
        let (low, high) = (ordered[place - 1], ordered[place]);
        let edge = between(low, high);
        if low < high && edges.last().is_none_or(|last| *last < edge) {
            edges.push(edge);
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn few_different_values_have_a_bin_each_and_gaps_are_the_median() {
        let column = Column::new(array![3.0, 1.0, f64::NAN, 1.0, 7.0].view(), 8);
        assert_eq!([column.fill].as_slice(), [2.0]);
        assert_eq!(column.values, [3.0, 1.0, 2.0, 1.0, 7.0]);
        assert_eq!(column.bins, [2, 0, 1, 0, 3]);
        assert_eq!(column.edges, [1.5, 2.5, 5.0]);
    }

    #[test]
    fn many_values_share_bins_of_as_many_rows_each() {
        let values = ndarray::Array1::from_iter((0..1000_u32).map(|row| f64::from(row * row)));
        let column = Column::new(values.view(), 10);
        assert_eq!(column.count(), 10);
        let mut rows = [0; 10];
        column.bins.iter().for_each(|bin| rows[usize::from(*bin)] += 1);
        assert_eq!(rows, [100; 10]);
    }

    #[test]
    fn a_constant_column_and_an_empty_one_have_no_edges() {
        assert!(Column::new(array![4.0, 4.0].view(), 8).edges.is_empty());
        let empty = Column::new(array![f64::NAN, f64::INFINITY].view(), 8);
        assert!(empty.edges.is_empty() && empty.fill == 0.0);
    }
}
