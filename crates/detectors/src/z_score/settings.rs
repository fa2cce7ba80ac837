//! The settings of the z-score.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ranges::{DetectorSettings, OutOfRange, Ranges, number, search};
use crate::search::Search;

/// The simplest baseline: how many columns are outside their usual range, and how far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZScore {
    /// Distance from a column's mean, in standard deviations, above which the column counts fully,
    /// 0 or more. A column within it counts one hundredth.
    pub threshold: f64,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for ZScore {
    fn default() -> Self {
        Self { threshold: 3.0, search: None }
    }
}

impl Ranges for ZScore {
    fn check(&self) -> Result<(), OutOfRange> {
        number("threshold", self.threshold, 0.0..)?;
        search(self.search.as_ref())
    }
}

impl DetectorSettings for ZScore {
    fn search(&self) -> Option<&Search> {
        self.search.as_ref()
    }
}
