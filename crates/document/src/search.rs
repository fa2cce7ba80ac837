//! The search for a model's parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A search for a model's parameters: random trials, the better third of which continues with more
/// training rows, and the best on all of them is kept. The document's own parameters are the first
/// trial. Only the training and validation parts are seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Trials, the document's own parameters among them, 1 to 10000; each fits one model.
    pub trials: u32,
    /// What trials are ranked by; without it average precision where the validation part has
    /// labelled anomalies, and otherwise injected faults, which say next to nothing of how real ones
    /// are found: search where there are labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<SearchMetric>,
}

impl Default for Search {
    fn default() -> Self {
        Self { trials: 40, metric: None }
    }
}

/// What the trials of a search are ranked by, on the validation part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchMetric {
    /// Average precision by the labels.
    AveragePrecision,
    /// Average precision in finding faults that were put into a tenth of the rows, which needs no
    /// labels.
    InjectedFaults,
}
