//! The flags of `label`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::resources::Resources;
use crate::step::{Common, Port, Stage, StepArgs};

/// Flags of `label`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct LabelArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the scenario log (CSV: start,end,label,target) from this file
    #[arg(long, value_name = "FILE")]
    pub scenarios: PathBuf,
    /// Write the labels to this Parquet file
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for LabelArgs {
    const STAGE: Stage = Stage::Label;
    const EXAMPLE: &'static str = "lynceus step label --document cluster.yaml --scenarios scenarios.csv --labels labels.parquet";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("document", &self.document), Port::new("scenarios", &self.scenarios)]
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("labels", &self.labels)]
    }

    fn is_cached(&self) -> bool {
        true
    }

    fn training_resources(&self) -> Resources {
        Resources { cpu: "20m", memory: "32Mi", memory_limit: "128Mi", ..Resources::TRAINING }
    }
}
