//! `deployment.json`: what `deploy` decided and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Figures of one version: by part of the data set, then by name.
pub type Figures = BTreeMap<String, BTreeMap<String, f64>>;

/// What was held against what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Part of the data set.
    pub part: String,
    /// `average_precision` with labels, `inlier_ratio` without; higher is better.
    pub figure: String,
    /// The challenger's figure; absent where it could not be measured.
    pub challenger: Option<f64>,
    /// The champion's figure; absent where it could not be measured.
    pub champion: Option<f64>,
    /// How much lower the challenger's may be.
    pub max_regression: f64,
}

/// What was decided and why: the file, and the detail `deployment` of the outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Version of this format.
    pub format: u32,
    /// The pipeline.
    pub pipeline: String,
    /// The version that was registered.
    pub version: String,
    /// The alias it was a candidate for.
    pub alias: String,
    /// The alias names it from this deployment on.
    pub promoted: bool,
    /// The alias names it now.
    pub live: bool,
    /// Since when the alias points at its current version; `None` if it was never set.
    pub since: Option<Timestamp>,
    /// Why it was promoted or not, in a sentence.
    pub why: String,
    /// The version that was live before, if any.
    pub champion: Option<String>,
    /// What was held against what, where the champion could be compared.
    pub comparison: Option<Comparison>,
    /// The version's figures by part of the data set.
    pub figures: Figures,
    /// The champion's figures on the same rows; empty where it was not measured.
    pub champion_figures: Figures,
}

impl Deployment {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the file in the folder of the task.
    pub const FILE: &str = "deployment.json";
    /// Name of the same in the details of an outcome.
    pub const DETAIL: &str = "deployment";
}
