//! The flags of `feature`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::option;
use crate::resources::Resources;
use crate::step::{Common, Port, Stage, StepArgs};

/// Flags of `feature`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct FeatureArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the samples from this Parquet file
    #[arg(long, value_name = "FILE")]
    pub samples: PathBuf,
    /// Read labels from this Parquet file
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Write the features to this Parquet file
    #[arg(long, value_name = "FILE")]
    pub features: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for FeatureArgs {
    const STAGE: Stage = Stage::Feature;
    const EXAMPLE: &'static str = "lynceus step feature --document cluster.yaml --samples samples.parquet --features features.parquet";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports =
            vec![Port::new("document", &self.document), Port::new("samples", &self.samples)];
        ports.extend(option("labels", self.labels.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("features", &self.features)]
    }

    fn is_cached(&self) -> bool {
        true
    }

    fn training_resources(&self) -> Resources {
        Resources { memory_limit: "2Gi", ..Resources::TRAINING }
    }

    fn training_threads(&self) -> u16 {
        2
    }

    fn scoring_resources(&self) -> Resources {
        Resources { memory_limit: "512Mi", ..Resources::SCORING }
    }
}
