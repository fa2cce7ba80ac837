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
//! peak, the others of its first 12 hours do not. A change that lasts longer is the new normal.
//!
//! Scores near each other in time are alike, so soon after an alarm the threshold is passed again
//! much more often than `per_day`. So in the `rearm_rows` after an alarm a new one needs a score
//! above the highest of the last one, or an urgent one. Scores that are held back count as part of
//! the last alarm: they are no peaks (declustering of extremes; Coles, chapter 5).

use std::collections::VecDeque;

use contract::bundle::AlarmLevels;
use contract::rules::FalseAlarmThreshold;
use contract::tensors::{Arrays, Numbers, Record};
use contract::{Span, StepError};

use crate::reference::quantile;
use crate::threshold::Judged;

/// Blocks of a history. There are more only where so many false alarms are accepted that they
/// would fill more than a quarter of them.
const BLOCKS: usize = 72;

/// Smallest rank of the threshold, if the history is long enough: fewer hours with anomalies than
/// this do not raise it by their height.
const LEAST_RANK: f64 = 3.0;

/// Time during which the scores of an alarm after the first are not learned.
const KEPT_OUT: Span = Span::from_seconds(43_200);

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
    /// Rows until a new alarm needs no more than the threshold; during an alarm all of them.
    rearm_rows: u32,
    /// Highest score of the open alarm, or of the last one and those before it that it followed
    /// within these rows.
    highest: f64,
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
            .with("rearm_rows", Numbers::U32(vec![self.rearm_rows]))
            .with("highest", Numbers::F64(vec![self.highest]))
    }

    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
        let mut state = Self {
            time_ms: arrays.take_i64("time_ms")?.first().copied().unwrap_or_default(),
            peaks: arrays.take_f32("peaks")?.into(),
            open_rows: arrays.take_u32("open_rows")?.first().copied().unwrap_or_default(),
            open_peak: arrays.take_f64("open_peak")?.first().copied().unwrap_or_default(),
            rows: arrays.take_u32("alarm_rows")?.first().copied().unwrap_or_default(),
            urgent: arrays.take_flag("urgent")?,
            ..Self::default()
        };
        // A state of an earlier version does not hold these two.
        if arrays.has("rearm_rows") {
            state.rearm_rows = arrays.take_u32("rearm_rows")?.first().copied().unwrap_or_default();
            state.highest = arrays.take_f64("highest")?.first().copied().unwrap_or_default();
        }
        Ok(state)
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
    /// Rows after an alarm in which a new one needs a higher score.
    rearm_rows: u32,
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
            rearm_rows: threshold.rearm_rows,
        }
    }

    /// Makes the state of an unknown entity: its peaks are those expected from all training scores.
    pub fn fresh(&self) -> AlarmState {
        self.blocks.after(&[], &self.levels)
    }

    /// Returns the threshold for the next score.
    pub fn threshold(&self, state: &AlarmState) -> f64 {
        let onset = self.onset(state);
        if state.rows > 0 {
            onset - self.levels.stay_below
        } else if state.rearm_rows > 0 {
            state.highest.min(onset + self.page_above).max(onset)
        } else {
            onset
        }
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
    pub fn observe(&self, state: &mut AlarmState, time_ms: i64, judged: Judged) {
        let Judged { score, alarmed, open } = judged;
        state.time_ms = time_ms;
        let onset = self.onset(state);
        let urgent = score > onset + self.page_above;
        let is_rearming = state.rows == 0 && state.rearm_rows > 0;
        let is_held_back = is_rearming && open && !alarmed && score > onset;
        if alarmed {
            let is_first = state.rows == 0 && !is_rearming;
            state.highest = if is_first { score } else { state.highest.max(score) };
            state.rearm_rows = self.rearm_rows;
        } else {
            state.rearm_rows = state.rearm_rows.saturating_sub(1);
        }
        state.rows = if alarmed { state.rows.saturating_add(1) } else { 0 };
        state.urgent = alarmed && (state.urgent || urgent);
        if !is_held_back && (state.rows <= 1 || state.rows > self.rows_kept_out) {
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
mod tests;
