//! `validation.json`: what was expected of a data set and what was found.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Effect of a failed expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The data set is refused.
    #[default]
    Error,
    /// The outcome has a warning.
    Warn,
}

impl Severity {
    /// Returns its name in a document and in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
        }
    }
}

/// What became of one expectation, on one column where it is about columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The expectation's name in the document.
    pub expectation: String,
    /// The feature column, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<String>,
    /// What a failure does.
    pub severity: Severity,
    /// Whether it holds.
    pub passed: bool,
    /// What must be, in words and figures.
    pub expected: String,
    /// What is.
    pub found: String,
    /// How many rows break it.
    pub failing_rows: u64,
    /// The distinct times of the first of those rows, at most 20.
    pub failing_times: Vec<Timestamp>,
}

impl Finding {
    /// Says whether this refuses the data.
    pub fn refuses(&self) -> bool {
        !self.passed && self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expectation)?;
        if let Some(column) = &self.column {
            write!(f, " of `{column}`")?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)
    }
}

/// The extent of one part of the data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSummary {
    /// `train`, `validation` or `test`.
    pub part: String,
    /// Its rows.
    pub rows: u64,
    /// Time of the first row.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first: Option<Timestamp>,
    /// Time of the last row.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<Timestamp>,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Version of this format.
    pub format: u32,
    /// Whether a data set was made.
    pub passed: bool,
    /// Rows that are no warm-up.
    pub rows: u64,
    /// Rows whose samples do not reach back far enough; they are in no part.
    pub warm_up_rows: u64,
    /// The parts, in order of time.
    pub parts: Vec<PartSummary>,
    /// Every expectation, in the document's order; a column each where it is about columns.
    pub expectations: Vec<Finding>,
}

impl Validation {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the file in the folder of the task.
    pub const FILE: &str = "validation.json";
}
