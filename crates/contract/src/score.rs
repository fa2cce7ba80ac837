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
    /// Version that scored the window before, where it was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched_from: Option<String>,
    /// One verdict for each entity, in the order of their names.
    pub entities: Vec<EntityScore>,
    /// The challenger's verdicts of the same rows; they cause no alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowScore>,
    /// How far the day that ends here is from the training data; in the first window of each hour,
    /// once there is enough of a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Entities of each class, `unknown` among them; only of `task: classify`, where `entities`
    /// holds those whose class has changed and those that differ from their declared class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<BTreeMap<String, u64>>,
}

impl WindowScore {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Makes a window that nothing special happened in.
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

/// Windows that one tick scored more than a tick after they were due: it caught up with missed
/// ticks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateWindows {
    /// When they were scored.
    pub at: Timestamp,
    /// End of the first of them.
    pub first: Timestamp,
    /// End of the last of them.
    pub last: Timestamp,
}

/// `state/<pipeline>/late.json`: the last ticks that came late. It is about the clock, so it lies
/// beside the watermark, whose bytes are the same whenever a window is scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateTicks {
    /// Version of this format.
    pub format: u32,
    /// The windows each of them caught up, oldest first.
    pub ticks: Vec<LateWindows>,
}

impl LateTicks {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the state.
    pub const NAME: &str = "late";
}

/// What the bundle said that the alias `shadow` names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowScore {
    /// Version of that bundle.
    pub version: String,
    /// One verdict for each entity, in the order of their names, without causes.
    pub entities: Vec<EntityScore>,
}

/// How far the features of the last day are from the reference rows of the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// End of the first window that counts.
    pub since: Timestamp,
    /// Rows that count: windows times entities.
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

/// How far one feature is from its reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureDrift {
    /// The feature.
    pub feature: String,
    /// Population stability index less what it would be by chance, at least 0; absent where the
    /// day or the reference has no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability_index: Option<f64>,
    /// Share of the rows without a value.
    pub missing_ratio: f64,
    /// The same share of the reference rows.
    pub usual_missing_ratio: f64,
    /// Says that one of the two is further off than the document allows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drifted: bool,
}

/// What is thought of an entity in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It behaves as it used to.
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

/// The verdict on one entity and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityScore {
    /// Name of the entity; empty for a whole cluster.
    pub entity: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Share of the features that were there, 0 to 1.
    pub completeness: f64,
    /// Sum of the weights of the models that voted for an alarm, exact.
    pub votes: Decimal,
    /// Combined score and its threshold; for `combine: mean` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined: Option<Combined>,
    /// What each model said; empty without data.
    pub members: Vec<MemberScore>,
    /// The features that contributed most, largest share first; for anomalous windows only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// True if the score has been above the higher of two thresholds since the alarm began: worth
    /// waking a person. Only a threshold by expected false alarms has two.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// Features whose usual level has moved far from that of the training data, in the order of
    /// the contract; no alarm by itself. Only models that follow drift say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drifting: Vec<String>,
    /// Features on a new usual level since the alarm that ended in the last hour: the change has
    /// lasted and is taken for usual by now. Only models that follow drift say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_level: Option<NewLevel>,
    /// Features that training knew and that have had no value for more than 15 rows, in the order
    /// of the contract; no alarm by itself. Only models that follow signals say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Which kind of fault an alarm is taken for; only where the bundle has a second stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosed>,
    /// Why there is no data, where the source said so: its answer was incomplete, ambiguous or
    /// refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which class it is; only of `task: classify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<EntityClass>,
}

impl EntityScore {
    /// Says that it is not what it declares.
    pub fn is_mismatch(&self) -> bool {
        self.class.as_ref().is_some_and(|class| class.mismatch)
    }
}

/// Features that an alarm left on a new usual level.
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
    /// Above it the window is anomalous.
    pub threshold: f64,
}

/// What one model said.
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

/// Which kind of fault an alarm is taken for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosed {
    /// The kind, a label of the scenarios it was learned from; `unknown` where it is like none.
    pub kind: String,
    /// The likeliest kind, known or not.
    pub nearest: String,
    /// Probability of the likeliest kind, 0 to 1, as if it had to be one of those learned.
    pub probability: f64,
    /// How much the row is like the usual pattern of that kind, -1 to 1.
    pub likeness: f64,
}

/// A feature's part in an alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The feature.
    pub feature: String,
    /// Its share of the score, 0 to 1.
    pub share: f64,
    /// Its value; absent where the sample was missing.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// 1st percentile of the calibration rows.
    pub usual_low: f64,
    /// 99th percentile of the calibration rows.
    pub usual_high: f64,
}
