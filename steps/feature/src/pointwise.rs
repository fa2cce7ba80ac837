//! Features of one row and at most one earlier row.

use contract::{Span, Timestamp};

/// Length of a day in milliseconds.
const DAY_MS: i64 = 86_400_000;
/// Days from Monday to 1970-01-01, a Thursday.
const EPOCH_WEEKDAY: i64 = 3;

/// Turns a result that is not a finite number into a gap.
pub(crate) fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// Computes each value minus the one `lag` rows earlier; a gap if either is missing.
pub(crate) fn difference(values: &[f64], lag: usize, into: &mut [f64]) {
    into.fill(f64::NAN);
    for (row, into) in into.iter_mut().enumerate().skip(lag) {
        *into = finite(values[row] - values[row - lag]);
    }
}

/// Computes the increase per second since the previous row; a gap if either is missing.
///
/// A counter that fell was reset to zero in between, so its value is the increase, as in
/// Prometheus' `rate`.
pub(crate) fn rate(values: &[f64], step: Span, into: &mut [f64]) {
    into.fill(f64::NAN);
    for (row, into) in into.iter_mut().enumerate().skip(1) {
        let (before, now) = (values[row - 1], values[row]);
        // A missing `now` is not below any value, and stays missing in the subtraction.
        let increase = if now < before { now } else { now - before };
        *into = finite(increase / step.seconds());
    }
}

/// Divides one value by another; a gap if either is missing or the divisor is zero.
pub(crate) fn ratio(numerator: &[f64], denominator: &[f64], into: &mut [f64]) {
    for ((numerator, denominator), into) in numerator.iter().zip(denominator).zip(into) {
        *into = finite(numerator / denominator);
    }
}

/// A cycle of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cycle {
    /// Begins at midnight.
    Day,
    /// Begins on Monday at midnight.
    Week,
}

impl Cycle {
    /// Returns the position in the cycle, as an angle from 0 to 2 pi.
    pub(crate) fn angle(self, time: Timestamp) -> f64 {
        let (since, length) = match self {
            Self::Day => (time.ms(), DAY_MS),
            Self::Week => (time.ms().saturating_add(EPOCH_WEEKDAY * DAY_MS), 7 * DAY_MS),
        };
        std::f64::consts::TAU * since.rem_euclid(length) as f64 / length as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: f64 = f64::NAN;

    fn shown(values: &[f64]) -> String {
        format!("{values:?}")
    }

    #[test]
    fn a_counter_that_falls_was_reset_to_zero() {
        let mut into = [0.0; 6];
        rate(&[10.0, 70.0, 30.0, GAP, 5.0, 5.0], Span::from_seconds(60), &mut into);
        assert_eq!(shown(&into), "[NaN, 1.0, 0.5, NaN, NaN, 0.0]");
    }

    #[test]
    fn a_difference_needs_both_of_its_rows() {
        let mut into = [0.0; 5];
        difference(&[1.0, 2.0, GAP, 7.0, 9.0], 2, &mut into);
        assert_eq!(shown(&into), "[NaN, NaN, NaN, 5.0, NaN]");
        difference(&[f64::MAX, f64::MIN, 1.0, 1.0, 1.0], 1, &mut into);
        assert!(into[1].is_nan(), "an overflow is a gap");
        difference(&[1.0; 5], 9, &mut into);
        assert!(into.iter().all(|value| value.is_nan()), "a lag beyond the rows");
    }

    #[test]
    fn a_division_by_zero_is_a_gap() {
        let mut into = [0.0; 4];
        ratio(&[1.0, 0.0, 3.0, GAP], &[0.0, 0.0, 2.0, 1.0], &mut into);
        assert_eq!(shown(&into), "[NaN, NaN, 1.5, NaN]");
    }

    #[test]
    fn the_week_begins_on_monday_and_the_day_at_midnight() {
        let angle = |cycle: Cycle, time: &str| cycle.angle(time.parse().unwrap());
        // 2026-11-16 is a Monday.
        assert!(angle(Cycle::Week, "2026-11-16T00:00:00Z").abs() < 1e-12);
        let half = angle(Cycle::Week, "2026-11-19T12:00:00Z");
        assert!((half - std::f64::consts::PI).abs() < 1e-12, "{half}");
        let quarter = angle(Cycle::Day, "2026-11-19T06:00:00Z");
        assert!((quarter - std::f64::consts::FRAC_PI_2).abs() < 1e-12, "{quarter}");
        assert!(angle(Cycle::Day, "1969-12-31T00:00:00Z").abs() < 1e-12, "before 1970 too");
    }
}
