//! The flags of `score`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::option;
use crate::resources::Resources;
use crate::step::{Common, Port, Stage, StepArgs};
use crate::{Shard, Timestamp};

/// Flags of `score`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct ScoreArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the features from this Parquet file
    #[arg(long, value_name = "FILE")]
    pub features: PathBuf,
    /// Read the samples from this Parquet file: a window without any is `no_data`, even if `fill`
    /// filled its features
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// Read the collection failures from this JSON file: those windows are `no_data` with the
    /// reason
    #[arg(long, value_name = "FILE")]
    pub coverage: Option<PathBuf>,
    /// Read the live bundle from this store, and write scores and watermark to it
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Evaluation time: windows up to it, minus the document's delay, are due
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Cache bundles in this folder between ticks; cached files are verified by hash
    #[arg(long, value_name = "DIR")]
    pub model_cache: Option<PathBuf>,
    /// Message for a pipeline that has no model yet, such as the time of the first training; such a
    /// tick scores nothing and succeeds
    #[arg(long, value_name = "TEXT")]
    pub no_model_hint: Option<String>,
    /// Write the scored windows and their alarms to this JSON file
    #[arg(long, value_name = "FILE")]
    pub scored: PathBuf,
    /// Work only on this part of the entities: shard K of N, such as 0/4
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for ScoreArgs {
    const STAGE: Stage = Stage::Score;
    const EXAMPLE: &'static str = "lynceus step score --document cluster.yaml --features features.parquet --store file:///var/lib/lynceus --scored scored.json --now 2026-11-21T08:37:00Z";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports =
            vec![Port::new("document", &self.document), Port::new("features", &self.features)];
        ports.extend(option("samples", self.samples.as_ref()));
        ports.extend(option("coverage", self.coverage.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("scored", &self.scored)]
    }

    fn shard(&self) -> Option<Shard> {
        self.shard
    }

    fn training_resources(&self) -> Resources {
        Resources { cpu: "20m", memory: "64Mi", memory_limit: "512Mi", ..Resources::TRAINING }
    }
}
