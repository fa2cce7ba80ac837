//! The settings of the decision tree.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class_trees::ClassWeights;
use crate::ranges::{DetectorSettings, OutOfRange, Ranges, whole};

/// A decision tree (Breiman et al. 1984): Gini impurity, thresholds between neighbouring values.
///
/// It is fitted on the labelled rows of the train part, anomalous ones too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionTree {
    /// Most splits from the root to a leaf, 1 to 64; fewer overfit less.
    pub max_depth: u32,
    /// Fewest training rows of a leaf, 1 or more; more overfit less.
    pub min_leaf_rows: u32,
    /// Weight of the rows of a class.
    pub class_weights: ClassWeights,
}

impl Default for DecisionTree {
    fn default() -> Self {
        Self { max_depth: 12, min_leaf_rows: 5, class_weights: ClassWeights::Balanced }
    }
}

impl Ranges for DecisionTree {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("max_depth", self.max_depth, 1..=64)?;
        whole("min_leaf_rows", self.min_leaf_rows, 1..)
    }
}

impl DetectorSettings for DecisionTree {}
