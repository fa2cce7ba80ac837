//! The settings of the random forest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class_trees::ClassWeights;
use crate::ranges::{DetectorSettings, OutOfRange, Ranges, whole};

/// A random forest (Breiman 2001) of decision trees, each grown on as many rows as there are, drawn with
/// replacement.
///
/// It is fitted on the labelled rows of the train part, anomalous ones too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomForest {
    /// Number of trees, 1 to 10000. With more trees the scores vary less, and the model is larger
    /// and slower.
    pub trees: u32,
    /// Most splits from the root to a leaf, 1 to 64; fewer overfit less.
    pub max_depth: u32,
    /// Fewest training rows of a leaf, 1 or more; more overfit less.
    pub min_leaf_rows: u32,
    /// Columns drawn for each split, 1 or more. The default is the square root of their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_columns: Option<u32>,
    /// Weight of the rows of a class.
    pub class_weights: ClassWeights,
}

impl Default for RandomForest {
    fn default() -> Self {
        Self {
            trees: 100,
            max_depth: 32,
            min_leaf_rows: 1,
            split_columns: None,
            class_weights: ClassWeights::Balanced,
        }
    }
}

impl Ranges for RandomForest {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("trees", self.trees, 1..=10_000)?;
        whole("max_depth", self.max_depth, 1..=64)?;
        whole("min_leaf_rows", self.min_leaf_rows, 1..)?;
        self.split_columns.map_or(Ok(()), |columns| whole("split_columns", columns, 1..))
    }
}

impl DetectorSettings for RandomForest {}
