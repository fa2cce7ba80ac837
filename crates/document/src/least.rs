//! How much data a training of a document needs.

use contract::{Span, least};

use crate::Document;
use crate::expectations::Expectation;
use crate::features::lookback;

/// The least data for a training: the lookback of the features, the rows for fitting and
/// calibration after the split, and the rows that the expectations require.
#[derive(Debug, Clone, PartialEq)]
pub struct Least {
    step: Span,
    lookback: Span,
    /// Steps that the split leaves out.
    gap_steps: f64,
    /// Share of the rows that models are fitted on, and that scores are calibrated on.
    fit_share: f64,
    calibration_share: Option<f64>,
    /// Rows that the expectations require.
    expected_rows: Option<usize>,
}

impl Document {
    /// Returns how much data a training needs.
    pub fn least(&self) -> Least {
        let (step, split) = (self.step, &self.split);
        let expected = self.expectations.iter().filter_map(|expectation| match expectation {
            Expectation::RowCount(check) => usize::try_from(check.min).ok(),
            Expectation::TimeMonotonic(_)
            | Expectation::TimeUnique(_)
            | Expectation::NullShare(_)
            | Expectation::Range(_)
            | Expectation::AllowedValues(_)
            | Expectation::Constant(_)
            | Expectation::Freshness(_)
            | Expectation::GapLength(_) => None,
        });
        // `task: classify` splits by entity, so every row counts for fitting.
        let is_by_time = self.classification().is_none();
        Least {
            step,
            lookback: lookback(step, &self.features, &self.fill),
            gap_steps: if is_by_time { 2.0 * split.gap.in_steps(step) as f64 } else { 0.0 },
            fit_share: if is_by_time { 1.0 - split.validation - split.test } else { 1.0 },
            calibration_share: is_by_time.then_some(split.validation),
            expected_rows: expected.max(),
        }
    }
}

impl Least {
    /// Returns the shortest range that all steps of a training accept, for this number of entities.
    /// A part of the rows may be incomplete.
    pub fn range(&self, entities: usize) -> Span {
        let entities = entities.max(1);
        let windows = |rows: usize, share: f64| {
            let rows = rows as f64 * (1.0 + least::SPARE_RATIO);
            (rows / entities as f64 / share.max(f64::EPSILON)).ceil()
        };
        let fit = windows(least::TRAIN_ROWS, self.fit_share) + self.gap_steps;
        let calibrate = self.calibration_share.map_or(self.gap_steps, |share| {
            windows(least::CALIBRATION_ROWS, share) + self.gap_steps
        });
        let expected = self.expected_rows.map(|rows| windows(rows, 1.0 + least::SPARE_RATIO));
        let most = fit.max(calibrate).max(expected.unwrap_or(0.0));
        #[expect(clippy::cast_possible_truncation, reason = "a conversion that saturates")]
        let steps = (most as i64).saturating_add(1);
        self.lookback + Span::from_ms(steps.saturating_mul(self.step.ms()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(rest: &str) -> Document {
        let text = format!(
            "{{format: 1, name: w, step: 1m, range: 1d, sources: {{t: {{table: {{path: t, time: t}}}}}}, \
             features: [raw], models: {{z_score: {{}}}}, \
             vote: {{combine: votes, threshold: {{quantile: {{share: 0.9}}}}}}, {rest}}}"
        );
        crate::parse("test", &text).unwrap()
    }

    #[test]
    fn the_least_range_follows_from_the_split_the_lookback_and_the_expectations() {
        for (rest, entities, minutes) in [
            // 22 rows with their reserve are a fifth of 110.
            ("split: {validation: 0.2, test: 0.1}", 1, 111),
            ("split: {validation: 0.2, test: 0.1, gap: 5m}", 1, 121),
            ("split: {validation: 0.2, test: 0.1}", 10, 12),
            ("split: {validation: 0.5, test: 0.3}", 1, 221),
            ("expectations: [{row_count: {min: 500}}]", 1, 501),
            ("fill: {forward: {max_windows: 3}}, split: {validation: 0.2, test: 0.1}", 1, 114),
        ] {
            assert_eq!(
                document(rest).least().range(entities),
                Span::from_seconds(60 * minutes),
                "{rest}"
            );
        }
    }
}
