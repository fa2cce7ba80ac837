//! The rows of training that are furthest from usual.

use contract::Span;

use crate::adaptive::{Distance, Extremes, MOST_EXTREMES, single, size};
use crate::numbers::quantile;

/// Rows that are closer in time than this may belong to the same occurrence of a state.
const APART_MS: i64 = 43_200_000;

/// Shortest training with extremes.
const SHORTEST_MS: i64 = 2 * APART_MS;

/// Longest distance of rows with extremes: an hour must have several rows for its furthest one to be
/// far from usual.
const LONGEST_STEP_MS: i64 = 360_000;

/// Quantile of the training scores below which no score is reduced.
const FLOOR_SHARE: f64 = 0.9;

/// Maximum number of scores from which the floor is computed; if there are more, evenly spaced ones
/// are used.
const MOST_FLOOR_SCORES: usize = 1_000_000;

/// A row that is far from usual.
#[derive(Debug, Clone)]
struct Row {
    size: f64,
    time_ms: i64,
    features: Vec<f32>,
}

/// The furthest row of an entity's hour.
#[derive(Debug, Default)]
pub(super) struct Hour {
    furthest: Option<Row>,
}

impl Hour {
    pub(super) fn see(&mut self, time_ms: i64, features: &[f64]) {
        let size = size(features);
        if self.furthest.as_ref().is_none_or(|furthest| furthest.size < size) {
            let features = features.iter().copied().map(single).collect();
            self.furthest = Some(Row { size, time_ms, features });
        }
    }

    /// Ends the hour and returns its furthest row.
    pub(super) fn end(&mut self) -> Seen {
        Seen { rows: self.furthest.take().into_iter().collect() }
    }
}

/// The furthest rows of hours; only the furthest of them are kept.
#[derive(Debug, Default)]
pub(super) struct Seen {
    rows: Vec<Row>,
}

impl Seen {
    /// Adds other rows.
    pub(super) fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
        if self.rows.len() > 2 * MOST_EXTREMES {
            self.cut();
        }
    }

    /// Keeps the furthest rows; of equal ones the first.
    fn cut(&mut self) {
        self.rows.sort_by(|a, b| b.size.total_cmp(&a.size));
        self.rows.truncate(MOST_EXTREMES);
    }
}

/// The extremes of training, with their times.
pub(super) struct Known {
    extremes: Extremes,
    times_ms: Vec<i64>,
}

impl Known {
    /// Takes the furthest rows of a training of this number of rows, a step apart; a training that is
    /// too short has no extremes, and one with few rows an hour.
    pub(super) fn new(distance: &Distance, mut seen: Seen, rows: usize, step: Span) -> Self {
        let lasted_ms = i64::try_from(rows).unwrap_or(i64::MAX).saturating_mul(step.ms());
        if lasted_ms < SHORTEST_MS || step.ms() > LONGEST_STEP_MS {
            seen = Seen::default();
        }
        seen.cut();
        let times_ms: Vec<i64> = seen.rows.iter().map(|row| row.time_ms).collect();
        let rows = seen.rows.into_iter().flat_map(|row| row.features).collect();
        Self { extremes: Extremes::new(distance, rows), times_ms }
    }

    /// Returns the reduction of a training row's score by the extremes of other times.
    pub(super) fn nearer(&self, distance: &Distance, features: &[f64], time_ms: i64) -> f64 {
        let apart =
            |index: usize| self.times_ms[index].abs_diff(time_ms) >= APART_MS.unsigned_abs();
        self.extremes.nearer(distance, features, apart)
    }

    /// Returns the extremes with their floor, from the scores of each entity; `rows` is their number.
    pub(super) fn with_floor_of<'a>(
        &self,
        series: impl Iterator<Item = &'a [f64]>,
        rows: usize,
    ) -> Extremes {
        let every = rows.div_ceil(MOST_FLOOR_SCORES).max(1);
        let mut scores: Vec<f64> =
            series.flat_map(|of| of.iter().copied().step_by(every)).collect();
        scores.sort_unstable_by(f64::total_cmp);
        self.extremes.clone().with_floor(quantile(&scores, FLOOR_SHARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reduction of the score of a row that is far from usual, and was so in training twice.
    fn nearer(rows: usize, step: Span) -> f64 {
        let distance = Distance::new(vec![0.0], vec![1.0], vec![1.0]).unwrap();
        let mut seen = Seen::default();
        for day in [0, 1] {
            let mut hour = Hour::default();
            hour.see(2 * day * APART_MS, &[8.0]);
            hour.see(2 * day * APART_MS + 1, &[1.0]);
            seen.extend(hour.end());
        }
        Known::new(&distance, seen, rows, step).nearer(&distance, &[8.0], 8 * APART_MS)
    }

    #[test]
    fn training_of_less_than_a_day_has_no_extremes() {
        assert!(nearer(1440, Span::from_seconds(60)) < -1.0);
        assert_eq!(nearer(1439, Span::from_seconds(60)).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn rows_an_hour_apart_have_no_extremes() {
        assert!(nearer(240, Span::from_seconds(360)) < -1.0);
        assert_eq!(nearer(240, Span::from_seconds(3600)).to_bits(), 0.0_f64.to_bits());
    }
}
