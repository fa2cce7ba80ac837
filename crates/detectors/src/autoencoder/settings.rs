//! The settings of the autoencoder.

use std::ops::Bound::{Excluded, Included};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Scaling;
use crate::ranges::{DetectorSettings, OutOfRange, Ranges, number, require, search, whole};
use crate::search::Search;

/// An autoencoder: a network with a bottleneck, fitted by Adam; the score is its reconstruction
/// error (Hinton, Salakhutdinov 2006).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Autoencoder {
    /// Sizes of the layers between input and output, 1 to 16 of them, each 1 to 4096; the smallest
    /// is the bottleneck. With a smaller bottleneck more rows are reproduced badly, and more rows
    /// are unusual.
    pub layers: Vec<u32>,
    /// Passes over the training rows, 1 to 10000; more take longer.
    pub epochs: u32,
    /// Rows between two updates, 1 or more.
    pub batch: u32,
    /// Step size of Adam (Kingma and Ba 2015), above 0 and at most 1. Lower it if the loss grows.
    pub learning_rate: f64,
    /// Standard deviation of the noise added to inputs while training, in scaled units, 0 to 100; 0
    /// adds none.
    pub noise: f64,
    /// Passes without gain on the validation rows before training ends early; 0 never ends early.
    pub patience: u32,
    /// Whether the residual of each column is divided by its spread on the training rows, so that
    /// all columns have the same weight.
    pub normalise_residuals: bool,
    /// How inputs are scaled.
    pub scaling: Scaling,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for Autoencoder {
    fn default() -> Self {
        Self {
            layers: vec![6],
            epochs: 10,
            batch: 256,
            learning_rate: 1e-3,
            noise: 0.0,
            patience: 0,
            normalise_residuals: false,
            scaling: Scaling::MinMax,
            search: None,
        }
    }
}

impl Ranges for Autoencoder {
    fn check(&self) -> Result<(), OutOfRange> {
        let layers = &self.layers;
        let fits =
            (1..=16).contains(&layers.len()) && layers.iter().all(|size| (1..=4096).contains(size));
        require(fits, "layers", format!("{layers:?}"), || "1 to 16 sizes of 1 to 4096".to_owned())?;
        whole("epochs", self.epochs, 1..=10_000)?;
        whole("batch", self.batch, 1..)?;
        number("learning_rate", self.learning_rate, (Excluded(0.0), Included(1.0)))?;
        number("noise", self.noise, 0.0..=100.0)?;
        search(self.search.as_ref())
    }
}

impl DetectorSettings for Autoencoder {
    fn search(&self) -> Option<&Search> {
        self.search.as_ref()
    }
}
