//! What a search for parameters tried: a list in the manifest of a candidate, in [`Trial::FILE`] and in
//! the outcome of `train`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Result of one trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number; 0 is the document's own.
    pub trial: u64,
    /// The parameters.
    pub parameters: Value,
    /// What trials were ranked by.
    pub metric: String,
    /// What it reached in its last round; absent where it could not be fitted.
    pub value: Option<f64>,
    /// Rows it was fitted on in its last round.
    pub rows: usize,
    /// The model is fitted with its parameters.
    pub kept: bool,
    /// Seconds of all its rounds: in outcomes alone, since the bytes of a candidate depend on its
    /// inputs alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

impl Trial {
    /// Name of the file in a candidate.
    pub const FILE: &str = "trials.json";
    /// Name of the list in the details of an outcome.
    pub const DETAIL: &str = "trials";
}
