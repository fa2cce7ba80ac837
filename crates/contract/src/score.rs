//! Score objects: the verdicts of one window, written once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::classify::EntityClass;
use crate::{Decimal, Timestamp};

/// `scores/<pipeline>/date=YYYY-MM-DD/<time>.json`: one window with all its entities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowScore {
    /// Version of this format.
    pub format: u32,
    /// The pipeline.
    pub pipeline: String,
    /// End of the window.
    pub time: Timestamp,
    /// Version of the bundle that scored it.
    pub version: String,
    /// Version that scored the previous window, if it was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched_from: Option<String>,
    /// One verdict for each entity, in the order of their names.
    pub entities: Vec<EntityScore>,
    /// The challenger's verdicts of the same rows; they cause no alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowScore>,
    /// Drift of the last day from the training data; only in the first window of each hour, and if
    /// there is enough data of the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Entities of each class, `unknown` among them; only with `task: classify`, where `entities`
    /// has only those whose class has changed and those that differ from their declared class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<BTreeMap<String, u64>>,
}

impl WindowScore {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Makes a window without special fields.
    pub fn new(
        pipeline: impl Into<String>,
        time: Timestamp,
        version: impl Into<String>,
        entities: Vec<EntityScore>,
    ) -> Self {
        Self {
            format: Self::FORMAT,
            pipeline: pipeline.into(),
            time,
            version: version.into(),
            switched_from: None,
            entities,
            shadow: None,
            drift: None,
            classes: None,
        }
    }
}

/// Windows that a tick scored more than one tick after they were due, because it caught up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateWindows {
    /// Time at which they were scored.
    pub at: Timestamp,
    /// End of the first of them.
    pub first: Timestamp,
    /// End of the last of them.
    pub last: Timestamp,
}

/// `state/<pipeline>/late.json`: the last late ticks. It depends on the clock, so it is not in the
/// watermark, whose bytes do not depend on the time of scoring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateTicks {
    /// Version of this format.
    pub format: u32,
    /// The windows that each of them scored, oldest first.
    pub ticks: Vec<LateWindows>,
}

impl LateTicks {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the state.
    pub const NAME: &str = "late";
}

/// The verdicts of the bundle of the alias `shadow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowScore {
    /// Version of that bundle.
    pub version: String,
    /// One verdict for each entity, in the order of their names, without causes.
    pub entities: Vec<EntityScore>,
}

/// Drift of the features of the last day from the reference rows of the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// End of the first window that is included.
    pub since: Timestamp,
    /// Rows that are included: windows times entities.
    pub rows: u64,
    /// Each feature, in the order of the contract.
    pub features: Vec<FeatureDrift>,
}

impl Drift {
    /// Returns the features that drifted.
    pub fn drifted(&self) -> impl Iterator<Item = &FeatureDrift> {
        self.features.iter().filter(|feature| feature.drifted)
    }
}

/// Drift of one feature from its reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureDrift {
    /// The feature.
    pub feature: String,
    /// Population stability index minus its expected value by chance, at least 0; absent if the day
    /// or the reference has no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability_index: Option<f64>,
    /// Share of the rows without a value.
    pub missing_ratio: f64,
    /// The same share of the reference rows.
    pub usual_missing_ratio: f64,
    /// Whether one of the two exceeds the limit of the document.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drifted: bool,
}

/// Verdict on an entity in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It behaves as usual.
    Normal,
    /// It does not.
    Anomalous,
    /// Too much data of the entity is missing for a verdict.
    NoData,
}

/// Returns the name of an entity for people: one without a name is the whole cluster.
pub fn entity_words(entity: &str) -> &str {
    if entity.is_empty() { "all of it" } else { entity }
}

/// The verdict on one entity, with its basis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityScore {
    /// Name of the entity; empty for a whole cluster.
    pub entity: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Share of the features with a value, 0 to 1.
    pub completeness: f64,
    /// Sum of the weights of the models that voted for an alarm, exact.
    pub votes: Decimal,
    /// Combined score and its threshold; for `combine: mean` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined: Option<Combined>,
    /// Result of each model; empty without data.
    pub members: Vec<MemberScore>,
    /// The features that contributed most, largest share first; for anomalous windows only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Whether the score has exceeded the higher of two thresholds during this alarm: the alarm is
    /// urgent. Only the threshold `false_alarms` has two.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// Features whose usual level is far from that in the training data, in the order of the
    /// contract. This alone is no alarm. Only models that follow drift set it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drifting: Vec<String>,
    /// Features with a new usual level since the alarm that ended in the last hour: the change has
    /// lasted and is now usual. Only models that follow drift set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_level: Option<NewLevel>,
    /// Features of the model that have had no value for more than 15 rows, in the order of the
    /// contract. This alone is no alarm. Only models that follow signals set it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Kind of fault of an alarm; only if the bundle has a second stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosed>,
    /// Why there is no data, if the source gave a reason: its answer was incomplete, ambiguous or
    /// refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its class; only with `task: classify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<EntityClass>,
}

impl EntityScore {
    /// Makes the score of an entity that has a verdict and nothing else.
    pub fn bare(entity: String, verdict: Verdict) -> Self {
        Self {
            entity,
            verdict,
            completeness: 0.0,
            votes: Decimal::ZERO,
            combined: None,
            members: Vec::new(),
            causes: Vec::new(),
            urgent: false,
            drifting: Vec::new(),
            new_level: None,
            missing: Vec::new(),
            diagnosis: None,
            reason: None,
            class: None,
        }
    }

    /// Whether its class differs from the declared one.
    pub fn is_mismatch(&self) -> bool {
        self.class.as_ref().is_some_and(|class| class.mismatch)
    }
}

/// Features with a new usual level after an alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLevel {
    /// End of the alarm's first window.
    pub since: Timestamp,
    /// The features, in the order of the contract.
    pub features: Vec<String>,
}

/// A combined score and its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Combined {
    /// Weighted mean of the members' standardised scores, smoothed as the document says.
    pub score: f64,
    /// Score above which the window is anomalous.
    pub threshold: f64,
}

/// Result of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberScore {
    /// Kind of model.
    pub kind: String,
    /// Its own score; higher is more anomalous.
    pub decision: f64,
    /// Share of the calibration rows with a lower decision score, 0 to 1.
    pub calibrated: f64,
    /// Decision score above which it votes for an alarm.
    pub threshold: f64,
    /// Its vote.
    pub vote: bool,
}

/// Kind of fault of an alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosed {
    /// The kind, a label of the scenarios it was learned from; `unknown` if it is similar to none.
    pub kind: String,
    /// The most likely kind, also if `unknown` is returned.
    pub nearest: String,
    /// Probability of the most likely kind, 0 to 1, under the assumption that it is one of the
    /// learned kinds.
    pub probability: f64,
    /// Similarity of the row to the usual pattern of that kind, -1 to 1.
    pub likeness: f64,
}

/// A feature's part in an alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The feature.
    pub feature: String,
    /// Its share of the score, 0 to 1.
    pub share: f64,
    /// Its value; absent if the sample was missing.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// 1st percentile of the calibration rows.
    pub usual_low: f64,
    /// 99th percentile of the calibration rows.
    pub usual_high: f64,
}
