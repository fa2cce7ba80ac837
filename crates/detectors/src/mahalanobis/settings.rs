//! The settings of the Mahalanobis distance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ranges::{DetectorSettings, OutOfRange, Ranges, number, search};
use crate::search::Search;

/// A Mahalanobis distance from the training mean (Mahalanobis 1936), with a regularised covariance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mahalanobis {
    /// Added to the diagonal of the correlation matrix so that it can be inverted, 0 or more. A
    /// larger value gives correlations less weight.
    pub ridge: f64,
    /// Smallest standard deviation of a column, in its own unit, 0 or more. A larger value makes
    /// the model less sensitive to columns that hardly move.
    pub min_std: f64,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for Mahalanobis {
    fn default() -> Self {
        Self { ridge: 0.1, min_std: 0.01, search: None }
    }
}

impl Ranges for Mahalanobis {
    fn check(&self) -> Result<(), OutOfRange> {
        number("ridge", self.ridge, 0.0..)?;
        number("min_std", self.min_std, 0.0..)?;
        search(self.search.as_ref())
    }
}

impl DetectorSettings for Mahalanobis {
    fn search(&self) -> Option<&Search> {
        self.search.as_ref()
    }
}
