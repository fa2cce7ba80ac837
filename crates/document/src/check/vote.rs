//! Checks of thresholds.

use super::{Problem, require};

/// Checks the rate of false alarms: the threshold is a rank among the maxima of the history, which
/// must have enough maxima.
pub(super) fn check_false_alarms(
    threshold: &contract::rules::FalseAlarmThreshold,
    step: contract::Span,
) -> Result<(), Problem> {
    let expected = threshold.per_day * threshold.history.seconds() / 86_400.0;
    let rows = threshold.history.in_steps(step);
    let most = rows.min(contract::rules::FalseAlarmThreshold::MOST_BLOCKS) as f64 / 4.0;
    require((1.0..=most).contains(&expected), "vote.threshold", || {
        format!(
            "`per_day: {}` times `history: {}` is {expected} false alarms, which must be from 1 to {most}",
            threshold.per_day, threshold.history
        )
    })
}
