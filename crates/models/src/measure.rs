//! Metrics of a bundle on a part of the data set.

use std::collections::BTreeMap;

use contract::score::Verdict;
use contract::{Span, StepError, Timestamp};
use frames::{Dataset, FeatureTable, is_normal};

use crate::Bundle;
use crate::quality;
use crate::scoring::{ScoreOptions, ScoreState};

mod events;
mod metrics;

pub use metrics::{Counted, figures};

/// Labels of the rows that count: those that are neither excluded nor without data.
struct Truth {
    /// Numbers of the rows that count.
    rows: Vec<usize>,
    /// For each of them, whether it is anomalous; all normal without labels.
    anomalous: Vec<bool>,
    labelled: bool,
}

impl Truth {
    fn of(part: &FeatureTable, normal: &[String], counts: impl Fn(usize) -> bool) -> Self {
        let is_anomalous = |row: usize| {
            part.labels.as_ref().is_some_and(|labels| !is_normal(normal, &labels.label[row]))
        };
        let excluded = |row: usize| part.labels.as_ref().is_some_and(|labels| labels.excluded[row]);
        let rows: Vec<usize> =
            (0..part.rows()).filter(|&row| !excluded(row) && counts(row)).collect();
        let anomalous = rows.iter().map(|&row| is_anomalous(row)).collect();
        Self { rows, anomalous, labelled: part.labels.is_some() }
    }

    fn sort_by_time(&mut self, part: &FeatureTable) {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|index| part.table.times[self.rows[*index]]);
        self.rows = order.iter().map(|index| self.rows[*index]).collect();
        self.anomalous = order.iter().map(|index| self.anomalous[*index]).collect();
    }
}

/// Returns the rows of a part that are normal by label or without a label, not in a guard band, and
/// not in warm-up. Thresholds are calibrated on them.
pub fn normal_rows(part: &FeatureTable, normal: &[String]) -> Vec<usize> {
    let truth = Truth::of(part, normal, |row| !part.warm_up[row]);
    let pairs = truth.rows.into_iter().zip(truth.anomalous);
    pairs.filter_map(|(row, anomalous)| (!anomalous).then_some(row)).collect()
}

/// Returns the rows of a part that count by its labels, and whether each is anomalous: none in a
/// guard band, none in warm-up; none at all without labels.
pub(crate) fn counted_rows(part: &FeatureTable, normal: &[String]) -> (Vec<usize>, Vec<bool>) {
    let truth = Truth::of(part, normal, |row| !part.warm_up[row]);
    if truth.labelled { (truth.rows, truth.anomalous) } else { (Vec::new(), Vec::new()) }
}

