//! A limit by expected false alarms: peaks over threshold, with a level that follows drift.
//!
//! The excess of a score is its distance from the usual level of the time, which is the median of
//! the medians of the last days' blocks of 30 scores, kept within bounds of the calibration
//! scores' median. An alarm begins when the excess passes [`AlarmLevels::alarm`] and goes on while
//! it is above [`AlarmLevels::stay`]. Scores of an alarm are kept out of the blocks for its first
//! 1440 rows; what lasts longer is the new usual.

use std::collections::VecDeque;

use contract::Span;
use contract::bundle::AlarmLevels;
use contract::rules::FalseAlarmLimit;
use serde::{Deserialize, Serialize};

use crate::reference::quantile;

/// Scores of a block.
const BLOCK_ROWS: usize = 30;

/// Calibration scores of an entity with which its usual level follows drift.
const FEWEST_TO_FOLLOW: usize = 1440;

/// Rows of an alarm that teach nothing.
const ROWS_KEPT_OUT: u32 = 1440;

/// How far the usual level may move below and above that of calibration.
const BOUNDS: (f64, f64) = (-0.5, 1.0);

/// First calibration scores of an entity that do not count, while its windows fill.
const MOST_WARM_UP_ROWS: usize = 60;

/// Peaks that a tail is fitted to at least.
const FEWEST_PEAKS: usize = 10;

/// Added to the largest excess where there are fewer.
const MARGIN: f64 = 0.1;

/// What a limit remembers of an entity.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmState {
    /// Time of the last score.
    pub(crate) time_ms: i64,
    /// Medians of the last blocks, oldest first; none where the usual level does not follow.
    medians: VecDeque<f64>,
    /// Scores of the block that is not full yet.
    open: Vec<f64>,
    /// Rows since the alarm began; 0 without one.
    rows: u32,
    /// Says that the alarm has been urgent.
    urgent: bool,
}

impl AlarmState {
    /// Returns the usual level of the time.
    fn usual(&self, levels: &AlarmLevels) -> f64 {
        if self.medians.is_empty() {
            return levels.usual;
        }
        let mut medians: Vec<f64> = self.medians.iter().copied().collect();
        levels.usual + (median(&mut medians) - levels.usual).clamp(BOUNDS.0, BOUNDS.1)
    }

    /// Returns the limit the next score is held against.
    pub fn limit(&self, levels: &AlarmLevels) -> f64 {
        let excess = if self.rows > 0 { levels.stay } else { levels.alarm };
        self.usual(levels) + excess
    }

    /// Takes in a score that was judged.
    pub fn observe(&mut self, levels: &AlarmLevels, time_ms: i64, score: f64, alarmed: bool) {
        self.time_ms = time_ms;
        let excess = score - self.usual(levels);
        self.rows = if alarmed { self.rows.saturating_add(1) } else { 0 };
        self.urgent = alarmed && (self.urgent || excess > levels.page);
        if self.rows == 0 || self.rows > ROWS_KEPT_OUT {
            self.learn(score);
        }
    }

    /// Says whether the alarm that stands is urgent.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    fn learn(&mut self, score: f64) {
        if self.medians.is_empty() || !score.is_finite() {
            return;
        }
        self.open.push(score);
        if self.open.len() >= BLOCK_ROWS {
            self.medians.pop_front();
            self.medians.push_back(median(&mut self.open));
            self.open.clear();
        }
    }

    /// Makes the state before the first calibration score of an entity: its first blocks stand in
    /// for a past that was not seen.
    fn before(scores: &[f64], most_blocks: usize) -> Self {
        if scores.len() < FEWEST_TO_FOLLOW {
            return Self::default();
        }
        let blocks = scores.chunks_exact(BLOCK_ROWS).take(most_blocks.max(1));
        let medians = blocks.map(|block| median(&mut block.to_vec())).collect();
        Self { medians, ..Self::default() }
    }
}

/// Finds the levels for calibration scores, and the state after them: one series for each entity,
/// in the order of time; `step` is the distance between scores.
pub fn calibrate(
    limit: &FalseAlarmLimit,
    step: Span,
    series: &[&[f64]],
) -> (AlarmLevels, Vec<AlarmState>) {
    let warm = |scores: &[f64]| MOST_WARM_UP_ROWS.min(scores.len() / 10);
    let mut usual: Vec<f64> =
        series.iter().flat_map(|scores| &scores[warm(scores)..]).copied().collect();
    let unknown = AlarmLevels { usual: median(&mut usual), alarm: 0.0, stay: 0.0, page: 0.0 };
    let most_blocks = limit.history.in_steps(step) / BLOCK_ROWS;
    let (mut excesses, mut states) = (Vec::new(), Vec::new());
    for scores in series {
        let mut state = AlarmState::before(scores, most_blocks);
        let excess = scores.iter().map(|score| {
            let excess = score - state.usual(&unknown);
            state.learn(*score);
            excess
        });
        let excess: Vec<f64> = excess.collect();
        excesses.push(excess[warm(scores)..].to_vec());
        states.push(state);
    }
    let tail = Tail::of(&excesses, step);
    let alarm = tail.limit(limit.per_day);
    let stay = quantile(&tail.sorted, limit.stay_share).min(alarm);
    let page = tail.limit(limit.page_per_day).max(alarm);
    (AlarmLevels { alarm, stay, page, ..unknown }, states)
}

