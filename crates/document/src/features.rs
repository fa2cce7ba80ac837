//! The section `features`: features that are computed from the samples.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How gaps in the samples are filled before features are computed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Nothing: a gap stays a gap.
    #[default]
    None,
    /// The last value, for at most `max_windows` windows.
    Forward(ForwardFill),
    /// Zero.
    Zero,
    /// Windows with a gap are left out.
    DropRow,
}

/// Carries the last value forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardFill {
    /// Longest gap that is filled, in windows. The rest of a longer gap stays a gap.
    pub max_windows: u32,
}

/// One rule that computes features from sample columns; `*` selects every sample column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureRule {
    /// The sample itself.
    Raw(Columns),
    /// Statistics over a trailing window that ends with the row.
    Rolling(Rolling),
    /// The sample minus the sample `lag` earlier.
    Difference(Difference),
    /// Increase of a counter per second since the previous sample. A counter that fell was reset to
    /// zero.
    Rate(Columns),
    /// One column divided by another; missing if the divisor is zero.
    Ratio(Ratio),
    /// Distance of an entity from the others of its group at the same time.
    Peers(Peers),
    /// Time of day and day of week on the unit circle, in UTC.
    Calendar(Calendar),
}

/// The columns a rule applies to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// Sample columns: `*` selects all, `name*` those that begin with `name`, and a leading `!`
    /// excludes columns.
    #[serde(default = "all")]
    pub columns: Vec<String>,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Statistics over a trailing window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rolling {
    /// Sample columns: `*` selects all, `name*` those that begin with `name`, and a leading `!`
    /// excludes columns.
    #[serde(default = "all")]
    pub columns: Vec<String>,
    /// Length of the window: a whole number of steps. It has `window / step` rows.
    pub window: Span,
    /// Statistics that are computed over the window.
    pub statistics: Vec<Statistic>,
    /// Share of the window's rows that must have a value, 0 to 1. With fewer the result is missing.
    #[serde(default = "half")]
    pub min_share: f64,
}

fn half() -> f64 {
    0.5
}

/// A statistic over the values of a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Arithmetic mean.
    Mean,
    /// Standard deviation, divided by n.
    Std,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
    /// Quantile, 0 to 1, with linear interpolation between order statistics.
    Quantile(f64),
}

/// A difference in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Sample columns: `*` selects all, `name*` those that begin with `name`, and a leading `!`
    /// excludes columns.
    #[serde(default = "all")]
    pub columns: Vec<String>,
    /// Time between the two samples that are subtracted: a whole number of steps.
    pub lag: Span,
}

/// One column divided by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// Name of the new column; it should end with `_ratio` or its unit.
    pub name: String,
    /// Unit of the new column.
    #[serde(default = "ratio")]
    pub unit: String,
    /// The column to divide.
    pub numerator: String,
    /// The column to divide by.
    pub denominator: String,
}

fn ratio() -> String {
    "ratio".to_owned()
}

/// Distance of an entity from the others of its group at the same time.
///
/// The feature `<column>_peer_deviation` is the value minus the median of the group, in usual
/// spreads of the group. The spread is 1.4826 times the median absolute deviation, and the usual
/// spread is its median over the window. Medians stay correct while fewer than half of the group
/// are faulty.
///
/// With `own` the feature is the change of that distance: nodes that always differ are compared
/// with their usual difference, so that a small departure of one of them is found, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// Sample columns: `*` selects all, `name*` those that begin with `name`, and a leading `!`
    /// excludes columns.
    #[serde(default = "all")]
    pub columns: Vec<String>,
    /// Time over which the usual spread, and with `own` the usual distance, is measured: a whole
    /// number of steps. A longer window adapts more slowly.
    pub window: Span,
    /// Whether the distance of an entity from its group is compared with its usual distance over
    /// `window`. Then the feature is the distance minus its median, in spreads of the distance
    /// itself. A departure that lasts longer than half of the window becomes usual. Without `own`
    /// an entity that always departs always has a large value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// Fewest entities of a group with a value, including the entity itself, 3 or more. With fewer
    /// the feature is missing.
    #[serde(default = "three")]
    pub min_entities: u32,
    /// Smallest usual spread, as a share of the median, 0 to 1; larger ignores small deviations
    /// among entities that are nearly equal.
    #[serde(default = "one_percent")]
    pub min_spread_ratio: f64,
    /// Largest deviation in spreads, above 0. Larger deviations are clipped to this value.
    #[serde(default = "ten")]
    pub clip: f64,
    /// Groups of entities that are compared with each other. Each group is a list of patterns of
    /// entity names, such as `[control-*]`. An entity belongs to the first group with a matching
    /// pattern, or to no group. Without groups all entities are one group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Vec<String>>,
    /// Sample column that says the group, instead of `groups`: entities with the same value at a
    /// time are compared with each other, and those without a value are one more group. It is a column
    /// of texts (`entity.texts` of a source), such as a role or pool, or of numbers, such as that of CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
}

