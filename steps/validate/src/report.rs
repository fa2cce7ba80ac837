//! What was expected and what was found: `validation.json`.

use std::fmt;

use contract::{StepError, Timestamp};
use document::expectations::Severity;
use serde::{Deserialize, Serialize};

/// Result of one expectation, for one column if it is about columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The expectation's name in the document.
    pub expectation: String,
    /// The feature column, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<String>,
    /// Effect of a failure.
    pub severity: Severity,
    /// Whether it holds.
    pub passed: bool,
    /// What must be, in words and figures.
    pub expected: String,
    /// What is.
    pub found: String,
    /// How many rows break it.
    pub failing_rows: usize,
    /// The distinct times of the first of those rows, at most 20.
    pub failing_times: Vec<Timestamp>,
}

impl Finding {
    /// Returns whether this refuses the data.
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
    pub rows: usize,
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
    pub rows: usize,
    /// Rows whose samples do not reach back far enough; they are in no part.
    pub warm_up_rows: usize,
    /// The parts, in order of time.
    pub parts: Vec<PartSummary>,
    /// Every expectation, in the document's order; a column each where it is about columns.
    pub expectations: Vec<Finding>,
}

/// Failed expectations that the error names in full.
const SHOWN_FAILURES: usize = 5;
/// What to do where an expectation does not hold.
const EXPECTATION_HINT: &str = "correct the data, remove queries without data in this source, or \
                                change `expectations` in the document";

impl Validation {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Refuses the data if an expectation of severity `error` does not hold, naming each.
    pub(crate) fn verdict(&self) -> Result<(), StepError> {
        let failed: Vec<String> =
            self.expectations.iter().filter(|f| f.refuses()).map(ToString::to_string).collect();
        let shown = failed.iter().take(SHOWN_FAILURES).cloned().collect::<Vec<_>>().join("; ");
        let more = match failed.len().saturating_sub(SHOWN_FAILURES) {
            0 => String::new(),
            more => format!("; and {more} more, which `validation.json` lists"),
        };
        let error = match failed.len() {
            0 => return Ok(()),
            1 => StepError::refused(format!("an expectation does not hold: {}", failed[0]))
                .hint(EXPECTATION_HINT),
            number => StepError::refused(format!(
                "{number} of {} expectations do not hold: {shown}{more}",
                self.expectations.len()
            ))
            .hint(EXPECTATION_HINT),
        };
        Err(error)
    }
}
