//! What the settings of all kinds have in common: range checks, for documents and for fitting, and a
//! search. The ranges are with the settings of each kind.

use std::fmt::{self, Display};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;

use crate::search::Search;

/// A parameter outside of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    /// The parameter, as the document names it below its model.
    pub field: String,
    /// Its value.
    pub value: String,
    /// The allowed values.
    pub expected: String,
}

impl Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for OutOfRange {}

impl OutOfRange {
    pub(crate) fn below(self, field: &str) -> Self {
        Self { field: format!("{field}.{}", self.field), ..self }
    }
}

/// Parameters with range checks.
pub trait Ranges {
    /// Checks all parameters; returns the first one outside of its range.
    fn check(&self) -> Result<(), OutOfRange>;
}

/// Common interface of the settings of all kinds of detectors.
pub trait DetectorSettings: Ranges {
    /// Returns the search for parameters, if it is set.
    fn search(&self) -> Option<&Search> {
        None
    }
}

pub(crate) fn require(
    holds: bool,
    field: &str,
    value: impl Display,
    expected: impl FnOnce() -> String,
) -> Result<(), OutOfRange> {
    if holds {
        return Ok(());
    }
    Err(OutOfRange { field: field.to_owned(), value: value.to_string(), expected: expected() })
}

fn words<T: Display>(range: &impl RangeBounds<T>) -> String {
    match (range.start_bound(), range.end_bound()) {
        (Included(least), Included(most)) => format!("{least} to {most}"),
        (Included(least), Excluded(limit)) => format!("from {least} to below {limit}"),
        (Included(least), Unbounded) => format!("{least} or more"),
        (Excluded(limit), Included(most)) => format!("above {limit} and at most {most}"),
        (Excluded(low), Excluded(high)) => format!("above {low} and below {high}"),
        (Excluded(limit), Unbounded) => format!("above {limit}"),
        (Unbounded, Included(most)) => format!("at most {most}"),
        (Unbounded, Excluded(limit)) => format!("below {limit}"),
        (Unbounded, Unbounded) => "a number".to_owned(),
    }
}

pub(crate) fn whole(
    field: &str,
    value: u32,
    range: impl RangeBounds<u32>,
) -> Result<(), OutOfRange> {
    require(range.contains(&value), field, value, || words(&range))
}

/// Checks a number; a number that is not finite is outside of every range.
pub(crate) fn number(
    field: &str,
    value: f64,
    range: impl RangeBounds<f64>,
) -> Result<(), OutOfRange> {
    require(value.is_finite() && range.contains(&value), field, value, || words(&range))
}

pub(crate) fn search(search: Option<&Search>) -> Result<(), OutOfRange> {
    search.map_or(Ok(()), |search| search.check().map_err(|error| error.below("search")))
}

impl Ranges for Search {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("trials", self.trials, 1..=10_000)
    }
}
