//! Requirements on features for training.

use contract::Span;
pub use contract::validation::Severity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One expectation on the feature table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// Number of rows, without warm-up rows.
    RowCount(RowCount),
    /// Time increases from row to row of each entity.
    TimeMonotonic(Check),
    /// No entity has two rows at one time.
    TimeUnique(Check),
    /// Share of gaps in a column.
    NullShare(NullShare),
    /// Values between two bounds.
    Range(Range),
    /// Values from a list.
    AllowedValues(AllowedValues),
    /// Columns that must not be constant.
    Constant(ColumnCheck),
    /// Age of the last row.
    Freshness(MaxSpan),
    /// Longest time between two rows of an entity.
    GapLength(MaxSpan),
}

/// An expectation without a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Effect of a failure.
    #[serde(default)]
    pub severity: Severity,
}

/// Number of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowCount {
    /// Fewest rows.
    #[serde(default)]
    pub min: u64,
    /// Most rows. The default is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Effect of a failure.
    #[serde(default)]
    pub severity: Severity,
}

/// Share of gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NullShare {
    /// Features: `*` selects all, `name*` those that begin with `name`, and a leading `!` excludes
    /// features.
    #[serde(default = "all")]
    pub columns: Vec<String>,
    /// Largest share of gaps, 0 to 1.
    pub max: f64,
    /// Effect of a failure.
    #[serde(default)]
    pub severity: Severity,
}

/// Bounds of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Features: `*` selects all, `name*` those that begin with `name`, and a leading `!` excludes
    /// features.
    #[serde(default = "all")]
    pub columns: Vec<String>,
    /// Smallest value, in the column's unit. The default is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest value, in the column's unit. The default is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Largest share of rows outside the bounds, 0 to 1.
    #[serde(default)]
    pub max_outside_ratio: f64,
    /// Effect of a failure.
    #[serde(default)]
    pub severity: Severity,
}

/// Values from a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowedValues {
    /// Features: `*` selects all, `name*` those that begin with `name`, and a leading `!` excludes
    /// features.
    pub columns: Vec<String>,
    /// Allowed values, at least one.
    pub values: Vec<f64>,
    /// Effect of a failure.
    #[serde(default)]
    pub severity: Severity,
}

/// An expectation on columns, without a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnCheck {
    /// Features: `*` selects all, `name*` those that begin with `name`, and a leading `!` excludes
    /// features.
    #[serde(default = "all")]
    pub columns: Vec<String>,
    /// Effect of a failure.
    #[serde(default)]
    pub severity: Severity,
}

/// An upper limit of a duration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxSpan {
    /// Longest duration that is accepted.
    pub max: Span,
    /// Effect of a failure.
    #[serde(default)]
    pub severity: Severity,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}
