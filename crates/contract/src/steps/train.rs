//! The flags of `train`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::step::{Common, Port, Stage, StepArgs};

/// Flags of `train`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct TrainArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the split data set from this folder
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Fit this model of the document, such as `adaptive` or `isolation_forest`
    #[arg(long, value_name = "KIND")]
    pub model: String,
    /// Draw random numbers from this seed
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// Write the fitted model to this folder
    #[arg(long, value_name = "DIR")]
    pub candidate: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for TrainArgs {
    const STAGE: Stage = Stage::Train;
    const EXAMPLE: &'static str = "lynceus step train --document cluster.yaml --dataset dataset --model adaptive --seed 7 --candidate candidate";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("document", &self.document), Port::new("dataset", &self.dataset)]
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("candidate", &self.candidate)]
    }

    fn is_cached(&self) -> bool {
        true
    }

    fn named_models(&self) -> Vec<&str> {
        vec![&self.model]
    }

    fn training_threads(&self) -> u16 {
        2
    }
}
