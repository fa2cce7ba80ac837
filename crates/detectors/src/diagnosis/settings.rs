//! The settings of the second stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random_forest::settings::RandomForest;
use crate::ranges::{OutOfRange, Ranges, number};

/// The second stage, which names the kind of fault of an alarm.
///
/// It learns from the labelled rows of the train part; a kind is a label that does not mean normal.
/// One scenario per kind is enough for a training, but predicts little about the next scenario. Its
/// metrics leave out one scenario at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Diagnose {
    /// The forest that distinguishes the kinds.
    pub random_forest: RandomForest,
    /// Probability of the most likely kind, 0 to 1, below which the kind of an alarm is unknown.
    pub min_probability: f64,
    /// Similarity to the usual pattern of the kind, -1 to 1, below which the kind of an alarm is
    /// unknown.
    pub min_likeness: f64,
    /// Weight of the likeness relative to the forest's probability, 0 to 1000; with 0 only the
    /// forest is used.
    pub likeness_weight: f64,
}

impl Default for Diagnose {
    fn default() -> Self {
        Self {
            random_forest: RandomForest::default(),
            min_probability: 0.5,
            min_likeness: 0.9,
            likeness_weight: 20.0,
        }
    }
}

impl Ranges for Diagnose {
    fn check(&self) -> Result<(), OutOfRange> {
        self.random_forest.check().map_err(|error| error.below("random_forest"))?;
        number("min_probability", self.min_probability, 0.0..=1.0)?;
        number("min_likeness", self.min_likeness, -1.0..=1.0)?;
        number("likeness_weight", self.likeness_weight, 0.0..=1000.0)
    }
}
