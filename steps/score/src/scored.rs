//! `scored.json`: the result of a tick.

use std::collections::{BTreeMap, BTreeSet};

use contract::score::{EntityScore, Verdict, WindowScore};
use contract::{Outcome, Timestamp};
use serde::Serialize;

use crate::scorer::Scorer;
use crate::windows::Windows;

/// Maximum number of alarms in `scored.json`; all of them are in the score objects.
const SHOWN_ALARMS: usize = 100;

/// Number of reasons that are logged as warnings; all of them are in `scored.json`.
const SHOWN_REASONS: usize = 10;

/// `scored.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Scored {
    /// Version of the live model; empty before the first.
    version: String,
    /// Set if there is no model yet: when the first one is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_model: Option<String>,
    /// Version of the challenger that also scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<String>,
    after: Timestamp,
    until: Timestamp,
    windows: usize,
    anomalous: usize,
    no_data: usize,
    /// Windows that had an object before: a tick was killed or lost a race after writing it.
    #[serde(rename = "scored_before")]
    known: usize,
    /// Windows older than the document's `catch_up`, which have no object and will not get one.
    given_up: usize,
    /// Windows at the end that wait because there is no data for them.
    silent: usize,
    /// Windows at the end that wait because they could not be collected yet.
    waiting: usize,
    /// Reasons why entities have no data, each once, with its windows.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reasons: BTreeMap<String, usize>,
    /// Features that drifted, from the last drift report of these windows.
    drifted: Vec<String>,
    alarms: Vec<Alarm>,
}

#[derive(Debug, Serialize)]
struct Alarm {
    time: Timestamp,
    #[serde(flatten)]
    score: EntityScore,
}

impl Scored {
    pub(crate) fn new(version: &str, shadow: Option<&Scorer>, due: &Windows) -> Self {
        Self {
            version: version.to_owned(),
            no_model: None,
            shadow: shadow.map(|scorer| scorer.version.clone()),
            after: due.after,
            until: due.until,
            windows: 0,
            anomalous: 0,
            no_data: 0,
            known: 0,
            given_up: due.given_up,
            silent: due.silent,
            waiting: due.waiting,
            reasons: BTreeMap::new(),
            drifted: Vec::new(),
            alarms: Vec::new(),
        }
    }

    /// Makes the result of a tick that scored nothing, because there is no model yet.
    pub(crate) fn without_model(words: String, due: &Windows) -> Self {
        let nothing = Windows { until: due.after, given_up: 0, silent: 0, ..*due };
        Self { no_model: Some(words), ..Self::new("", None, &nothing) }
    }

    /// Counts a window; `written` is true if it had not been scored before.
    pub(crate) fn note(&mut self, window: WindowScore, written: bool) {
        let has = |verdict| window.entities.iter().any(|entity| entity.verdict == verdict);
        self.windows += 1;
        self.anomalous += usize::from(has(Verdict::Anomalous));
        self.no_data += usize::from(has(Verdict::NoData));
        self.known += usize::from(!written);
        let reasons: BTreeSet<&String> =
            window.entities.iter().filter_map(|entity| entity.reason.as_ref()).collect();
        for reason in reasons {
            *self.reasons.entry(reason.clone()).or_default() += 1;
        }
        if let Some(drift) = &window.drift {
            self.drifted = drift.drifted().map(|feature| feature.feature.clone()).collect();
        }
        let alarms =
            window.entities.into_iter().filter(|entity| entity.verdict == Verdict::Anomalous);
        let room = SHOWN_ALARMS.saturating_sub(self.alarms.len());
        self.alarms.extend(alarms.take(room).map(|score| Alarm { time: window.time, score }));
    }

    pub(crate) fn tell(&self, outcome: &mut Outcome) {
        outcome.count("windows", self.windows);
        outcome.count("anomalous", self.anomalous);
        outcome.count("no_data", self.no_data);
        outcome.count("scored_before", self.known);
        outcome.count("given_up", self.given_up);
        outcome.count("silent", self.silent);
        outcome.count("waiting", self.waiting);
        outcome.count("drifted_features", self.drifted.len());
        outcome.details.insert("version".to_owned(), self.version.as_str().into());
        if self.given_up > 0 {
            outcome.warn(format!(
                "{} windows are older than `scoring.catch_up` and stay without a score",
                self.given_up
            ));
        }
        for (reason, windows) in self.reasons.iter().take(SHOWN_REASONS) {
            outcome.warn(format!("{windows} windows have entities without data: {reason}"));
        }
        if self.waiting > 0 {
            outcome.warn(format!(
                "{} windows could not be collected yet: they wait for the next tick",
                self.waiting
            ));
        }
        if self.silent > 0 {
            outcome.warn(format!(
                "there is no data for the last {} windows: they wait for the next tick",
                self.silent
            ));
        }
    }
}
