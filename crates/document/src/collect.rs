//! Settings of `collect` for all kinds of sources.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How samples are collected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// Age at which a window becomes `no_data` if the server fails or answers incompletely for it.
    /// Until then the window waits, so a short outage loses no window. While the server is
    /// unreachable all windows wait, up to `scoring.catch_up`.
    pub give_up_after: Span,
    /// How values are handled that the server marks as incomplete.
    pub partial_answers: PartialAnswers,
}

impl Default for Collect {
    fn default() -> Self {
        Self { give_up_after: Span::from_seconds(600), partial_answers: PartialAnswers::Refuse }
    }
}

/// How an answer is handled that the server marks as incomplete: `isPartial` of `VictoriaMetrics`,
/// `warnings` of Thanos, Mimir and remote reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartialAnswers {
    /// Its values are not used. In scoring the windows become `no_data`. In training the values are
    /// missing, and the expectation `null_share` limits their share.
    #[default]
    Refuse,
    /// Its values are used as if they were complete, with a warning.
    Score,
}
