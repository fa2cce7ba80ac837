//! When windows are scored.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When windows are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scoring {
    /// How often a scorer is started.
    pub every: Span,
    /// How long to wait for late scrapes before a window is due.
    pub delay: Span,
    /// How far back missed windows are caught up; older ones are given up.
    pub catch_up: Span,
    /// How long no window may be scored, though one is due, before the channels are notified that
    /// scoring has stopped and why; they are notified again when it resumes.
    pub stalled_after: Span,
    /// Share of a window's features that must be there for it to be scored; others are `no_data`.
    pub min_completeness: f64,
    /// Alias of a version that scores the same windows without telling anybody, if it is set.
    pub shadow: String,
    /// How far the last day may be from the training data before a feature is said to drift.
    pub drift: DriftThresholds,
}

impl Default for Scoring {
    fn default() -> Self {
        Self {
            every: Span::from_seconds(60),
            delay: Span::from_seconds(30),
            catch_up: Span::from_seconds(86_400),
            stalled_after: Span::from_seconds(300),
            min_completeness: 0.5,
            shadow: "shadow".into(),
            drift: DriftThresholds::default(),
        }
    }
}

/// What a feature may differ from the training data by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DriftThresholds {
    /// Population stability index of the last day; 0.1 is a small shift, 0.25 a large one.
    pub stability_index: f64,
    /// Share of the last day's rows without a value, beyond the usual share.
    pub missing_ratio: f64,
    /// Start a training when the drift alert fires; without it, drift starts none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrain: Option<Retrain>,
}

impl Default for DriftThresholds {
    fn default() -> Self {
        Self { stability_index: 0.25, missing_ratio: 0.1, retrain: None }
    }
}

/// A training that drift starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retrain {
    /// Shortest time between two of them, however the first one ended.
    pub pause: Span,
}

impl Default for Retrain {
    fn default() -> Self {
        Self { pause: Span::from_seconds(86_400) }
    }
}
