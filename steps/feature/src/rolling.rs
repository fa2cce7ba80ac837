//! Statistics over trailing windows.
//!
//! Only exact state (an order, a set of values) is carried from one window to the next: each result
//! depends only on the values of its window and on their positions in it, so that a window computed
//! alone has the same bits as one in the middle of a batch. Running sums, which add the newest
//! value and subtract the oldest one as in most libraries, do not have this property.

use std::collections::VecDeque;

use crate::pointwise::finite;

/// A trailing window: its number of rows, and the number of rows that must have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Rows of the window, the row itself among them; at least 1.
    pub(crate) rows: usize,
    /// Values without which there is no result; at least 1.
    pub(crate) min_values: usize,
}

impl Window {
    /// Makes a window in which a share of the rows, rounded up, must have a value.
    pub(crate) fn new(rows: usize, min_share: f64) -> Self {
        let rows = rows.max(1);
        // A share such as 0.1 of 30 rows means 3, however its product is rounded.
        let least = (min_share * rows as f64 - 1e-9).ceil().clamp(1.0, rows as f64);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and the number of rows"
        )]
        let min_values = (least as usize).min(rows);
        Self { rows, min_values }
    }
}

/// Mean and standard deviation (n in the divisor) of every window of a series.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    /// One value per row; during the computation its distance from the row's reference.
    pub(crate) means: Vec<f64>,
    /// One value per row; during the computation the sum of squared deviations.
    pub(crate) deviations: Vec<f64>,
    /// How many values each window has.
    counts: Vec<f64>,
}

/// Values of a series for the sums below: gaps have weight 0.
struct Series {
    /// The values, 0 for a gap.
    values: Vec<f64>,
    /// 1 for a value, 0 for a gap.
    weights: Vec<f64>,
    /// The last value at or before each row. If a range of rows that ends with a row has any value,
    /// the reference of the row is one of them. Values are computed relative to it, so that the
    /// mean of equal values is exactly that value and their deviation is exactly zero.
    references: Vec<f64>,
}

impl Series {
    fn new(values: &[f64]) -> Self {
        let weight = |value: &f64| if value.is_nan() { 0.0 } else { 1.0 };
        let mut last = 0.0;
        let carry = |value: &f64| {
            last = if value.is_nan() { last } else { *value };
            last
        };
        Self {
            weights: values.iter().map(weight).collect(),
            references: values.iter().map(carry).collect(),
            values: values.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect(),
        }
    }

    fn len(&self) -> usize {
        self.values.len()
    }
}

/// Computes mean and deviation of every window.
///
/// A window is cut into chunks of about the square root of its length, counted back from its last
/// row. Each chunk has its mean and squared deviations, in two passes; the window's mean is that of
/// the chunks, and its squared deviations are those within chunks plus those of the chunks' means
/// (Chan, Golub and `LeVeque` 1983, "Algorithms for Computing the Sample Variance", eq. 1.5,
/// two-pass over chunks). A chunk that ends with a given row is shared by all windows that contain
/// it: the work per row is about twice the square root of the window. The inner loops run over
/// rows, so that the compiler can vectorise them without changing the order of any sum.
pub(crate) fn moments(values: &[f64], window: Window) -> Moments {
    let series = Series::new(values);
    let length = window.rows.isqrt().max(1);
    let (whole, rest) = (window.rows / length, window.rows % length);
    let chunk = Chunks::new(&series, length);
    let oldest = (rest > 0).then(|| Chunks::new(&series, rest));
    let rows = series.len();
    let places =
        |last: usize| (0..last).map(|index| index * length).take_while(|shift| *shift < rows);
    let each = |apply: &mut dyn FnMut(&Chunks, usize)| {
        places(whole).for_each(|shift| apply(&chunk, shift));
        if let Some(oldest) = oldest.as_ref().filter(|_| whole * length < rows) {
            apply(oldest, whole * length);
        }
    };
    let mut all =
        Moments { means: vec![0.0; rows], deviations: vec![0.0; rows], counts: vec![0.0; rows] };
    each(&mut |chunk, shift| chunk.add_means(&series, shift, &mut all));
    for (mean, count) in all.means.iter_mut().zip(&all.counts) {
        *mean /= count.max(1.0);
    }
    each(&mut |chunk, shift| chunk.add_squares(&series, shift, &mut all));
    all.finish(&series, window);
    all
}

