//! Scores as metrics: the list of all series.
//!
//! Names and units follow the Prometheus conventions. A value belongs to the end of its window.

use std::collections::BTreeMap;

use contract::classify::EntityClass;
use contract::score::{Drift, EntityScore, Verdict, WindowScore};
use contract::{Shard, Timestamp};

use crate::sinks::RunEnd;

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that rises and falls.
    Gauge,
    /// A count that only rises.
    Counter,
}

/// A metric: the properties that its series share.
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
const CLASS_ENTITIES: &str = "lynceus_class_entities";
const CLASS_MISMATCH: &str = "lynceus_class_mismatch";
const CLASS_PROBABILITY: &str = "lynceus_class_probability";
const DRIFT: &str = "lynceus_feature_drift";
const MODEL: &str = "lynceus_model_info";
const NO_DATA: &str = "lynceus_no_data";
const LAG: &str = "lynceus_score_lag_seconds";
const WINDOWS: &str = "lynceus_windows_scored_total";

/// Every metric that each task has, in the order of the names.
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
        help: "Time between the last scored window and the run that exported it.",
    },
    Metric { name: WINDOWS, kind: Kind::Counter, help: "Windows since scores are exported." },
];

/// The further metrics of `task: classify`, in the order of the names.
pub const CLASS_METRICS: [Metric; 3] = [
    Metric {
        name: CLASS_ENTITIES,
        kind: Kind::Gauge,
        help: "Entities of the class after the window.",
    },
    Metric {
        name: CLASS_MISMATCH,
        kind: Kind::Gauge,
        help: "Whether the entity's new class is not the declared one (1) or is (0).",
    },
    Metric {
        name: CLASS_PROBABILITY,
        kind: Kind::Gauge,
        help: "Probability of a class that is new or not the declared one.",
    },
];

/// Label names and values, in the order of the names, and the metric's name under `__name__`.
pub(crate) type Labels = BTreeMap<&'static str, String>;

/// A value of a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    pub(crate) time: Timestamp,
}

impl Sample {
    /// Returns the metric's name.
    pub(crate) fn metric(&self) -> &str {
        self.labels.get("__name__").map_or("", String::as_str)
    }

    /// Adds a label; an empty one is left out.
    fn with(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.labels.insert(name, value.to_owned());
        }
        self
    }
}

/// Makes the samples of a pipeline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series<'a> {
    pub(crate) pipeline: &'a str,
    /// The shard that scored the windows, which is a label.
    pub(crate) shard: Option<Shard>,
}

impl Series<'_> {
    fn sample(&self, name: &str, time: Timestamp, value: f64) -> Sample {
        let mut labels = Labels::new();
        labels.insert("__name__", name.to_owned());
        labels.insert("pipeline", self.pipeline.to_owned());
        labels.extend(self.shard.map(|shard| ("shard", shard.index().to_string())));
        Sample { labels, value, time }
    }

    /// Returns the samples of a window, without those of its drift report.
    pub(crate) fn of_window(&self, window: &WindowScore) -> Vec<Sample> {
        let time = window.time;
        let mut samples = vec![self.sample(MODEL, time, 1.0).with("version", &window.version)];
        for (class, entities) in window.classes.iter().flatten() {
            samples.push(self.sample(CLASS_ENTITIES, time, *entities as f64).with("class", class));
        }
        for entity in &window.entities {
            samples
                .extend(entity.class.iter().flat_map(|class| self.of_class(entity, class, time)));
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
        samples
    }

    /// Returns the samples of an entity's class.
    fn of_class(&self, entity: &EntityScore, class: &EntityClass, time: Timestamp) -> Vec<Sample> {
        let sample = |name, value| {
            self.sample(name, time, value)
                .with("entity", &entity.entity)
                .with("class", class.name())
        };
        let mismatch = class.declared.as_ref().map(|declared| {
            let value = f64::from(u8::from(class.mismatch));
            sample(CLASS_MISMATCH, value).with("declared", declared)
        });
        let mut samples = vec![sample(CLASS_PROBABILITY, class.probability)];
        samples.extend(mismatch);
        samples
    }

    /// Returns the samples of a drift report.
    pub(crate) fn of_drift(&self, drift: &Drift, time: Timestamp) -> Vec<Sample> {
        let features = drift.features.iter().filter_map(|feature| {
            let index = feature.stability_index?;
            Some(self.sample(DRIFT, time, index).with("feature", &feature.feature))
        });
        features.collect()
    }

    /// Returns the samples of a run.
    pub(crate) fn of_run(&self, end: &RunEnd<'_>) -> [Sample; 2] {
        let lag_seconds = (end.now - end.scored_to).seconds();
        [
            self.sample(LAG, end.scored_to, lag_seconds),
            self.sample(WINDOWS, end.scored_to, end.windows_total as f64),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_of_classes_gives_counts_and_the_mismatch_of_an_entity() {
        let time = Timestamp::from_ms(60_000);
        let class = EntityClass {
            class: Some("redis".into()),
            unknown: None,
            nearest: "redis".into(),
            probability: 0.75,
            declared: Some("nginx".into()),
            since: time,
            first_seen: time,
            windows: 3,
            mismatch: true,
        };
        let entity = EntityScore {
            class: Some(class),
            ..EntityScore::bare("shop/web-1".into(), Verdict::Normal)
        };
        let mut window = WindowScore::new("kinds", time, "v1", vec![entity]);
        window.classes = Some([("redis".to_owned(), 2), ("unknown".to_owned(), 1)].into());
        let samples = Series { pipeline: "kinds", shard: None }.of_window(&window);
        let found = |name: &str| -> Vec<(String, f64)> {
            let of_name = samples.iter().filter(|sample| sample.metric() == name);
            let text = |sample: &Sample| {
                let labels = ["entity", "declared", "class"].map(|label| sample.labels.get(label));
                labels.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ")
            };
            of_name.map(|sample| (text(sample), sample.value)).collect()
        };
        let counts = [("redis".to_owned(), 2.0), ("unknown".to_owned(), 1.0)];
        assert_eq!(found(CLASS_ENTITIES), counts);
        assert_eq!(found(CLASS_MISMATCH), [("shop/web-1 nginx redis".to_owned(), 1.0)]);
        assert_eq!(found(CLASS_PROBABILITY), [("shop/web-1 redis".to_owned(), 0.75)]);
        let known = CLASS_METRICS.map(|metric| metric.name);
        assert!(samples.iter().all(|it| {
            known.contains(&it.metric()) || METRICS.iter().any(|metric| metric.name == it.metric())
        }));
    }
}
