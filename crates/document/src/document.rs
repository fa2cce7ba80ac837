//! The pipeline document: every section, its fields, their units and defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::rules::Vote;
use contract::{Span, Timestamp};
use detectors::settings::Models;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alerts::Alerts;
use crate::classify::{Classify, Task};
use crate::collect::Collect;
use crate::expectations::Expectation;
use crate::features::{FeatureRule, Fill};
use crate::scoring::Scoring;
use crate::shards::Shards;
use crate::sinks::Sink;
use crate::sources::Source;
use crate::tracking::Tracking;

/// A pipeline: its data sources, features, models, and alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Version of the document format; this program reads 1.
    pub format: u32,
    /// Name of the pipeline: lower-case letters, digits and `-`; a part of every store key.
    pub name: String,
    /// What the pipeline finds out: `anomaly` (is a window unusual?) or `classify` (which class is
    /// an entity?).
    #[serde(default, skip_serializing_if = "Task::is_anomaly")]
    pub task: Task,
    /// What the pipeline watches, in one sentence.
    #[serde(default)]
    pub description: String,
    /// Name of the profile in `profiles` that is applied over the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Partial documents by name; `profile` selects the one that is applied over this document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, serde_json::Value>,
    /// Time between two windows, and between two samples: a whole number of seconds, 1s or more. A
    /// smaller step finds faults sooner, and needs more requests, rows and memory.
    pub step: Span,
    /// Length of the training data, ending at the evaluation time; at least one `step`, at most
    /// 50,000,000 steps. A longer range covers more of the rhythms of the day and the week, and
    /// takes longer to train on.
    pub range: Span,
    /// Evaluation time of `lynceus run` and `lynceus score` without `--now`: `clock` (default) or
    /// `last_row`.
    #[serde(default, skip_serializing_if = "Present::is_clock")]
    pub now: Present,
    /// Text that replaces `$rate_window` in every query; greater than 0s. A longer window is
    /// smoother and reacts more slowly. It should contain at least four scrapes.
    #[serde(default = "five_minutes")]
    pub rate_window: Span,
    /// The sources of the samples, by name. The samples of several sources are joined on time and
    /// entity.
    pub sources: BTreeMap<String, Source>,
    /// How samples are collected.
    #[serde(default)]
    pub collect: Collect,
    /// Which windows are known to be anomalous.
    #[serde(default)]
    pub labels: Labels,
    /// How gaps in the samples are filled.
    #[serde(default)]
    pub fill: Fill,
    /// Number of parts into which the entities of a large pipeline are divided.
    #[serde(default, skip_serializing_if = "Shards::is_default")]
    pub shards: Shards,
    /// Rules that compute the features from the samples, in order.
    pub features: Vec<FeatureRule>,
    /// Conditions that the features must meet before a training.
    #[serde(default)]
    pub expectations: Vec<Expectation>,
    /// How the rows are split, in order of time.
    #[serde(default)]
    pub split: Split,
    /// Seed of all random numbers, 0 or more. The same seed gives the same bytes.
    #[serde(default)]
    pub seed: u64,
    /// The models and their parameters.
    #[serde(default)]
    pub models: Models,
    /// How the scores of the models become a verdict, for `task: anomaly`.
    #[serde(default)]
    pub vote: Vote,
    /// Classes, models and limits, for `task: classify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classify: Option<Classify>,
    /// Conditions under which a new version is promoted.
    #[serde(default)]
    pub gate: Gate,
    /// The alias that a new version gets.
    #[serde(default)]
    pub deployment: Deployment,
    /// When windows are scored.
    #[serde(default)]
    pub scoring: Scoring,
    /// Sinks to which scores are published, each with a name that you choose; none by default. Each
    /// sink reads the scores in the store with its own cursor, so a failing sink delays neither
    /// scores nor alerts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exports: BTreeMap<String, Sink>,
    /// Which alerts are sent, when, and through which channels.
    #[serde(default)]
    pub alerts: Alerts,
    /// Servers into which trainings are mirrored.
    #[serde(default, skip_serializing_if = "Tracking::is_empty")]
    pub tracking: Tracking,
    /// Times of the bundled sample, for `lynceus run --sample`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
}