impl Bundle {
    /// Measures a data set as it happened: scores its parts one after the other and calls `each`
    /// with every part that has rows, but for that of training, and with the state of scoring
    /// before it. If the bundle has a state of the time before a part, that state is used, so the
    /// metrics are those of live scoring. A bundle without state scores each part by itself.
    pub fn replay<'a>(
        &self,
        dataset: &'a Dataset,
        threads: usize,
        mut each: impl FnMut(&'static str, &'a FeatureTable, &ScoreState) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let remembers = self.manifest().memory.is_some();
        let mut state = if remembers { self.without_past() } else { ScoreState::default() };
        let Dataset { train, validation, test } = dataset;
        let parts = [(None, train), (Some("validation"), validation), (Some("test"), test)];
        let mut past = None;
        for (name, part) in parts.into_iter().filter(|(_, part)| part.rows() > 0) {
            if let Some(past) = past.replace(part).filter(|_| remembers) {
                self.judge_past(past, &mut state, threads)?;
            }
            if let Some(first) = part.table.times.iter().min().filter(|_| remembers) {
                self.catch_up(&mut state, *first);
            }
            if let Some(name) = name {
                each(name, part, &state)?;
            }
        }
        Ok(())
    }

    /// Makes a replay of old rows equal to live scoring: before the row at `next`, the state is
    /// replaced by the bundle's state of an earlier time, unless the current state is later.
    pub fn catch_up(&self, state: &mut ScoreState, next: Timestamp) {
        let remembered = self.before_test.iter().chain([&self.initial]);
        let usable = remembered.filter(|remembered| {
            let last = remembered.last_time_ms();
            last.is_some_and(|last| last < next.ms()) && last >= state.last_time_ms()
        });
        if let Some(latest) = usable.max_by_key(|remembered| remembered.last_time_ms()) {
            state.clone_from(latest);
        }
    }

    /// Moves the state to the end of a part, starting from a state of the bundle within the part if
    /// there is one.
    fn judge_past(
        &self,
        past: &FeatureTable,
        state: &mut ScoreState,
        threads: usize,
    ) -> Result<(), StepError> {
        let times = &past.table.times;
        let Some(last) = times.iter().max() else { return Ok(()) };
        self.catch_up(state, *last + Span::from_ms(1));
        let seen = state.last_time_ms();
        let rows: Vec<usize> = (0..past.rows())
            .filter(|row| seen.is_none_or(|seen| times[*row].ms() > seen))
            .collect();
        let options = ScoreOptions { min_completeness: 0.0, threads };
        self.judge(&past.select(&rows), state, options).map(|_| ())
    }

    /// Scores a part of the data set and returns figures by name: `rows`, and without labels
    /// `inlier_ratio`, the share of rows without an alarm, with labels those of [`figures`]. Labels
    /// in `normal` mean normal. Excluded and `no_data` rows count nowhere. `before` is the state of
    /// scoring before the part; for an empty state the bundle's own state is used.
    pub fn measure(
        &self,
        part: &FeatureTable,
        before: &ScoreState,
        normal: &[String],
        threads: usize,
    ) -> Result<BTreeMap<String, f64>, StepError> {
        let options = ScoreOptions { min_completeness: 0.0, threads };
        let judgements = self.judge(part, &mut before.clone(), options)?;
        let mut truth = Truth::of(part, normal, |row| judgements[row].verdict != Verdict::NoData);
        truth.sort_by_time(part);
        let is_alarm = |row: usize| judgements[row].verdict == Verdict::Anomalous;
        let alarms: Vec<bool> = truth.rows.iter().map(|&row| is_alarm(row)).collect();
        let rows = truth.rows.len() as f64;
        let mut named = BTreeMap::from([("rows".to_owned(), rows)]);
        if !truth.labelled {
            let alarmed = alarms.iter().filter(|alarm| **alarm).count() as f64;
            if rows > 0.0 {
                named.insert("inlier_ratio".to_owned(), 1.0 - alarmed / rows);
            }
            return Ok(named);
        }
        let delays = events::delays(part, &truth, is_alarm);
        let counted = Counted {
            entities: truth.rows.iter().map(|&row| part.table.entity[row]).collect(),
            scores: truth.rows.iter().map(|&row| judgements[row].combined).collect(),
            alarms,
            anomalous: truth.anomalous,
        };
        named.extend(figures(&counted, &delays, part.contract.step));
        Ok(named)
    }

    /// Returns `roc_auc` and `average_precision` of each member's own score, by kind; empty
    /// without rows of both kinds. `before` as in [`Bundle::measure`].
    pub fn measure_members(
        &self,
        part: &FeatureTable,
        before: &ScoreState,
        normal: &[String],
        threads: usize,
    ) -> Result<BTreeMap<String, BTreeMap<String, f64>>, StepError> {
        let options = ScoreOptions { min_completeness: 0.0, threads };
        let judgements = self.judge(part, &mut before.clone(), options)?;
        let truth = Truth::of(part, normal, |row| judgements[row].verdict != Verdict::NoData);
        let members = self.manifest().members.iter().enumerate();
        let measured = members.filter_map(|(number, member)| {
            let decision = |row: &usize| judgements[*row].members[number].decision;
            let scores: Vec<f64> = truth.rows.iter().map(decision).collect();
            let auc = quality::roc_auc(&scores, &truth.anomalous)?;
            let precision = quality::average_precision(&scores, &truth.anomalous)?;
            let figures = [("roc_auc", auc), ("average_precision", precision)];
            let figures = figures.map(|(name, value)| (name.to_owned(), value));
            Some((member.kind.clone(), figures.into()))
        });
        Ok(measured.collect())
    }
}
