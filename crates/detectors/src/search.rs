//! The search for a model's parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A search for a model's parameters by random trials. In each round the better third continues
/// with more training rows, and the best trial on all rows is kept. The document's own parameters
/// are the first trial. The search uses only the training and validation parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Number of trials, including the document's own parameters, 1 to 10000. Each trial fits one
    /// model.
    pub trials: u32,
    /// Metric that ranks the trials. The default is average precision if the validation part has
    /// labelled anomalies, and otherwise injected faults. Injected faults hardly predict how well
    /// real faults are found, so use a search only with labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<SearchMetric>,
}

impl Default for Search {
    fn default() -> Self {
        Self { trials: 40, metric: None }
    }
}

/// Metric on the validation part that ranks the trials of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchMetric {
    /// Average precision by the labels.
    AveragePrecision,
    /// Average precision on faults that are injected into a tenth of the rows; needs no labels.
    InjectedFaults,
}
