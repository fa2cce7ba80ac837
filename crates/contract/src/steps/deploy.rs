//! The flags of `deploy`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::Timestamp;
use crate::step::{Common, Port, Stage, StepArgs};

/// Flags of `deploy`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct DeployArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the bundle from this folder
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// Read the data set on which challenger and champion are compared from this folder
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Register in this store
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Evaluation time: the version is live from then on
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Write the decision and its reason to this JSON file
    #[arg(long, value_name = "FILE")]
    pub deployment: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for DeployArgs {
    const STAGE: Stage = Stage::Deploy;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        vec![
            Port::new("document", &self.document),
            Port::new("bundle", &self.bundle),
            Port::new("dataset", &self.dataset),
        ]
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("deployment", &self.deployment)]
    }
}
