//! Evaluation of runs on rows that are in none of their data sets.

use std::collections::BTreeSet;
use std::path::Path;

use contract::score::Verdict;
use contract::{StepError, Timestamp};
use document::sections::Report;
use models::Bundle;
use models::quality::{self, Confusion};

use crate::alarms::Found;
use crate::contents;
use crate::curves::{Figure, SEED, resamples};
use crate::ground_truth::Truth;
use crate::ranking::rank;
use crate::rescore::{self, Scorer};
use crate::runs::Run;
use crate::scores::ScoreHistory;

/// One row that counts: outside of guard bands, and with data.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    time: Timestamp,
    entity: String,
    anomalous: bool,
    alarm: bool,
    score: f64,
}

/// The verdicts of one run's bundle on the rows.
#[derive(Debug)]
pub(super) struct Judged {
    rows: Vec<Row>,
    /// Result for each labelled fault.
    pub(super) scenarios: Vec<Found>,
    /// Number of consecutive rows that are resampled together.
    block: usize,
}

/// The metrics by which runs are compared, and whether higher is better.
pub(super) const FIGURES: [(&str, bool); 6] = [
    ("average_precision", true),
    ("roc_auc", true),
    ("f1", true),
    ("recall", true),
    ("precision", true),
    ("false_alarm_ratio", false),
];

/// Scores the rows after a time with a run's bundle.
pub(super) fn judge(
    run: &Run,
    features: &[&Path],
    after: Timestamp,
    truth: &Truth,
) -> Result<Judged, StepError> {
    let bundle = Bundle::read(&run.folder.join("select/bundle"))?;
    let document = Report::read(&run.folder.join("document.yaml"))?;
    let mut history = ScoreHistory::new(contents::rules(&document), truth.clone());
    let (mut rows, mut entities) = (Vec::<Row>::new(), BTreeSet::new());
    let mut scorer = Scorer::going_on(&bundle, after, 1);
    for file in features {
        let mut last = scorer.after;
        rescore::for_each(&mut scorer, file, |window| {
            last = last.max(Some(window.time));
            entities.extend(window.entities.iter().map(|score| score.entity.clone()));
            let there = window.entities.iter().filter(|score| score.verdict != Verdict::NoData);
            rows.extend(there.map(|score| Row {
                time: window.time,
                entity: score.entity.clone(),
                anomalous: false,
                alarm: score.verdict == Verdict::Anomalous,
                score: rank(score),
            }));
            history.add(window, |_| Some(bundle.reference()));
        })?;
        // A row that is in the files of two ticks is scored once.
        scorer.after = last;
    }
    // The target of a fault can be resolved when all entities are known.
    rows.retain_mut(|row| {
        let known = truth.at(row.time, &row.entity, &entities);
        row.anomalous = known.is_faulty();
        known.is_faulty() || known.is_normal()
    });
    history.finish();
    let block = (60_000 / document.step.ms().max(1)).clamp(5, 60);
    let block = usize::try_from(block).unwrap_or(5) * entities.len().max(1);
    Ok(Judged { rows, scenarios: history.scenarios, block })
}

impl Judged {
    /// Returns the number of rows that count.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Returns a metric with its interval; `None` if it is not defined.
    pub(super) fn figure(&self, name: &str) -> Option<Figure> {
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let value = self.measured(name, &all)?;
        Some(Figure { value, interval: self.interval(|rows| self.measured(name, rows)) })
    }

    /// Returns the difference of a metric to another run's, on the same resamples of the same rows;
    /// `None` if the rows are not the same.
    pub(super) fn difference(&self, other: &Self, name: &str) -> Option<Figure> {
        let key = |row: &Row| (row.time, row.anomalous);
        if !self.rows.iter().map(key).eq(other.rows.iter().map(key)) {
            return None;
        }
        let less = |rows: &[usize]| Some(self.measured(name, rows)? - other.measured(name, rows)?);
        let all: Vec<usize> = (0..self.rows.len()).collect();
        Some(Figure { value: less(&all)?, interval: self.interval(less) })
    }

    fn interval(&self, figure: impl Fn(&[usize]) -> Option<f64>) -> Option<(f64, f64)> {
        let resamples = resamples(self.rows.len());
        quality::bootstrap_interval(self.rows.len(), self.block, resamples, SEED, figure)
    }

    fn measured(&self, name: &str, rows: &[usize]) -> Option<f64> {
        let truth: Vec<bool> = rows.iter().map(|row| self.rows[*row].anomalous).collect();
        let ranked = |figure: fn(&[f64], &[bool]) -> Option<f64>| {
            let scores: Vec<f64> = rows.iter().map(|row| self.rows[*row].score).collect();
            figure(&scores, &truth)
        };
        let alarms = || {
            let alarms: Vec<bool> = rows.iter().map(|row| self.rows[*row].alarm).collect();
            Confusion::of(&alarms, &truth)
        };
        let labelled = truth.contains(&true);
        match name {
            "average_precision" => ranked(quality::average_precision),
            "roc_auc" => ranked(quality::roc_auc),
            "false_alarm_ratio" => Some(alarms().false_alarm_ratio()),
            "f1" if labelled => Some(alarms().f1()),
            "recall" if labelled => Some(alarms().recall()),
            "precision" if labelled => Some(alarms().precision()),
            _ => None,
        }
    }
}
