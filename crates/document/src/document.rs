//! The pipeline document: every section, its fields, their units and defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::rules::Vote;
use contract::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alerts::Alerts;
use crate::classify::{Classify, Task};
use crate::collect::Collect;
use crate::expectations::Expectation;
use crate::features::{FeatureRule, Fill};
use crate::models::Models;
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
    /// What is asked of the data: `anomaly` or `classify`.
    #[serde(default, skip_serializing_if = "Task::is_anomaly")]
    pub task: Task,
    /// What it watches, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Name of the profile of `profiles` that is laid over the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Partial documents by name; `profile` says which one is laid over this document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, serde_json::Value>,
    /// Distance between windows, and between samples: a whole number of seconds, 1s or more.
    /// Smaller finds faults sooner and costs more requests, rows and memory.
    pub step: Span,
    /// Length of the training data, ending at the evaluation time; at least one `step`, at most
    /// 50,000,000 steps. Longer sees more rhythms of the day and week, and takes longer.
    pub range: Span,
    /// Evaluation time of `lynceus run` and `lynceus score` without `--now`: `clock` (default) or
    /// `last_row`.
    #[serde(default, skip_serializing_if = "Present::is_clock")]
    pub now: Present,
    /// Text that replaces `$rate_window` in every query; greater than 0s. Longer is smoother and
    /// slower: it should hold at least four scrapes.
    #[serde(default = "five_minutes")]
    pub rate_window: Span,
    /// Where samples come from, by name; the samples of several are joined on time and entity.
    pub sources: BTreeMap<String, Source>,
    /// How samples are collected.
    #[serde(default)]
    pub collect: Collect,
    /// Which windows are known to be anomalous.
    #[serde(default)]
    pub labels: Labels,
    /// What becomes of gaps.
    #[serde(default)]
    pub fill: Fill,
    /// Into how many parts the entities are divided: of large clusters.
    #[serde(default, skip_serializing_if = "Shards::is_whole")]
    pub shards: Shards,
    /// What is made of the samples, in order.
    pub features: Vec<FeatureRule>,
    /// What the features must look like to be trained on.
    #[serde(default)]
    pub expectations: Vec<Expectation>,
    /// How the rows are split, in order of time.
    #[serde(default)]
    pub split: Split,
    /// Seed of everything random, 0 or more. The same seed gives the same bytes.
    #[serde(default)]
    pub seed: u64,
    /// The models and their parameters.
    #[serde(default)]
    pub models: Models,
    /// How their scores become a verdict: of `task: anomaly`.
    #[serde(default)]
    pub vote: Vote,
    /// Classes, models and bounds: of `task: classify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classify: Option<Classify>,
    /// When a new version takes over.
    #[serde(default)]
    pub gate: Gate,
    /// Where a new version goes.
    #[serde(default)]
    pub deployment: Deployment,
    /// When windows are scored.
    #[serde(default)]
    pub scoring: Scoring,
    /// Where scores are published, by a name of your own; nowhere by default. Each sink follows the
    /// scores in the store on its own, and one that fails delays neither a score nor an alert.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exports: BTreeMap<String, Sink>,
    /// Alerts: which, when, and through which channels.
    #[serde(default)]
    pub alerts: Alerts,
    /// Where trainings are mirrored to.
    #[serde(default, skip_serializing_if = "Tracking::is_empty")]
    pub tracking: Tracking,
    /// Times of the bundled sample, for `lynceus run --sample`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
}

impl Document {
    /// Returns the settings of `task: classify`; nothing for another task.
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
    /// The time of the last row of the document's tables: for files that do not grow.
    LastRow,
}

impl Present {
    /// Says that it is the clock.
    pub fn is_clock(&self) -> bool {
        *self == Self::Clock
    }
}

/// Times of a bundled sample: what comes before `train_until` is trained on, what follows is
/// scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The present of the training.
    #[schemars(with = "String")]
    pub train_until: Timestamp,
    /// The present of the scoring.
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
    /// 0s or longer. Longer ignores more of the rows whose label is uncertain.
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
    /// What is kept together: rows of a time, or all rows of an entity.
    #[serde(skip_serializing_if = "SplitBy::is_time")]
    pub by: SplitBy,
    /// Seed that draws the entities of each part, for `by: entity`. The default is the document's
    /// `seed`.
    #[serde(skip_serializing_if = "is_zero")]
    pub seed: u64,
    /// Share of the range that calibrates scores and thresholds, above 0; `validation` and `test`
    /// add up to less than 1.
    pub validation: f64,
    /// Share of the range that is only measured on, 0 to 1.
    pub test: f64,
    /// Time left out between the parts, 0s or longer, so that no feature looks into two of them;
    /// the longest lookback is a good choice.
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
    /// Whole entities, drawn with `seed`: the test part measures how a model does on
    /// entities that it has never seen. `gap` does not count, and shares are those of entities.
    Entity,
}

impl SplitBy {
    /// Says that rows of a time are kept together.
    pub fn is_time(&self) -> bool {
        *self == Self::Time
    }
}

/// When a new version takes over from the live one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Share of normal rows that a version may call anomalous, 0 to 1: of the test part where it
    /// has rows, else of the validation part. The bound is absolute: one above it is not promoted,
    /// however bad the champion is.
    pub max_false_alarm_ratio: f64,
    /// How much lower than the champion's a challenger's metric may be, 0 to 1: average precision
    /// with labels, share of inliers without.
    pub max_regression: f64,
    /// What becomes of a worse challenger.
    pub on_worse: OnWorse,
}

impl Default for Gate {
    fn default() -> Self {
        Self { max_false_alarm_ratio: 0.1, max_regression: 0.02, on_worse: OnWorse::Keep }
    }
}

/// What becomes of a challenger that is worse than the champion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnWorse {
    /// It is registered and not promoted; the run succeeds with a warning. Where no model is live
    /// at all, the run ends with exit code 3.
    Keep,
    /// It is registered and not promoted; the run ends with exit code 3.
    Stop,
}

/// Where a new version goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deployment {
    /// Alias that a promoted version gets; `score` uses the version it names.
    pub alias: String,
}

impl Default for Deployment {
    fn default() -> Self {
        Self { alias: "live".into() }
    }
}
