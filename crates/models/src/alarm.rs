//! A threshold by expected false alarms, from the highest scores of the last days.
//!
//! The last days of an entity's scores are cut into blocks, by default of an hour, and the highest
//! score of each block is remembered (block maxima: Coles, An Introduction to Statistical Modeling
//! of Extreme Values, 2001, chapter 3). If alarms are expected `per_day` times a day, the threshold
//! is the k-th largest of these peaks, k being `per_day` times their days: as many blocks pass it
//! as alarms are expected. So the threshold follows the scores in both directions, for any
//! distribution: after a lasting rise it is above them after k blocks, and if they are low it
//! decreases within the history. A few blocks with anomalies move it by a few ranks, not by the
//! height of the anomalies.
//!
//! Training gives the first peaks. Where it is too short for k to be 3, the peaks are estimated from
//! a generalised Pareto tail that is fitted to all training scores (Pickands: Statistical Inference
//! Using Extreme Order Statistics, 1975). Until the history is full, k grows with it.
//!
//! An alarm lasts while the score is above a lower level (hysteresis). Its first score counts as a
//! peak, the others of its first day do not. A change that lasts longer is the new normal.

use std::collections::VecDeque;

use contract::bundle::AlarmLevels;
use contract::rules::FalseAlarmThreshold;
use contract::tensors::{Arrays, Numbers, Record};
use contract::{Span, StepError};

use crate::reference::quantile;

/// Blocks of a history. There are more only where so many false alarms are accepted that they
/// would fill more than a quarter of them.
const BLOCKS: usize = 72;

/// Smallest rank of the threshold, if the history is long enough: fewer hours with anomalies than
/// this do not raise it by their height.
const LEAST_RANK: f64 = 3.0;

/// Time during which the scores of an alarm after the first are not learned.
const KEPT_OUT: Span = Span::from_seconds(86_400);

/// First calibration scores of an entity that do not count, while its windows fill.
const MOST_WARM_UP_ROWS: usize = 60;

/// Fewest peaks for the fit of a tail.
const FEWEST_PEAKS: usize = 10;

/// Share of the peaks of calibration up to which the tail is fitted: a few per cent of anomalies
/// among the training rows change nothing.
const CENSORED_FROM: f64 = 0.9;

/// Added to the largest score where there are fewer peaks.
const MARGIN: f64 = 0.1;

/// State of a threshold for an entity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlarmState {
    /// Time of the last score.
    pub(crate) time_ms: i64,
    /// Highest scores of the last blocks, oldest first.
    peaks: VecDeque<f32>,
    /// Scores of the block that is not full yet, and the highest of them.
    open_rows: u32,
    open_peak: f64,
    /// Rows since the alarm began; 0 without one.
    rows: u32,
    /// Whether the alarm has been urgent.
    urgent: bool,
}

impl AlarmState {
    /// Returns whether the open alarm is urgent.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    fn learn(&mut self, blocks: Blocks, score: f64) {
        if !score.is_finite() {
            return;
        }
        self.open_peak = if self.open_rows == 0 { score } else { self.open_peak.max(score) };
        self.open_rows += 1;
        if self.open_rows >= blocks.rows {
            self.peaks.push_back(single(self.open_peak));
            while self.peaks.len() > blocks.count {
                self.peaks.pop_front();
            }
            self.open_rows = 0;
        }
    }
}

impl Record for AlarmState {
    fn to_arrays(&self) -> Arrays {
        Arrays::default()
            .with("time_ms", Numbers::I64(vec![self.time_ms]))
            .with("peaks", Numbers::F32(self.peaks.iter().copied().collect()))
            .with("open_rows", Numbers::U32(vec![self.open_rows]))
            .with("open_peak", Numbers::F64(vec![self.open_peak]))
            .with("alarm_rows", Numbers::U32(vec![self.rows]))
            .with("urgent", Numbers::U8(vec![u8::from(self.urgent)]))
    }

    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
        Ok(Self {
            time_ms: arrays.take_i64("time_ms")?.first().copied().unwrap_or_default(),
            peaks: arrays.take_f32("peaks")?.into(),
            open_rows: arrays.take_u32("open_rows")?.first().copied().unwrap_or_default(),
            open_peak: arrays.take_f64("open_peak")?.first().copied().unwrap_or_default(),
            rows: arrays.take_u32("alarm_rows")?.first().copied().unwrap_or_default(),
            urgent: arrays.take_flag("urgent")?,
        })
    }
}

