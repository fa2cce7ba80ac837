//! When windows are scored.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When windows are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scoring {
    /// Time between two ticks, greater than 0s; also the deadline of a tick.
    pub every: Span,
    /// Time to wait for late scrapes before a window is due, 0s or longer. With a shorter delay
    /// alerts are sooner, and more windows are incomplete.
    pub delay: Span,
    /// How far back missed windows are scored, at least one `step`. Older windows are skipped with
    /// a warning.
    pub catch_up: Span,
    /// Time without a scored window, though one is due, after which the channels are notified that
    /// scoring has stopped and why; greater than 0s. They are notified again when it resumes.
    pub stalled_after: Span,
    /// Share of a window's features that must have a value for it to be scored, 0 to 1. With fewer
    /// the window is `no_data`.
    pub min_completeness: f64,
    /// Alias of a version that scores the same windows without sending alerts; none by default.
    pub shadow: String,
    /// How far the last day may differ from the training data before a feature counts as drifted.
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

/// How far a feature may differ from the training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DriftThresholds {
    /// Population stability index of the last day above which a feature has drifted, 0 or more; 0.1
    /// is a small shift, 0.25 a large one.
    pub stability_index: f64,
    /// Share of the last day's rows without a value, beyond the share in training, above which a
    /// feature has drifted, 0 to 1.
    pub missing_ratio: f64,
    /// Start a training when the drift alert fires. Without it drift starts no training.
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
    /// Shortest time between two trainings that drift starts, greater than 0s, whatever the result
    /// of the first.
    pub pause: Span,
}

impl Default for Retrain {
    fn default() -> Self {
        Self { pause: Span::from_seconds(86_400) }
    }
}
