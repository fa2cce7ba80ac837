//! The flags of `deploy`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::option;
use crate::Timestamp;
use crate::resources::Resources;
use crate::step::{Common, Port, Stage, StepArgs};

/// Flags of `deploy`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct DeployArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the bundle from this folder; once for each shard, in their order
    #[arg(long, value_name = "DIR", required_unless_present = "run")]
    pub bundle: Vec<PathBuf>,
    /// Read the data set on which challenger and champion are compared from this folder; once for
    /// each bundle, in the same order
    #[arg(long, value_name = "DIR", required_unless_present = "run")]
    pub dataset: Vec<PathBuf>,
    /// Read the bundle and the data set of every shard from this folder of a run, instead of
    /// `--bundle` and `--dataset`; its `collect/shards.json` lists the shards
    #[arg(long, value_name = "DIR", conflicts_with_all = ["bundle", "dataset"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<PathBuf>,
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
    const EXAMPLE: &'static str = "lynceus step deploy --document cluster.yaml --bundle bundle --dataset dataset --store file:///var/lib/lynceus --deployment deployment.json --now 2026-11-21T08:36:00Z";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("document", &self.document)];
        ports.extend(self.bundle.iter().map(|path| Port::new("bundle", path)));
        ports.extend(self.dataset.iter().map(|path| Port::new("dataset", path)));
        ports.extend(option("run", self.run.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("deployment", &self.deployment)]
    }

    fn training_resources(&self) -> Resources {
        Resources { cpu: "20m", memory: "64Mi", memory_limit: "512Mi", ..Resources::TRAINING }
    }
}