impl Document {
    /// Returns the settings of `task: classify`; `None` for another task.
    pub fn classification(&self) -> Option<&Classify> {
        self.task.classification(self.classify.as_ref())
    }

    /// Returns every kind of model that the task trains, in the order of their names.
    pub fn trained(&self) -> Vec<&'static str> {
        self.task.trained(&self.models, self.classify.as_ref())
    }
}

/// The evaluation time of a run or tick that has no `--now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Present {
    /// The clock.
    #[default]
    Clock,
    /// The time of the last row of the document's tables, for files to which no rows are added.
    LastRow,
}

impl Present {
    /// Returns whether it is the clock.
    pub fn is_clock(&self) -> bool {
        *self == Self::Clock
    }
}

/// Times of a bundled sample. The rows up to `train_until` are used for training, and the rows
/// after it are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Evaluation time of the training.
    #[schemars(with = "String")]
    pub train_until: Timestamp,
    /// Evaluation time of the scoring.
    #[schemars(with = "String")]
    pub score_until: Timestamp,
}

fn five_minutes() -> Span {
    Span::from_seconds(300)
}

/// Which windows are known to be anomalous.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Labels {
    /// Scenario log, relative to the document: CSV with start, end, label and target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenarios: Option<PathBuf>,
    /// Rows within this time of a scenario's start or end count neither as normal nor as anomalous;
    /// 0s or longer. A longer guard ignores more of the rows with an uncertain label.
    pub guard: Span,
    /// Labels that mean normal; every other label means anomalous.
    pub normal: Vec<String>,
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            scenarios: None,
            guard: Span::ZERO,
            normal: vec!["normal".into(), "benign".into(), "0".into()],
        }
    }
}

/// How the rows are split into train, validation and test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Split {
    /// What is kept in one part: rows of the same time, or all rows of an entity.
    #[serde(skip_serializing_if = "SplitBy::is_time")]
    pub by: SplitBy,
    /// Seed that draws the entities of each part, for `by: entity`. The default is the document's
    /// `seed`.
    #[serde(skip_serializing_if = "is_zero")]
    pub seed: u64,
    /// Share of the range that calibrates scores and thresholds, above 0; `validation` and `test`
    /// add up to less than 1.
    pub validation: f64,
    /// Share of the range that is used only for metrics, 0 to 1.
    pub test: f64,
    /// Time left out between the parts, 0s or longer, so that no feature uses samples of two parts.
    /// The longest lookback is a good choice.
    pub gap: Span,
}

impl Default for Split {
    fn default() -> Self {
        Self { by: SplitBy::Time, seed: 0, validation: 0.2, test: 0.2, gap: Span::ZERO }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a split keeps together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// The rows in order of time: train, then validation, then test, with `gap` between them.
    #[default]
    Time,
    /// Whole entities, drawn with `seed`: the test part measures a model on entities that it has
    /// never seen. `gap` has no effect, and the shares are shares of entities.
    Entity,
}

impl SplitBy {
    /// Returns whether rows of the same time are kept together.
    pub fn is_time(&self) -> bool {
        *self == Self::Time
    }
}

/// Conditions under which a new version replaces the live one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Share of normal rows that a version may call anomalous, 0 to 1: of the test part if it has
    /// rows, else of the validation part. The limit is absolute: a version above it is not
    /// promoted, even if the champion is worse.
    pub max_false_alarm_ratio: f64,
    /// How much lower the challenger's metric may be than the champion's, 0 to 1: average precision
    /// with labels, share of inliers without.
    pub max_regression: f64,
    /// What happens with a worse challenger.
    pub on_worse: OnWorse,
}

impl Default for Gate {
    fn default() -> Self {
        Self { max_false_alarm_ratio: 0.1, max_regression: 0.02, on_worse: OnWorse::Keep }
    }
}

/// What happens with a challenger that is worse than the champion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnWorse {
    /// It is registered and not promoted, and the run succeeds with a warning. If no model is live,
    /// the run ends with exit code 3.
    Keep,
    /// It is registered and not promoted, and the run ends with exit code 3.
    Stop,
}

/// The alias that a new version gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deployment {
    /// Alias that a promoted version gets; `score` uses the version that it points at.
    pub alias: String,
}

impl Default for Deployment {
    fn default() -> Self {
        Self { alias: "live".into() }
    }
}
