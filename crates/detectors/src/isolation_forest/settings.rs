//! The settings of the isolation forest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Scaling;
use crate::ranges::{DetectorSettings, OutOfRange, Ranges, search, whole};
use crate::search::Search;

/// An isolation forest: random splits isolate rare rows after few steps (Liu, Ting, Zhou 2008).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IsolationForest {
    /// Number of trees, 1 to 10000. With more trees the scores vary less, and the model is larger
    /// and slower.
    pub trees: u32,
    /// Training rows for each tree, 2 to 65536. More rows distinguish denser regions.
    pub samples: u32,
    /// Columns in each split besides the first: 0 is the original forest (Liu, Ting, Zhou 2008),
    /// more than 0 the extended forest (Hariri et al. 2019).
    pub extension: u32,
    /// How inputs are scaled.
    pub scaling: Scaling,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for IsolationForest {
    fn default() -> Self {
        Self { trees: 50, samples: 256, extension: 0, scaling: Scaling::ZScore, search: None }
    }
}

impl Ranges for IsolationForest {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("trees", self.trees, 1..=10_000)?;
        whole("samples", self.samples, 2..=65_536)?;
        search(self.search.as_ref())
    }
}

impl DetectorSettings for IsolationForest {
    fn search(&self) -> Option<&Search> {
        self.search.as_ref()
    }
}
