//! What a bundle reaches on a part of the data set.

use std::collections::BTreeMap;

use contract::score::Verdict;
use contract::{StepError, Timestamp};
use frames::FeatureTable;

use crate::Bundle;
use crate::quality::{self, Confusion};
use crate::scoring::{ScoreOptions, ScoreState, Verdicts};

/// What is known of the rows that count: those that are neither excluded nor without data.
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
            part.labels.as_ref().is_some_and(|labels| !normal.contains(&labels.label[row]))
        };
        let excluded = |row: usize| part.labels.as_ref().is_some_and(|labels| labels.excluded[row]);
        let rows: Vec<usize> =
            (0..part.rows()).filter(|&row| !excluded(row) && counts(row)).collect();
        let anomalous = rows.iter().map(|&row| is_anomalous(row)).collect();
        Self { rows, anomalous, labelled: part.labels.is_some() }
    }
}

/// Returns the rows of a part that are known, or taken, to be normal: not anomalous by label, not
/// in a guard band, not in warm-up. Limits are calibrated on them.
pub fn normal_rows(part: &FeatureTable, normal: &[String]) -> Vec<usize> {
    let truth = Truth::of(part, normal, |row| !part.warm_up[row]);
    let pairs = truth.rows.into_iter().zip(truth.anomalous);
    pairs.filter_map(|(row, anomalous)| (!anomalous).then_some(row)).collect()
}

impl Bundle {
    /// Scores a part of the data set from an empty state and returns figures by name.
    ///
    /// Always: `rows`. Without labels: `inlier_ratio`, the share of rows without an alarm. With
    /// labels: `false_alarm_ratio`, `false_alarms_per_day` and `false_episodes_per_day` (per
    /// entity, where there are normal rows), `precision`, `recall`, `f1`, `events`,
    /// `events_found` (a share) and `detection_delay_seconds_mean` (where any was found), and
    /// `roc_auc`, `average_precision`, `best_f1` of the combined score (where there are rows of
    /// both kinds). Labels in `normal` mean normal. Excluded and `no_data` rows count nowhere.
    pub fn measure(
        &self,
        part: &FeatureTable,
        normal: &[String],
        threads: usize,
    ) -> Result<BTreeMap<String, f64>, StepError> {
        let options = ScoreOptions { min_completeness: 0.0, threads };
        let verdicts = self.judge(part, &mut ScoreState::default(), options)?;
        let truth = Truth::of(part, normal, |row| verdicts.of_rows[row] != Verdict::NoData);
        let alarms: Vec<bool> =
            truth.rows.iter().map(|&row| verdicts.of_rows[row] == Verdict::Anomalous).collect();
        let mut figures = Figures::default();
        figures.add("rows", truth.rows.len() as f64);
        if truth.rows.is_empty() {
            return Ok(figures.0);
        }
        let confusion = Confusion::of(&alarms, &truth.anomalous);
        if !truth.labelled {
            figures.add("inlier_ratio", 1.0 - confusion.false_alarm_ratio());
            return Ok(figures.0);
        }
        figures.add_false_alarms(part, &truth, &alarms, confusion);
        if truth.anomalous.contains(&true) {
            figures.add("precision", confusion.precision());
            figures.add("recall", confusion.recall());
            figures.add("f1", confusion.f1());
            figures.add_events(part, &truth, &alarms);
        }
        figures.add_ranking(&truth, &verdicts);
        Ok(figures.0)
    }