/// Rounds a peak to single precision for the state: a threshold needs no more than seven digits.
#[expect(clippy::cast_possible_truncation, reason = "seven digits are what is kept")]
fn single(peak: f64) -> f32 {
    peak as f32
}

/// The blocks of a history.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Blocks {
    /// Scores of a block.
    rows: u32,
    /// Number of stored blocks.
    count: usize,
    /// Days that one holds.
    days: f64,
    /// Fewest blocks of a threshold: those in which [`LEAST_RANK`] alarms are expected.
    fewest: usize,
}

impl Blocks {
    fn of(threshold: &FalseAlarmThreshold, step: Span) -> Self {
        let rows = threshold.history.in_steps(step).max(1);
        let days = |rows: usize| rows as f64 * step.seconds() / 86_400.0;
        let wanted = crate::reference::whole((4.0 * threshold.per_day * days(rows)).ceil());
        let block = rows.div_ceil(wanted.clamp(BLOCKS, FalseAlarmThreshold::MOST_BLOCKS));
        let count = rows / block;
        let days = days(block);
        let fewest = crate::reference::whole((LEAST_RANK / (threshold.per_day * days)).ceil());
        let fewest = fewest.min(count);
        Self { rows: u32::try_from(block).unwrap_or(u32::MAX), count, days, fewest }
    }

    /// Makes the state before an entity's next score from its scores so far. If they are too few,
    /// expected peaks of the tail replace the oldest blocks. There are only as many of them as a
    /// threshold needs, because one hour of training gives a poor estimate of the tail, and each
    /// hour of scoring improves it.
    fn after(self, scores: &[f64], levels: &AlarmLevels) -> AlarmState {
        let rows = self.rows as usize;
        let seen = (scores.len() / rows).min(self.count);
        let missing = self.fewest.saturating_sub(seen);
        let blocks = seen + missing;
        let expected = (0..missing).map(|index| {
            // Evenly spread over the ranks of all blocks.
            let rank = (2 * index + 1) * blocks / (2 * missing.max(1)) + 1;
            levels.passed(rank as f64 / (blocks as f64 * self.days))
        });
        let blocks = scores[scores.len() - seen * rows..].chunks_exact(rows);
        let peaks = blocks.map(|block| block.iter().copied().fold(f64::MIN, f64::max));
        AlarmState { peaks: expected.chain(peaks).map(single).collect(), ..AlarmState::default() }
    }
}

/// The threshold of one series of scores.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmRule {
    per_day: f64,
    /// How far above the threshold an alarm is urgent.
    page_above: f64,
    levels: AlarmLevels,
    blocks: Blocks,
    rows_kept_out: u32,
}

impl AlarmRule {
    /// Makes the rule of scores that are a step apart.
    pub fn new(threshold: &FalseAlarmThreshold, levels: AlarmLevels, step: Span) -> Self {
        let page_above = levels.tail_scale * (threshold.per_day / threshold.page_per_day).ln();
        Self {
            per_day: threshold.per_day,
            page_above: page_above.max(0.0),
            levels,
            blocks: Blocks::of(threshold, step),
            rows_kept_out: u32::try_from(KEPT_OUT.in_steps(step)).unwrap_or(u32::MAX),
        }
    }

    /// Makes the state of an unknown entity: its peaks are those expected from all training scores.
    pub fn fresh(&self) -> AlarmState {
        self.blocks.after(&[], &self.levels)
    }

    /// Returns the threshold for the next score.
    pub fn threshold(&self, state: &AlarmState) -> f64 {
        let below = if state.rows > 0 { self.levels.stay_below } else { 0.0 };
        self.onset(state) - below
    }

    /// Returns the score above which an alarm begins: the k-th largest peak, between two of them
    /// where k is not whole.
    fn onset(&self, state: &AlarmState) -> f64 {
        let mut peaks: Vec<f64> = state.peaks.iter().copied().map(f64::from).collect();
        let Some(last) = peaks.len().checked_sub(1) else {
            return self.levels.passed(self.per_day);
        };
        let days = peaks.len() as f64 * self.blocks.days;
        let above = (self.per_day * days - 1.0).max(0.0);
        let rank = crate::reference::whole(above);
        // Only two of them are needed, for every row; sorting all would take longer.
        let (_, high, below) = peaks.select_nth_unstable_by(rank.min(last), |a, b| b.total_cmp(a));
        let high = *high;
        let low = below.iter().copied().max_by(f64::total_cmp).unwrap_or(high);
        high + (low - high) * (above - rank as f64).clamp(0.0, 1.0)
    }