impl Peers {
    /// Suffix of the names of the features.
    pub const SUFFIX: &str = "_peer_deviation";
}

fn three() -> u32 {
    3
}

fn one_percent() -> f64 {
    0.01
}

fn ten() -> f64 {
    10.0
}

/// Calendar features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// Sine and cosine of the time of day.
    #[serde(default)]
    pub hour_of_day: bool,
    /// Sine and cosine of the day of the week.
    #[serde(default)]
    pub day_of_week: bool,
}

/// Returns the history that the features of one window need: the longest lookback of any rule, and
/// the earlier values that a forward fill may use.
///
/// A rolling window of `w` holds `w / step` rows, the window itself among them, so it reaches back
/// `w - step`; a difference reaches back its lag, a rate one step. A window that is scored with
/// this much history has the same features as in a batch.
pub fn lookback(step: Span, features: &[FeatureRule], fill: &Fill) -> Span {
    let steps = |rule: &FeatureRule| match rule {
        FeatureRule::Rolling(rule) => rule.window.in_steps(step).saturating_sub(1),
        FeatureRule::Difference(rule) => rule.lag.in_steps(step),
        FeatureRule::Peers(rule) => rule.window.in_steps(step).saturating_sub(1),
        FeatureRule::Rate(_) => 1,
        FeatureRule::Raw(_) | FeatureRule::Ratio(_) | FeatureRule::Calendar(_) => 0,
    };
    let reach = features.iter().map(steps).max().unwrap_or(0);
    let filled = match fill {
        Fill::Forward(fill) => usize::try_from(fill.max_windows).unwrap_or(usize::MAX),
        Fill::None | Fill::Zero | Fill::DropRow => 0,
    };
    let rows = i64::try_from(reach.saturating_add(filled)).unwrap_or(i64::MAX);
    Span::from_ms(rows.saturating_mul(step.ms()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    fn parsed(fill: &str, features: &str) -> Result<Document, contract::StepError> {
        let text = format!(
            "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: r}}, \
             queries: [{{name: a, promql: a}}]}}}}\nfill: {fill}\nfeatures: {features}\n\
             models: {{z_score: {{}}}}\nvote: {{combine: votes, weights: {{z_score: 1}}, \
             alarm_at: 1, threshold: {{quantile: {{share: 0.99}}}}}}\n"
        );
        crate::read::parse("x.yaml", &text)
    }

    fn document(fill: &str, features: &str) -> Document {
        parsed(fill, features).unwrap()
    }

    #[test]
    fn peers_need_whole_steps_and_three_entities() {
        for (rule, field) in [
            ("{window: 90s}", "peers.window"),
            ("{window: 5m, min_entities: 2}", "peers.min_entities"),
            ("{window: 5m, min_spread_ratio: 2}", "peers.min_spread_ratio"),
            ("{window: 5m, clip: 0}", "peers.clip"),
            ("{window: 5m, columns: [b]}", "peers.columns"),
            ("{window: 5m, group_by: role}", "peers.group_by"),
            ("{window: 5m, group_by: a, groups: [[x]]}", "peers.group_by"),
        ] {
            let error = parsed("none", &format!("[{{peers: {rule}}}]")).unwrap_err();
            assert!(error.message.contains(field), "{rule}: {}", error.message);
        }
    }

    #[test]
    fn the_lookback_is_the_longest_reach_plus_the_fill() {
        let rolling = "{rolling: {window: 5m, statistics: [mean]}}";
        for (fill, features, expected) in [
            ("none", "[{raw: {}}]".to_owned(), 0),
            ("none", format!("[{{raw: {{}}}}, {rolling}]"), 4),
            ("none", "[{rate: {}}]".to_owned(), 1),
            ("none", "[{peers: {window: 6m}}]".to_owned(), 5),
            ("none", format!("[{rolling}, {{difference: {{lag: 7m}}}}]"), 7),
            ("{forward: {max_windows: 3}}", format!("[{rolling}]"), 7),
            ("zero", format!("[{rolling}]"), 4),
        ] {
            let expected = Span::from_seconds(60 * expected);
            let document = document(fill, &features);
            let reach = lookback(document.step, &document.features, &document.fill);
            assert_eq!(reach, expected, "{fill} {features}");
        }
    }
}