/// The upper tail of calibration excesses.
struct Tail {
    sorted: Vec<f64>,
    /// Where the tail begins.
    threshold: f64,
    /// Scale and shape of the generalised Pareto distribution of the peaks; absent where there are
    /// too few.
    fitted: Option<(f64, f64)>,
    /// Peaks in a day.
    peaks_per_day: f64,
}

impl Tail {
    fn of(excesses: &[Vec<f64>], step: Span) -> Self {
        let mut sorted: Vec<f64> = excesses.iter().flatten().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let rows = sorted.len().max(1) as f64;
        let threshold = quantile(&sorted, 1.0 - (30.0 / rows).clamp(0.02, 0.1));
        let mut peaks: Vec<f64> = Vec::new();
        for series in excesses {
            let runs = series.chunk_by(|a, b| (*a > threshold) == (*b > threshold));
            let above = runs.filter(|run| run.first().is_some_and(|excess| *excess > threshold));
            peaks.extend(above.map(|run| run.iter().copied().fold(f64::MIN, f64::max) - threshold));
        }
        peaks.sort_unstable_by(f64::total_cmp);
        let peaks_per_day = peaks.len() as f64 / rows * 86_400.0 / step.seconds();
        Self { sorted, threshold, fitted: fit_pareto(&peaks), peaks_per_day }
    }

    /// Returns the excess that is expected to be passed so many times a day.
    fn limit(&self, per_day: f64) -> f64 {
        let Some((scale, shape)) = self.fitted else {
            let largest = self.sorted.last().copied().unwrap_or(0.0);
            return self.threshold.max(largest + MARGIN);
        };
        let ratio = per_day / self.peaks_per_day;
        let above = if shape.abs() > 1e-6 {
            scale * (ratio.powf(-shape) - 1.0) / shape
        } else {
            -scale * ratio.ln()
        };
        self.threshold.max(self.threshold + above)
    }
}

/// Returns scale and shape of a generalised Pareto distribution by probability-weighted moments
/// (Hosking, Wallis: Parameter and quantile estimation for the generalized Pareto distribution,
/// 1987); nothing for fewer than ten peaks, or peaks without a spread.
fn fit_pareto(sorted: &[f64]) -> Option<(f64, f64)> {
    let count = sorted.len();
    if count < FEWEST_PEAKS {
        return None;
    }
    let last = (count - 1) as f64;
    let mean = sorted.iter().sum::<f64>() / count as f64;
    let weighted = sorted.iter().enumerate().map(|(rank, peak)| peak * (last - rank as f64) / last);
    let moment = weighted.sum::<f64>() / count as f64;
    let spread = mean - 2.0 * moment;
    if spread <= 1e-9 * mean {
        return None;
    }
    let shape = (2.0 - mean / spread).clamp(-0.5, 0.5);
    Some((2.0 * mean * moment / spread, shape))
}

/// Returns the median, the mean of the middle two of an even number; 0 of nothing.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Span = Span::from_seconds(60);

    /// Scores of an exponential distribution, evenly spread and shuffled by a fixed stride.
    fn scores(count: usize) -> Vec<f64> {
        (0..count).map(|row| -(1.0 - ((row * 7919) % count) as f64 / count as f64).ln()).collect()
    }

    #[test]
    fn so_many_scores_pass_the_limit_as_were_asked_for() {
        let scores = scores(14_400);
        let (levels, _) = calibrate(&FalseAlarmLimit::default(), MINUTE, &[&scores]);
        let passed = scores.iter().filter(|score| **score - levels.usual > levels.alarm).count();
        assert!((14..=26).contains(&passed), "2 a day over 10 days: {passed}");
        assert!(levels.stay < levels.alarm && levels.alarm < levels.page, "{levels:?}");
    }

    #[test]
    fn with_few_peaks_the_limit_lies_above_the_largest_score() {
        let mut scores = vec![0.0; 100];
        scores[50] = 3.0;
        let (levels, states) = calibrate(&FalseAlarmLimit::default(), MINUTE, &[&scores]);
        assert_eq!((levels.usual, levels.alarm, levels.page), (0.0, 3.1, 3.1));
        assert_eq!(states, [AlarmState::default()], "too short to follow drift");
    }

    #[test]
    fn an_alarm_holds_down_to_its_lower_level_and_teaches_nothing_for_a_day() {
        let levels = AlarmLevels { usual: 0.0, alarm: 3.0, stay: 2.0, page: 5.0 };
        let mut state = AlarmState::before(&vec![0.0; 1440], 48);
        let mut judge = |score: f64| {
            let alarmed = score > state.limit(&levels);
            state.observe(&levels, 0, score, alarmed);
            (alarmed, state.is_urgent(), state.usual(&levels))
        };
        assert_eq!(judge(2.5), (false, false, 0.0));
        assert_eq!(judge(3.5), (true, false, 0.0));
        assert_eq!(judge(6.0), (true, true, 0.0));
        assert_eq!(judge(2.5), (true, true, 0.0), "still the same alarm");
        for _ in 0..1437 {
            assert_eq!(judge(4.0), (true, true, 0.0), "kept out");
        }
        let last = (0..1000).map(|_| judge(4.0)).last();
        assert_eq!(last, Some((true, true, 1.0)), "no further than its bound");
        assert_eq!(judge(1.0), (false, false, 1.0));
    }
}
