//! How scores become verdicts: the part of the document that travels inside the bundle.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Decimal, Span};

/// How the members' scores become one verdict per window and entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// What is added up.
    pub combine: Combine,
    /// Weight of each model, by its kind; a model without one has weight 1.
    #[serde(default)]
    pub weights: BTreeMap<String, Decimal>,
    /// Sum of the weights of the models that must agree for an alarm; for `combine: votes` only.
    #[serde(default = "one")]
    pub alarm_at: Decimal,
    /// Trailing mean over this long, applied to the combined score; for `combine: mean` only. An
    /// alarm may come later by as much.
    #[serde(default)]
    pub smoothing: Span,
    /// Where anomalous begins.
    pub limit: Limit,
}

fn one() -> Decimal {
    Decimal::ONE
}

impl Vote {
    /// Returns the weight of a member; 1 where the document gives none.
    pub fn weight(&self, member: &str) -> Decimal {
        self.weights.get(member).copied().unwrap_or(Decimal::ONE)
    }
}

/// What is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Each model votes yes or no against its own limit; the weights of the yes votes are added
    /// exactly and held against `alarm_at`.
    Votes,
    /// The models' standardised scores are averaged with the weights, smoothed, and held against
    /// one limit.
    Mean,
}

/// Where anomalous begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// A fixed limit from the calibration part of the training data.
    Quantile(QuantileLimit),
    /// A limit that follows the detector's own recent scores.
    Trailing(TrailingLimit),
}

/// A fixed limit: the score that this share of the calibration rows stays at or below.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuantileLimit {
    /// Share of calibration rows at or below the limit, between 0 and 1.
    pub share: f64,
}

/// A limit that follows drift: so many times the usual deviation above the median of the recent
/// scores, and never below the fixed limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrailingLimit {
    /// How far back scores are remembered.
    pub history: Span,
    /// Deviations (1.4826 times the median absolute deviation) above the median of the history.
    pub times: f64,
    /// Floor: the score that this share of the calibration rows stays at or below.
    pub share: f64,
}

impl Limit {
    /// Returns the share of calibration rows that stays at or below the fixed limit or floor.
    pub fn share(&self) -> f64 {
        match self {
            Self::Quantile(limit) => limit.share,
            Self::Trailing(limit) => limit.share,
        }
    }
}
