//! The settings of gradient-boosted trees.

use std::ops::Bound::{Excluded, Included};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class_trees::ClassWeights;
use crate::ranges::{DetectorSettings, OutOfRange, Ranges, number, whole};

/// Gradient-boosted trees: one tree per class and round, fitted to the errors of the rounds before.
///
/// In `models` they are fitted on the labelled rows of the train part, anomalous ones too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradientBoosting {
    /// Rounds, 1 to 1000.
    pub rounds: u32,
    /// Share of a round's correction that is applied, above 0 and at most 1.
    pub learning_rate: f64,
    /// Most splits one after another, 1 to 16.
    pub max_depth: u32,
    /// Fewest rows of a leaf, 1 or more.
    pub min_leaf_rows: u32,
    /// Added to the denominator of a leaf's value, 0 or more: small leaves move less.
    pub l2: f64,
    /// Share of the columns for each tree, above 0 and at most 1.
    pub column_share: f64,
    /// Weight of the rows of a class.
    pub class_weights: ClassWeights,
}

impl Default for GradientBoosting {
    fn default() -> Self {
        Self {
            rounds: 40,
            learning_rate: 0.2,
            max_depth: 4,
            min_leaf_rows: 5,
            l2: 1.0,
            column_share: 0.5,
            class_weights: ClassWeights::Balanced,
        }
    }
}

impl Ranges for GradientBoosting {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("rounds", self.rounds, 1..=1000)?;
        number("learning_rate", self.learning_rate, (Excluded(0.0), Included(1.0)))?;
        whole("max_depth", self.max_depth, 1..=16)?;
        whole("min_leaf_rows", self.min_leaf_rows, 1..)?;
        number("l2", self.l2, 0.0..=1e6)?;
        number("column_share", self.column_share, (Excluded(0.0), Included(1.0)))
    }
}

impl DetectorSettings for GradientBoosting {}
