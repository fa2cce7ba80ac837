//! The flags of `score`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::option;
use crate::Timestamp;
use crate::step::{Common, Port, Stage, StepArgs};

/// Flags of `score`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct ScoreArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the features from this Parquet file
    #[arg(long, value_name = "FILE")]
    pub features: PathBuf,
    /// Read what was collected from this Parquet file: a window in which nothing was is `no_data`,
    /// whatever the features' fill made of it
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// Read from this JSON file what could not be collected, and why: those windows are `no_data`
    #[arg(long, value_name = "FILE")]
    pub coverage: Option<PathBuf>,
    /// Take the live bundle from this store, and write scores and watermark there
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Evaluation time: windows up to it, minus the document's delay, are due
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Keep bundles in this folder from tick to tick; what is there is used if its hashes are right
    #[arg(long, value_name = "DIR")]
    pub model_cache: Option<PathBuf>,
    /// Say this of a pipeline that has no model yet, such as when the first training is; such a tick
    /// scores nothing and is no failure
    #[arg(long, value_name = "TEXT")]
    pub no_model_hint: Option<String>,
    /// Write which windows were scored, with the alarms, to this JSON file
    #[arg(long, value_name = "FILE")]
    pub scored: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for ScoreArgs {
    const STAGE: Stage = Stage::Score;

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
}