    /// Adds a score and its verdict.
    pub fn observe(&self, state: &mut AlarmState, time_ms: i64, score: f64, alarmed: bool) {
        state.time_ms = time_ms;
        let urgent = score > self.onset(state) + self.page_above;
        state.rows = if alarmed { state.rows.saturating_add(1) } else { 0 };
        state.urgent = alarmed && (state.urgent || urgent);
        if state.rows <= 1 || state.rows > self.rows_kept_out {
            state.learn(self.blocks, score);
        }
    }
}

/// Finds the levels for calibration scores, and the state after them: one series for each entity,
/// in the order of time; `step` is the distance between scores.
pub fn calibrate(
    threshold: &FalseAlarmThreshold,
    step: Span,
    series: &[&[f64]],
) -> (AlarmLevels, Vec<AlarmState>) {
    let warmed = |scores: &&[f64]| scores[MOST_WARM_UP_ROWS.min(scores.len() / 10)..].to_vec();
    let series: Vec<Vec<f64>> = series.iter().map(warmed).collect();
    let mut levels = tail(&series, step);
    let sorted = sorted(&series);
    let stay = quantile(&sorted, threshold.stay_share);
    levels.stay_below = (levels.passed(threshold.per_day) - stay).max(0.0);
    let blocks = Blocks::of(threshold, step);
    let states = series.iter().map(|scores| blocks.after(scores, &levels)).collect();
    (levels, states)
}

