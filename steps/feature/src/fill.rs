//! Fills gaps in the samples, before features are computed.

use document::features::Fill;
use rayon::prelude::*;

use crate::grid::Grid;

/// Returns the name of a fill in the contract, which is its text in the document.
pub(crate) fn name(fill: &Fill) -> String {
    match fill {
        Fill::None => "none".to_owned(),
        Fill::Forward(forward) => format!("forward: {{max_windows: {}}}", forward.max_windows),
        Fill::Zero => "zero".to_owned(),
        Fill::DropRow => "drop_row".to_owned(),
    }
}

/// Fills the gaps of every column and returns how many of the block's own rows were filled.
///
/// `drop_row` fills nothing: it removes rows from the output, see [`complete_rows`]. Zero is not a
/// text, so a gap in a column of `texts` stays a gap.
pub(crate) fn fill(grid: &mut Grid, fill: &Fill, texts: &[String]) -> usize {
    let Grid { entities, columns, .. } = grid;
    columns
        .par_iter_mut()
        .map(|column| match fill {
            Fill::None | Fill::DropRow => 0,
            Fill::Zero if texts.contains(&column.name) => 0,
            Fill::Zero => entities
                .iter()
                .map(|entity| zero(&mut column.values[entity.range()], entity.carried))
                .sum(),
            Fill::Forward(fill) => entities
                .iter()
                .map(|entity| {
                    forward(&mut column.values[entity.range()], entity.carried, fill.max_windows)
                })
                .sum(),
        })
        .sum()
}

/// Returns how many values of the block's own rows are missing, except in the columns of `texts`:
/// an entity without a label is not a gap.
pub(crate) fn gaps(grid: &Grid, texts: &[String]) -> usize {
    let count = |values: &[f64]| values.iter().filter(|value| value.is_nan()).count();
    let own = |column: &frames::Column| -> usize {
        grid.entities.iter().map(|entity| count(&column.values[entity.own()])).sum()
    };
    grid.columns.par_iter().filter(|column| !texts.contains(&column.name)).map(own).sum()
}

/// Returns for each row whether all columns except those of `texts` have a value.
pub(crate) fn complete_rows(grid: &Grid, texts: &[String]) -> Vec<bool> {
    let mut complete = vec![true; grid.rows()];
    for column in grid.columns.iter().filter(|column| !texts.contains(&column.name)) {
        for (complete, value) in complete.iter_mut().zip(&column.values) {
            *complete &= !value.is_nan();
        }
    }
    complete
}

fn zero(values: &mut [f64], carried: usize) -> usize {
    let mut filled = 0;
    for (row, value) in values.iter_mut().enumerate().filter(|(_, value)| value.is_nan()) {
        *value = 0.0;
        filled += usize::from(row >= carried);
    }
    filled
}

/// Carries each value at most `max_windows` rows forward; returns how many after the first `carried` were
/// filled.
fn forward(values: &mut [f64], carried: usize, max_windows: u32) -> usize {
    let (mut last, mut age, mut filled) = (f64::NAN, 0, 0);
    for (row, value) in values.iter_mut().enumerate() {
        if !value.is_nan() {
            (last, age) = (*value, 0);
        } else if age < max_windows && !last.is_nan() {
            (*value, age) = (last, age + 1);
            filled += usize::from(row >= carried);
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_carried_no_further_than_max_windows() {
        let gap = f64::NAN;
        let mut values = [gap, 1.0, gap, gap, gap, 2.0, gap];
        assert_eq!(forward(&mut values.clone(), 3, 2), 2, "two of them in rows of its own");
        assert_eq!(forward(&mut values, 0, 2), 3);
        assert_eq!(format!("{values:?}"), "[NaN, 1.0, 1.0, 1.0, NaN, 2.0, 2.0]");
        assert_eq!(forward(&mut [1.0, gap], 0, 0), 0);
    }
}
