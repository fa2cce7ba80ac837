//! How samples are collected, whatever the source.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How samples are collected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// How old a window is before it becomes `no_data` because the server fails at it or answers
    /// it incompletely. Until then it waits, and a short outage costs no window. While the server
    /// cannot be reached at all nothing is given up: `scoring.catch_up` bounds that.
    pub give_up_after: Span,
    /// What becomes of values that the server itself calls incomplete.
    pub partial_answers: PartialAnswers,
}

impl Default for Collect {
    fn default() -> Self {
        Self { give_up_after: Span::from_seconds(600), partial_answers: PartialAnswers::Refuse }
    }
}

/// What becomes of an answer that the server says lacks data: `isPartial` of `VictoriaMetrics`,
/// `warnings` of Thanos, Mimir and remote reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartialAnswers {
    /// Its values are not used: the windows of a scoring become `no_data`, those of a training are
    /// missing values, which the expectation `null_share` bounds.
    #[default]
    Refuse,
    /// Its values are used as if they were complete, with a warning.
    Score,
}