    /// Returns `roc_auc` and `average_precision` of each member's own score, by kind; empty
    /// without rows of both kinds.
    pub fn measure_members(
        &self,
        part: &FeatureTable,
        normal: &[String],
        threads: usize,
    ) -> Result<BTreeMap<String, BTreeMap<String, f64>>, StepError> {
        let options = ScoreOptions { min_completeness: 0.0, threads };
        let verdicts = self.judge(part, &mut ScoreState::default(), options)?;
        let truth = Truth::of(part, normal, |row| verdicts.of_rows[row] != Verdict::NoData);
        let members = self.manifest().members.iter().zip(&verdicts.decisions);
        let measured = members.filter_map(|(member, decisions)| {
            let scores: Vec<f64> = truth.rows.iter().map(|&row| decisions[row]).collect();
            let auc = quality::roc_auc(&scores, &truth.anomalous)?;
            let precision = quality::average_precision(&scores, &truth.anomalous)?;
            let figures = [("roc_auc", auc), ("average_precision", precision)];
            let figures = figures.map(|(name, value)| (name.to_owned(), value));
            Some((member.kind.clone(), figures.into()))
        });
        Ok(measured.collect())
    }
}

#[derive(Default)]
struct Figures(BTreeMap<String, f64>);

impl Figures {
    fn add(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.0.insert(name.to_owned(), value);
        }
    }

    fn add_ranking(&mut self, truth: &Truth, verdicts: &Verdicts) {
        let scores: Vec<f64> = truth.rows.iter().map(|&row| verdicts.combined[row]).collect();
        if let Some(auc) = quality::roc_auc(&scores, &truth.anomalous) {
            self.add("roc_auc", auc);
        }
        if let Some(precision) = quality::average_precision(&scores, &truth.anomalous) {
            self.add("average_precision", precision);
        }
        if let Some((f1, _)) = quality::best_f1(&scores, &truth.anomalous) {
            self.add("best_f1", f1);
        }
    }

    fn add_false_alarms(
        &mut self,
        part: &FeatureTable,
        truth: &Truth,
        alarms: &[bool],
        confusion: Confusion,
    ) {
        let normal = confusion.false_alarms + confusion.quiet;
        if normal == 0 {
            return;
        }
        let days = normal as f64 * part.contract.step.seconds() / 86_400.0;
        self.add("false_alarm_ratio", confusion.false_alarm_ratio());
        self.add("false_alarms_per_day", confusion.false_alarms as f64 / days);
        let rows = truth.rows.iter().zip(&truth.anomalous).zip(alarms);
        let episodes = quality::false_episodes(
            rows.map(|((&row, &anomalous), &alarm)| (part.table.entity[row], alarm, anomalous)),
        );
        self.add("false_episodes_per_day", episodes as f64 / days);
    }

    /// An event is a scenario, or a run of anomalous rows of one entity where there is no scenario
    /// log; an alarm anywhere in it finds it. Its delay runs from the start of its first window.
    fn add_events(&mut self, part: &FeatureTable, truth: &Truth, alarms: &[bool]) {
        let mut events: BTreeMap<String, (Timestamp, Option<Timestamp>)> = BTreeMap::new();
        let mut runs: BTreeMap<u32, (bool, u64)> = BTreeMap::new();
        for ((&row, &anomalous), &alarm) in truth.rows.iter().zip(&truth.anomalous).zip(alarms) {
            let (inside, number) = runs.entry(part.table.entity[row]).or_default();
            if anomalous && !*inside {
                *number += 1;
            }
            *inside = anomalous;
            if !anomalous {
                continue;
            }
            let scenario = part.labels.as_ref().map_or("", |labels| labels.scenario[row].as_str());
            let name = match scenario {
                "" => format!("{} run {number}", part.table.entity_of(row)),
                scenario => scenario.to_owned(),
            };
            let time = part.table.times[row];
            let (start, found) = events.entry(name).or_insert((time, None));
            *start = time.min(*start);
            if alarm {
                *found = Some(found.map_or(time, |first| first.min(time)));
            }
        }
        let delays: Vec<f64> = events
            .values()
            .filter_map(|(start, found)| Some((found.as_ref().copied()? - *start).seconds()))
            .map(|seconds| seconds + part.contract.step.seconds())
            .collect();
        self.add("events", events.len() as f64);
        self.add("events_found", delays.len() as f64 / events.len() as f64);
        self.add("detection_delay_seconds_mean", delays.iter().sum::<f64>() / delays.len() as f64);
    }
}