impl Moments {
    /// Converts offsets and sums to means and deviations; gaps if there are too few values.
    fn finish(&mut self, series: &Series, window: Window) {
        let least = window.min_values as f64;
        let results = self.means.iter_mut().zip(&mut self.deviations);
        for (((mean, deviation), count), reference) in
            results.zip(&self.counts).zip(&series.references)
        {
            let enough = *count >= least;
            *mean = if enough { finite(reference + *mean) } else { f64::NAN };
            *deviation = if enough { finite((*deviation / count).sqrt()) } else { f64::NAN };
        }
    }
}

/// Number, mean and squared deviations of the range of rows that ends with each row.
struct Chunks {
    counts: Vec<f64>,
    /// The reference of the chunk; 0 if it is empty, so that the result depends only on the chunk.
    anchors: Vec<f64>,
    /// Mean minus anchor: the differences of means would have rounding errors.
    offsets: Vec<f64>,
    squares: Vec<f64>,
}

impl Chunks {
    fn new(series: &Series, length: usize) -> Self {
        let rows = series.len();
        let Series { values, weights, references } = series;
        let (mut counts, mut offsets) = (vec![0.0; rows], vec![0.0; rows]);
        for shift in 0..length.min(rows) {
            let into = offsets[shift..].iter_mut().zip(&mut counts[shift..]);
            let into = into.zip(&references[shift..]);
            for (((sum, count), reference), (value, weight)) in into.zip(values.iter().zip(weights))
            {
                *sum += weight * (value - reference);
                *count += weight;
            }
        }
        let mut anchors = vec![0.0; rows];
        let results = anchors.iter_mut().zip(&mut offsets);
        for (((anchor, offset), count), reference) in results.zip(&counts).zip(references) {
            *anchor = if *count > 0.0 { *reference } else { 0.0 };
            *offset /= f64::max(*count, 1.0);
        }
        let mut squares = vec![0.0; rows];
        for shift in 0..length.min(rows) {
            let of_chunk = squares[shift..].iter_mut().zip(&anchors[shift..]);
            let of_chunk = of_chunk.zip(&offsets[shift..]);
            for (((square, anchor), offset), (value, weight)) in
                of_chunk.zip(values.iter().zip(weights))
            {
                let distance = weight * ((value - anchor) - offset);
                *square += distance * distance;
            }
        }
        Self { counts, anchors, offsets, squares }
    }

    /// Adds, to the window of each row, the chunk that ends `shift` rows earlier: its values'
    /// distances from the row's reference.
    fn add_means(&self, series: &Series, shift: usize, all: &mut Moments) {
        let into = all.means[shift..].iter_mut().zip(&mut all.counts[shift..]);
        let into = into.zip(&series.references[shift..]);
        let own = self.offsets.iter().zip(&self.anchors).zip(&self.counts);
        for (((sum, total), reference), ((offset, anchor), count)) in into.zip(own) {
            *sum += count * ((anchor - reference) + offset);
            *total += count;
        }
    }

    /// Adds the chunk's squared deviations, and the squared deviation of its mean from the window's
    /// mean.
    fn add_squares(&self, series: &Series, shift: usize, all: &mut Moments) {
        let into = all.deviations[shift..].iter_mut().zip(&all.means[shift..]);
        let into = into.zip(&series.references[shift..]);
        let own = self.offsets.iter().zip(&self.anchors).zip(&self.counts).zip(&self.squares);
        for (((sum, mean), reference), (((offset, anchor), count), squares)) in into.zip(own) {
            let distance = ((anchor - reference) + offset) - mean;
            // In this order: the square of a large distance is infinite, and zero times infinity is
            // `NaN`.
            *sum += squares + (count * distance) * distance;
        }
    }
}

/// Computes the smallest value of every window, with a queue of the values that may still become
/// the smallest.
pub(crate) fn minimum(values: &[f64], window: Window, into: &mut [f64]) {
    extreme(values, window, |new, old| new <= old, into);
}

/// Largest value of every window.
pub(crate) fn maximum(values: &[f64], window: Window, into: &mut [f64]) {
    extreme(values, window, |new, old| new >= old, into);
}

fn extreme(values: &[f64], window: Window, replaces: fn(f64, f64) -> bool, into: &mut [f64]) {
    let mut queue: VecDeque<(usize, f64)> = VecDeque::new();
    let mut count = 0;
    for (row, (value, into)) in values.iter().zip(into).enumerate() {
        if let Some(left) = row.checked_sub(window.rows) {
            count -= usize::from(!values[left].is_nan());
            if queue.front().is_some_and(|(oldest, _)| *oldest == left) {
                queue.pop_front();
            }
        }
        if !value.is_nan() {
            count += 1;
            while queue.back().is_some_and(|(_, old)| replaces(*value, *old)) {
                queue.pop_back();
            }
            queue.push_back((row, *value));
        }
        let found = queue.front().filter(|_| count >= window.min_values);
        *into = found.map_or(f64::NAN, |(_, value)| *value);
    }
}

