//! How scores become verdicts: the part of the document that is stored in the bundle.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Decimal, Span};

/// How the members' scores become one verdict per window and entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// How the scores are combined.
    pub combine: Combine,
    /// Weight of each model, by its kind. The default of a model is 1.
    #[serde(default)]
    pub weights: BTreeMap<String, Decimal>,
    /// Whether the weights are learned on the validation part, if it has labelled anomalies. They
    /// sum to the number of models. Otherwise each model has weight 1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learn_weights: bool,
    /// Keep only the model that is best by this metric on the validation part, if that part has
    /// labelled anomalies. Otherwise all models vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_by: Option<BestBy>,
    /// Sum of the weights of the models that must agree for an alarm; for `combine: votes` only.
    #[serde(default = "one")]
    pub alarm_at: Decimal,
    /// Time of the trailing mean of the combined score, for `combine: mean` only; 0s means no
    /// smoothing. An alarm may start later by this time.
    #[serde(default)]
    pub smoothing: Span,
    /// Score above which a window is anomalous.
    pub threshold: Threshold,
}

fn one() -> Decimal {
    Decimal::ONE
}

impl Vote {
    /// Returns the weight of a member; 1 if the document has none.
    pub fn weight(&self, member: &str) -> Decimal {
        self.weights.get(member).copied().unwrap_or(Decimal::ONE)
    }
}

impl Default for Vote {
    fn default() -> Self {
        Self {
            combine: Combine::Votes,
            weights: BTreeMap::new(),
            learn_weights: false,
            best_by: None,
            alarm_at: Decimal::ONE,
            smoothing: Span::ZERO,
            threshold: Threshold::FalseAlarms(FalseAlarmThreshold::default()),
        }
    }
}

/// The metric by which one model is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BestBy {
    /// Area under the precision-recall curve: use it if anomalies are rare.
    AveragePrecision,
    /// Area under the ROC curve.
    RocAuc,
}

/// How the scores are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Each model votes yes or no against its own threshold; the weights of the yes votes are added
    /// exactly and compared with `alarm_at`.
    Votes,
    /// The models' standardised scores are averaged with the weights, smoothed, and compared with
    /// one threshold.
    Mean,
}

/// Score above which a window is anomalous.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// A fixed threshold from the calibration part of the training data.
    Quantile(QuantileThreshold),
    /// A threshold that follows the detector's own recent scores.
    Trailing(TrailingThreshold),
    /// A threshold for an accepted number of false alarms a day.
    FalseAlarms(FalseAlarmThreshold),
}

/// A fixed threshold: a quantile of the scores of the calibration rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuantileThreshold {
    /// Share of calibration rows at or below the threshold, above 0 and below 1. A larger share
    /// raises fewer alarms.
    pub share: f64,
}

/// A threshold that follows drift: the median of the recent scores plus `times` their deviation,
/// and at least the fixed threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrailingThreshold {
    /// Time for which an entity's own scores are kept. A longer history adapts more slowly.
    pub history: Span,
    /// Number of robust deviations (1.4826 times the median absolute deviation) above the median of
    /// the history. A larger number raises fewer alarms.
    pub times: f64,
    /// Lowest value of the threshold, as a quantile of the scores of the calibration rows, above 0
    /// and below 1.
    pub share: f64,
}

/// A threshold for an accepted number of false alarms of an entity a day.
///
/// The threshold is the score that the hourly maxima of the last days have exceeded this often. It
/// follows the scores in both directions, within `history`. Training gives the first maxima. If
/// training was too short, they are estimated from a tail that is fitted to its scores (peaks over
/// threshold).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FalseAlarmThreshold {
    /// False alarms accepted in a day, above 0. `per_day` times the days of `history` is at least 1
    /// and at most 72, and at most a quarter of the rows of `history`.
    pub per_day: f64,
    /// False alarms a day that the higher threshold of urgent alarms accepts, above 0. With a
    /// smaller number fewer alarms are urgent.
    pub page_per_day: f64,
    /// Lower level of the hysteresis: an alarm continues while the score is above this quantile of
    /// the calibration scores, 0 to 1. With a smaller share alarms last longer.
    pub stay_share: f64,
    /// Time for which hourly maxima of the score are kept. With a longer history the threshold
    /// varies less, and adapts more slowly.
    pub history: Span,
    /// Rows after the end of an alarm in which a new one needs a score above the highest of that
    /// alarm, or one that is urgent. With 0, an alarm may start again at once. A larger number
    /// reports fewer alarms about the same anomaly, and new faults that follow soon must be larger.
    pub rearm_rows: u32,
}

impl FalseAlarmThreshold {
    /// Most maxima of a history.
    pub const MOST_BLOCKS: usize = 288;
}

impl Default for FalseAlarmThreshold {
    fn default() -> Self {
        Self {
            per_day: 2.0,
            page_per_day: 1.0 / 7.0,
            stay_share: 0.99,
            history: Span::from_seconds(3 * 86_400),
            rearm_rows: 30,
        }
    }
}

impl Threshold {
    /// Returns the share of calibration rows that stays at or below the fixed threshold or floor.
    pub fn share(&self) -> f64 {
        match self {
            Self::Quantile(threshold) => threshold.share,
            Self::Trailing(threshold) => threshold.share,
            Self::FalseAlarms(threshold) => threshold.stay_share,
        }
    }
}