fn sorted(series: &[Vec<f64>]) -> Vec<f64> {
    let mut sorted: Vec<f64> = series.iter().flatten().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Fits the upper tail of scores by peaks over threshold: the highest scores of the runs above a
/// high quantile are exponential (a generalised Pareto distribution of shape 0; Pickands, 1975), by
/// maximum likelihood with what is above [`CENSORED_FROM`] of them censored. With fewer than ten
/// peaks the tail is a step a little above the largest score.
fn tail(series: &[Vec<f64>], step: Span) -> AlarmLevels {
    let sorted = sorted(series);
    let rows = sorted.len().max(1) as f64;
    let start = quantile(&sorted, 1.0 - (30.0 / rows).clamp(0.02, 0.1));
    let mut peaks: Vec<f64> = Vec::new();
    for scores in series {
        let runs = scores.chunk_by(|a, b| (*a > start) == (*b > start));
        let above = runs.filter(|run| run.first().is_some_and(|score| *score > start));
        peaks.extend(above.map(|run| run.iter().copied().fold(f64::MIN, f64::max) - start));
    }
    let peaks_per_day = peaks.len() as f64 / rows * 86_400.0 / step.seconds();
    if peaks.len() < FEWEST_PEAKS {
        let largest = sorted.last().map_or(start, |largest| largest + MARGIN);
        return AlarmLevels {
            tail_start: largest,
            tail_scale: 0.0,
            peaks_per_day,
            stay_below: 0.0,
        };
    }
    peaks.sort_unstable_by(f64::total_cmp);
    let censored_at = quantile(&peaks, CENSORED_FROM);
    let seen = peaks.partition_point(|peak| *peak <= censored_at);
    let sum = peaks.iter().map(|peak| peak.min(censored_at)).sum::<f64>();
    let tail_scale = sum / seen.max(1) as f64;
    AlarmLevels { tail_start: start, tail_scale, peaks_per_day, stay_below: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Span = Span::from_seconds(60);

    /// Scores of an exponential distribution, from a linear congruential generator.
    fn scores(count: usize) -> Vec<f64> {
        let mut state = 7_u64;
        let draw = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005);
            state = state.wrapping_add(1_442_695_040_888_963_407);
            -(1.0 - (state >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)).ln()
        };
        (0..count).map(draw).collect()
    }

    fn rule(per_day: f64, scores: &[f64]) -> (AlarmRule, AlarmState) {
        let threshold = FalseAlarmThreshold { per_day, ..FalseAlarmThreshold::default() };
        let (levels, mut states) = calibrate(&threshold, MINUTE, &[scores]);
        (AlarmRule::new(&threshold, levels, MINUTE), states.remove(0))
    }

    /// Runs in which scores are above the threshold.
    fn alarms(rule: &AlarmRule, state: &mut AlarmState, scores: &[f64]) -> usize {
        let mut before = false;
        let begun = scores.iter().map(|score| {
            let alarmed = *score > rule.threshold(state);
            rule.observe(state, 0, *score, alarmed);
            let begins = alarmed && !before;
            before = alarmed;
            usize::from(begins)
        });
        begun.sum()
    }

    #[test]
    fn alarm_count_matches_expectation() {
        let scores = scores(14_400);
        for per_day in [1.0, 2.0, 6.0, 12.0] {
            for training in [&scores[..], &scores[..300]] {
                let (rule, mut state) = rule(per_day, training);
                let alarms = alarms(&rule, &mut state, &scores) as f64;
                let expected = 10.0 * per_day;
                let within = 0.5 * expected..=2.0 * expected;
                assert!(within.contains(&alarms), "{per_day} a day, 10 days: {alarms}");
            }
        }
    }

    #[test]
    fn permanent_rise_of_scores_is_one_alarm_then_the_expected_number() {
        let scores = scores(14_400);
        let (rule, mut state) = rule(2.0, &scores);
        let higher: Vec<f64> = scores.iter().map(|score| score + 10.0).collect();
        assert_eq!(alarms(&rule, &mut state, &higher[..1440]), 1);
        let later = alarms(&rule, &mut state, &higher[1440..]);
        assert!((9..=36).contains(&later), "{later} in the nine days after");
    }

    #[test]
    fn quiet_scores_lower_the_threshold_within_the_history() {
        let scores = scores(14_400);
        let (rule, mut state) = rule(2.0, &scores);
        let before = rule.threshold(&state);
        let quiet: Vec<f64> = scores[..4320].iter().map(|score| 0.5 * score).collect();
        alarms(&rule, &mut state, &quiet);
        assert!(rule.threshold(&state) < 0.7 * before);
    }

    // More hours with anomalies than the rank of the threshold would raise it.
    #[test]
    fn a_few_anomalies_among_the_training_scores_do_not_raise_the_threshold_by_their_height() {
        let clean = scores(4320);
        let mut odd = clean.clone();
        for row in [610, 2110, 3610] {
            odd[row..row + 30].fill(40.0);
        }
        let [clean, odd] = [&clean, &odd].map(|scores| {
            let (rule, state) = rule(2.0, scores);
            rule.threshold(&state)
        });
        assert!(odd < clean + 1.5, "{odd} {clean}");
    }

    #[test]
    fn with_few_peaks_the_threshold_lies_above_the_largest_score() {
        let mut scores = vec![0.0; 100];
        scores[50] = 3.0;
        let (rule, state) = rule(2.0, &scores);
        for state in [&state, &rule.fresh()] {
            assert!((rule.threshold(state) - 3.1).abs() < 1e-6);
        }
    }

    #[test]
    fn an_alarm_holds_down_to_its_lower_level_and_teaches_nothing_for_a_day() {
        let levels =
            AlarmLevels { tail_start: 1.0, tail_scale: 1.0, peaks_per_day: 20.0, stay_below: 1.0 };
        let rule = AlarmRule::new(&FalseAlarmThreshold::default(), levels, MINUTE);
        let peaks =
            (0..72).map(|rank| single(levels.passed((f64::from(rank) + 1.0) / 3.0))).collect();
        let mut state = AlarmState { peaks, ..AlarmState::default() };
        let threshold = rule.onset(&state);
        assert!((threshold - levels.passed(2.0)).abs() < 0.1, "{threshold}");
        let mut judge = |score: f64| {
            let alarmed = score > rule.threshold(&state);
            rule.observe(&mut state, 0, score, alarmed);
            (alarmed, state.is_urgent())
        };
        assert_eq!(judge(threshold - 0.5), (false, false));
        assert_eq!(judge(threshold + 0.5), (true, false));
        assert_eq!(judge(threshold + 3.0), (true, true));
        assert_eq!(judge(threshold - 0.5), (true, true), "still the same alarm");
        for _ in 0..1437 {
            assert_eq!(judge(threshold + 3.0), (true, true), "kept out");
        }
        // From then on scores of the same height are learned, and usual ones below them end it.
        let taught = (0..600_usize).map(|row| if row % 60 == 0 { 3.0 } else { 1.5 });
        let taught: Vec<bool> = taught.map(|above| judge(threshold + above).0).collect();
        assert!(taught[..60].iter().all(|alarmed| *alarmed), "an hour is not enough");
        assert_eq!(taught.last(), Some(&false), "the new usual");
    }
}
