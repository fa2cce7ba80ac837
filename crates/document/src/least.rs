//! How much data a training of a document needs.

use contract::{Span, least};

use crate::Document;
use crate::expectations::Expectation;
use crate::features::lookback;

/// Returns the shortest range that all steps of a training accept, with so many entities: what the
/// features look back on, rows to fit on and rows to calibrate on as the split cuts them, and what
/// the expectations ask for. A part of the rows may be incomplete.
pub fn range(document: &Document, entities: usize) -> Span {
    let (step, split) = (document.step, &document.split);
    let entities = entities.max(1);
    let windows = |rows: usize, share: f64| {
        let rows = rows as f64 * (1.0 + least::SPARE_RATIO);
        (rows / entities as f64 / share.max(f64::EPSILON)).ceil()
    };
    // `task: classify` splits by entity: every row is one to fit on.
    let (gaps, fit, calibrate) = match document.classification() {
        Some(_) => (0.0, windows(least::TRAIN_ROWS, 1.0), 0.0),
        None => (
            2.0 * split.gap.in_steps(step) as f64,
            windows(least::TRAIN_ROWS, 1.0 - split.validation - split.test),
            windows(least::CALIBRATION_ROWS, split.validation),
        ),
    };
    let expected = document.expectations.iter().filter_map(|expectation| match expectation {
        Expectation::RowCount(check) => usize::try_from(check.min).ok(),
        _ => None,
    });
    let expected = expected.map(|rows| windows(rows, 1.0 + least::SPARE_RATIO));
    let most = expected.fold((fit + gaps).max(calibrate + gaps), f64::max);
    #[expect(clippy::cast_possible_truncation, reason = "a conversion that saturates")]
    let steps = (most as i64).saturating_add(1);
    lookback(document) + Span::from_ms(steps.saturating_mul(step.ms()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(rest: &str) -> Document {
        let text = format!(
            "{{format: 1, name: w, step: 1m, range: 1d, sources: {{t: {{table: {{path: t, time: t}}}}}}, \
             features: [raw], models: {{z_score: {{}}}}, \
             vote: {{combine: votes, limit: {{quantile: {{share: 0.9}}}}}}, {rest}}}"
        );
        crate::parse("test", &text).unwrap()
    }

    #[test]
    fn the_least_range_follows_from_the_split_the_lookback_and_the_expectations() {
        for (rest, entities, minutes) in [
            // 22 rows with their spare are a fifth of 110.
            ("split: {validation: 0.2, test: 0.1}", 1, 111),
            ("split: {validation: 0.2, test: 0.1, gap: 5m}", 1, 121),
            ("split: {validation: 0.2, test: 0.1}", 10, 12),
            ("split: {validation: 0.5, test: 0.3}", 1, 221),
            ("expectations: [{row_count: {min: 500}}]", 1, 501),
            ("fill: {forward: {limit: 3}}, split: {validation: 0.2, test: 0.1}", 1, 114),
        ] {
            assert_eq!(
                range(&document(rest), entities),
                Span::from_seconds(60 * minutes),
                "{rest}"
            );
        }
    }
}
