//! Scores as metrics: the series there are, and the two ways they go.
//!
//! Names and units follow the Prometheus conventions. A value belongs to the end of its window.

mod remote;
mod text;

pub use remote::{Cursor, Failing};

use std::collections::BTreeMap;
use std::path::Path;

use contract::score::{Drift, Verdict, WindowScore};
use contract::{Outcome, StepError, Timestamp, artifact};
use document::Document;
use store::ObjectStore;

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that rises and falls.
    Gauge,
    /// A count that only rises.
    Counter,
}

/// A metric: what its series have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it means, in a sentence.
    pub help: &'static str,
}

const ANOMALY: &str = "lynceus_anomaly";
const SCORE: &str = "lynceus_anomaly_score";
const DRIFT: &str = "lynceus_feature_drift";
const MODEL: &str = "lynceus_model_info";
const NO_DATA: &str = "lynceus_no_data";
const LAG: &str = "lynceus_score_lag_seconds";
const WINDOWS: &str = "lynceus_windows_scored_total";

/// Every metric there is, in the order of the names.
pub const METRICS: [Metric; 7] = [
    Metric {
        name: ANOMALY,
        kind: Kind::Gauge,
        help: "Whether the window is anomalous (1) or not (0); absent without data.",
    },
    Metric {
        name: SCORE,
        kind: Kind::Gauge,
        help: "Share of the model's reference rows that scored lower, 0 to 1.",
    },
    Metric {
        name: DRIFT,
        kind: Kind::Gauge,
        help: "Population stability index of the last day against the training data.",
    },
    Metric {
        name: MODEL,
        kind: Kind::Gauge,
        help: "The version that scored the window, as a label of the value 1.",
    },
    Metric {
        name: NO_DATA,
        kind: Kind::Gauge,
        help: "Whether too much of the window's data is missing to say (1) or not (0).",
    },
    Metric {
        name: LAG,
        kind: Kind::Gauge,
        help: "Time between the last scored window and the tick that scored it.",
    },
    Metric { name: WINDOWS, kind: Kind::Counter, help: "Windows scored since the first." },
];

/// Label names and values, in the order of the names, and the metric's name under `__name__`.
type Labels = BTreeMap<&'static str, String>;

/// A value of a series.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    labels: Labels,
    value: f64,
    time: Timestamp,
}

/// What is known at the end of a tick besides its windows.
#[derive(Debug)]
pub(crate) struct TickEnd<'a> {
    pub(crate) document: &'a Document,
    pub(crate) now: Timestamp,
    /// End of the last window that was scored before this tick, and with it.
    pub(crate) before: Timestamp,
    pub(crate) scored_to: Timestamp,
    pub(crate) windows_total: u64,
    pub(crate) drift: Option<&'a Drift>,
}

impl TickEnd<'_> {
    /// Shows the scores where the document says. Nothing that fails here is in the way of scoring:
    /// it is a warning, and the next tick shows what is missing.
    pub(crate) fn show(&self, store: &dyn ObjectStore, folder: &Path, outcome: &mut Outcome) {
        let metrics = &self.document.scoring.metrics;
        if let Some(file) = &metrics.textfile
            && let Err(error) = self.write_textfile(store, &folder.join(file))
        {
            outcome.warn(format!("`scoring.metrics.textfile`: {}", error.message));
        }
        if let Some(server) = &metrics.remote_write {
            let sent = remote::send(self, store, server, folder);
            outcome.count("samples_sent", sent.samples);
            if let Some(error) = sent.error {
                outcome.warn(format!("`scoring.metrics.remote_write`: {}", error.message));
            }
        }
    }

    fn write_textfile(&self, store: &dyn ObjectStore, path: &Path) -> Result<(), StepError> {
        let last = store::scores::read(store, &self.document.name, self.scored_to)?;
        let mut samples = last.as_ref().map(|window| self.of_window(window)).unwrap_or_default();
        // The file has no times: it says what was last known, also of drift.
        samples.retain(|sample| sample.labels.get("__name__").is_none_or(|name| name != DRIFT));
        samples
            .extend(self.drift.into_iter().flat_map(|drift| self.of_drift(drift, self.scored_to)));
        samples.extend(self.of_tick());
        artifact::write_file(path, text::write(&samples).as_bytes())
    }

    fn sample(&self, name: &str, time: Timestamp, value: f64) -> Sample {
        let mut labels = Labels::new();
        labels.insert("__name__", name.to_owned());
        labels.insert("pipeline", self.document.name.clone());
        Sample { labels, value, time }
    }

    fn of_window(&self, window: &WindowScore) -> Vec<Sample> {
        let time = window.time;
        let mut samples = vec![self.sample(MODEL, time, 1.0).with("version", &window.version)];
        for entity in &window.entities {
            let of_entity =
                |name, value| self.sample(name, time, value).with("entity", &entity.entity);
            let is = |verdict| f64::from(u8::from(entity.verdict == verdict));
            samples.push(of_entity(NO_DATA, is(Verdict::NoData)));
            if entity.verdict != Verdict::NoData {
                samples.push(of_entity(ANOMALY, is(Verdict::Anomalous)));
            }
            samples.extend(
                entity
                    .members
                    .iter()
                    .map(|member| of_entity(SCORE, member.calibrated).with("model", &member.kind)),
            );
        }
        samples.extend(window.drift.iter().flat_map(|drift| self.of_drift(drift, time)));
        samples
    }

    fn of_drift(&self, drift: &Drift, time: Timestamp) -> Vec<Sample> {
        let features = drift.features.iter().filter_map(|feature| {
            let index = feature.stability_index?;
            Some(self.sample(DRIFT, time, index).with("feature", &feature.feature))
        });
        features.collect()
    }

    fn of_tick(&self) -> [Sample; 2] {
        let lag_seconds = (self.now - self.scored_to).seconds();
        [
            self.sample(LAG, self.scored_to, lag_seconds),
            self.sample(WINDOWS, self.scored_to, self.windows_total as f64),
        ]
    }
}

impl Sample {
    /// Adds a label; one that is empty is none.
    fn with(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.labels.insert(name, value.to_owned());
        }
        self
    }
}
