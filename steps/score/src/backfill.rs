//! Scores past windows that were never scored, separately from live scoring: neither the watermark
//! nor the scorer's state changes, and `alert`, whose cursor is past these windows, sends nothing.

use std::collections::BTreeSet;
use std::path::Path;

use contract::score::{Verdict, WindowScore};
use contract::{StepError, Timestamp};
use document::sections::Score as Sections;
use frames::FeatureTable;
use models::{ScoreOptions, ScoreState};
use serde::Serialize;
use store::{ObjectStore, scores};

use crate::rows::{DueRows, Measured};
use crate::scorer::Scorer;
use crate::windows::Windows;

/// Inputs of a backfill.
#[derive(Debug)]
pub struct Backfill<'a> {
    /// The document.
    pub document: &'a Sections,
    /// Features of the range and of its lookback.
    pub features: &'a Path,
    /// The collected samples: a window without samples is `no_data`.
    pub samples: &'a Path,
    /// Windows that end after this time are scored, a whole step.
    pub after: Timestamp,
    /// Windows that end at or before this time are scored, a whole step.
    pub until: Timestamp,
    /// Threads; the scores do not depend on it.
    pub threads: usize,
}

/// Result of a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Filled {
    /// Windows that were scored.
    pub windows: usize,
    /// Windows that already had a score, which is kept.
    pub scored_before: usize,
    /// Entities in those windows that are anomalous.
    pub anomalous: usize,
    /// Entities in those windows without data.
    pub no_data: usize,
}

impl Filled {
    /// Adds the result of the backfill of another shard.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            windows: self.windows + other.windows,
            scored_before: self.scored_before + other.scored_before,
            anomalous: self.anomalous + other.anomalous,
            no_data: self.no_data + other.no_data,
        }
    }
}

impl Backfill<'_> {
    /// Scores the windows without a score with the live model, as if scoring had begun at the first
    /// of them: the model's stored state belongs to the end of its data, not to the past.
    ///
    /// Errors: refused (3) without a live model, and for features that it was not trained on.
    pub fn run(&self, store: &dyn ObjectStore) -> Result<Filled, StepError> {
        let name = &self.document.name;
        let live = Scorer::live(store, self.document, None, &ScoreState::default())?;
        let live = live.ok_or_else(|| {
            StepError::refused(format!("no model of `{name}` is live"))
                .hint(format!("train one: lynceus run {name}"))
        })?;
        let step = self.document.step;
        let due = Windows {
            after: self.after,
            until: self.until,
            step,
            given_up: 0,
            silent: 0,
            waiting: 0,
        };
        let known: BTreeSet<Timestamp> =
            scores::read_after(store, name, Some(due.after), due.until)
                .map(|window| window.map(|window| window.time))
                .collect::<Result<_, _>>()?;
        let features = live.bundle.columns_of(FeatureTable::read(self.features)?)?;
        let measured = Measured::read(self.samples, step)?;
        let min_completeness = self.document.scoring.min_completeness;
        let rows = DueRows::new(&features, &due, Some(&measured), min_completeness);
        let options = ScoreOptions { min_completeness, threads: self.threads };
        let mut state = live.bundle.without_past();
        let mut verdicts = live.judge(&rows, &mut state, options, &BTreeSet::new())?;
        let mut windows = Vec::new();
        for time in due.times().filter(|time| !known.contains(time)) {
            let entities = verdicts.remove(&time).unwrap_or_default();
            let entities = crate::complete(entities, Vec::new());
            windows.push(WindowScore::new(name, time, &live.version, entities));
        }
        let written = scores::write_all(store, &windows.iter().collect::<Vec<_>>())?;
        let new = windows.iter().zip(written).filter(|(_, written)| *written);
        let mut filled = Filled { scored_before: known.len(), ..Filled::default() };
        for (window, _) in new {
            let count = |verdict| window.entities.iter().filter(|it| it.verdict == verdict).count();
            filled.windows += 1;
            filled.anomalous += count(Verdict::Anomalous);
            filled.no_data += count(Verdict::NoData);
        }
        Ok(filled)
    }
}