/// Quantiles of every window, with linear interpolation between order statistics, the default of
/// `numpy.quantile`; one output for each of `quantiles`.
pub(crate) fn quantiles(
    values: &[f64],
    window: Window,
    quantiles: &[f64],
    into: &mut [&mut [f64]],
) {
    let mut sorted: Vec<f64> = Vec::new();
    for (row, value) in values.iter().enumerate() {
        let left = row.checked_sub(window.rows).map(|left| values[left]);
        if let Some(left) = left.filter(|left| !left.is_nan()) {
            let place = sorted.partition_point(|other| *other < left);
            sorted.remove(place);
        }
        if !value.is_nan() {
            let place = sorted.partition_point(|other| other < value);
            sorted.insert(place, *value);
        }
        for (quantile, into) in quantiles.iter().zip(&mut *into) {
            into[row] = if sorted.len() >= window.min_values {
                finite(quantile_of(&sorted, *quantile))
            } else {
                f64::NAN
            };
        }
    }
}

/// Returns the quantile of sorted values; `NaN` if there are none.
fn quantile_of(sorted: &[f64], quantile: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = quantile.clamp(0.0, 1.0) * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of values"
    )]
    let below = (place.floor() as usize).min(last);
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    let share = place - below as f64;
    // Interpolates from the nearer end, as numpy does, so that both ends are exact.
    if share < 0.5 { low + (high - low) * share } else { high - (high - low) * (1.0 - share) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: f64 = f64::NAN;

    fn window(rows: usize) -> Window {
        Window { rows, min_values: 1 }
    }

    #[test]
    fn a_share_of_rows_is_rounded_up_and_never_below_one() {
        let least = |rows, share| Window::new(rows, share).min_values;
        assert_eq!(least(30, 0.1), 3);
        assert_eq!(least(5, 0.5), 3);
        assert_eq!(least(5, 0.0), 1);
        assert_eq!(least(5, 1.0), 5);
        assert_eq!(least(1, 0.5), 1);
    }

    #[test]
    fn equal_values_have_their_value_as_mean_and_no_deviation() {
        for rows in 1..40 {
            let found = moments(&[0.1; 60], window(rows));
            assert!(found.means.iter().all(|mean| mean.to_bits() == 0.1_f64.to_bits()));
            assert!(found.deviations.iter().all(|deviation| *deviation == 0.0));
        }
    }

    #[test]
    fn small_deviations_of_large_values_are_not_lost() {
        let values: Vec<f64> = (0..100).map(|row| 1e12 + f64::from(row % 2)).collect();
        let found = moments(&values, window(10));
        let found = [found.means[50], found.deviations[50]].map(f64::to_bits);
        assert_eq!(found, [1e12 + 0.5, 0.5].map(f64::to_bits));
    }

    #[test]
    fn too_few_values_give_a_gap() {
        let half = Window::new(4, 0.5);
        let values = [GAP, 1.0, GAP, GAP, 3.0, 5.0];
        let found = moments(&values, half);
        assert_eq!(format!("{:?}", found.means), "[NaN, NaN, NaN, NaN, 2.0, 4.0]");
        let mut least = [0.0; 6];
        minimum(&values, half, &mut least);
        assert_eq!(format!("{least:?}"), "[NaN, NaN, NaN, NaN, 1.0, 3.0]");
        let mut median = [0.0; 6];
        quantiles(&values, half, &[0.5], &mut [&mut median]);
        assert_eq!(format!("{median:?}"), "[NaN, NaN, NaN, NaN, 2.0, 4.0]");
    }

    #[test]
    fn values_beyond_all_numbers_give_gaps_and_stay_in_their_windows() {
        let values = [f64::MAX, f64::MIN, 1.0, 2.0, 3.0, 4.0];
        let found = moments(&values, window(2));
        assert!(found.deviations[1].is_nan());
        assert_eq!(found.means[4..], [2.5, 3.5]);
        assert_eq!(found.deviations[4..], [0.5, 0.5]);
    }

    #[test]
    fn gaps_beside_a_very_large_value_do_not_count() {
        let found = moments(&[0.0, GAP, GAP, -1e300], window(2));
        assert_eq!(found.deviations[3].to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn a_window_longer_than_all_time_needs_no_more_memory_than_the_rows() {
        let found = moments(&[1.0, 2.0, 3.0], Window { rows: usize::MAX, min_values: 1 });
        assert_eq!(found.means, [1.0, 1.5, 2.0]);
    }
}
