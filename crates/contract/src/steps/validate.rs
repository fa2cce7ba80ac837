//! The flags of `validate`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::Timestamp;
use crate::step::{Common, Port, Stage, StepArgs};

/// Flags of `validate`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct ValidateArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the features from this Parquet file
    #[arg(long, value_name = "FILE")]
    pub features: PathBuf,
    /// Write the split data set to this folder
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Write the result of each expectation to this JSON file
    #[arg(long, value_name = "FILE")]
    pub validation: PathBuf,
    /// Evaluation time, for the freshness of the data
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for ValidateArgs {
    const STAGE: Stage = Stage::Validate;
    const EXAMPLE: &'static str = "lynceus step validate --document cluster.yaml --features features.parquet --dataset dataset --validation validation.json --now 2026-11-21T08:36:00Z";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("document", &self.document), Port::new("features", &self.features)]
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("dataset", &self.dataset), Port::new("validation", &self.validation)]
    }

    fn is_cached(&self) -> bool {
        true
    }
}
