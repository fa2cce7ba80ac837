//! What features must look like to be trained on.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One expectation on the feature table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// Rows that are not warm-up.
    RowCount(RowCount),
    /// Time grows from row to row of each entity.
    TimeMonotonic(Check),
    /// No entity has two rows at one time.
    TimeUnique(Check),
    /// Share of gaps in a column.
    NullShare(NullShare),
    /// Values between two bounds.
    Range(Range),
    /// Values out of a list.
    AllowedValues(AllowedValues),
    /// Columns that never change.
    Constant(ColumnCheck),
    /// Age of the last row.
    Freshness(MaxSpan),
    /// Longest time between two rows of an entity.
    GapLength(MaxSpan),
}

/// What a failed expectation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The data set is refused.
    #[default]
    Error,
    /// The outcome carries a warning.
    Warn,
}

/// An expectation without a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What a failure does.
    #[serde(default)]
    pub severity: Severity,
}

/// Rows there must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowCount {
    /// Fewest rows.
    #[serde(default)]
    pub min: u64,
    /// Most rows. The default is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// What a failure does.
    #[serde(default)]
    pub severity: Severity,
}

/// Share of gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NullShare {
    /// Feature columns; `*` means all, `name*` all that begin so, a leading `!` takes out again.
    #[serde(default = "all")]
    pub columns: Vec<String>,
    /// Largest share of gaps, 0 to 1.
    pub max: f64,
    /// What a failure does.
    #[serde(default)]
    pub severity: Severity,
}

/// Bounds of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Feature columns; `*` means all, `name*` all that begin so, a leading `!` takes out again.
    #[serde(default = "all")]
    pub columns: Vec<String>,
    /// Smallest value, in the column's unit. The default is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest value, in the column's unit. The default is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Share of rows that may lie outside, 0 to 1.
    #[serde(default)]
    pub max_outside_ratio: f64,
    /// What a failure does.
    #[serde(default)]
    pub severity: Severity,
}

/// Values out of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowedValues {
    /// Feature columns; `*` means all, `name*` all that begin so, a leading `!` takes out again.
    pub columns: Vec<String>,
    /// Values that may occur, at least one.
    pub values: Vec<f64>,
    /// What a failure does.
    #[serde(default)]
    pub severity: Severity,
}

/// An expectation on columns, without a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnCheck {
    /// Feature columns; `*` means all, `name*` all that begin so, a leading `!` takes out again.
    #[serde(default = "all")]
    pub columns: Vec<String>,
    /// What a failure does.
    #[serde(default)]
    pub severity: Severity,
}

/// A longest time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxSpan {
    /// Longest time that is accepted.
    pub max: Span,
    /// What a failure does.
    #[serde(default)]
    pub severity: Severity,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}
