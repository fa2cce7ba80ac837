//! The flags of `export`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::option;
use crate::resources::Resources;
use crate::step::{Common, Port, Stage, StepArgs};
use crate::{Shard, Span, Timestamp};

/// Flags of `export`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct ExportArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read scores from this store, and keep the cursor of each sink in it
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Current time, for the lag and the start of failures
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Wait for the step that writes this file; the scores themselves are read from the store
    #[arg(long, value_name = "FILE")]
    pub scored: Option<PathBuf>,
    /// Read the rows of windows from this feature table, for sinks that publish features
    #[arg(long, value_name = "FILE")]
    pub features: Option<PathBuf>,
    /// Start no new request after this time; the next run exports the rest
    #[arg(long, value_name = "SPAN", default_value = "20s")]
    pub budget: Span,
    /// Write what was exported to this JSON file
    #[arg(long, value_name = "FILE")]
    pub exported: PathBuf,
    /// Work only on this part of the entities: shard K of N, such as 0/4
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl ExportArgs {
    /// Default time after which a run starts no new request: well below the minute between two
    /// runs.
    pub const BUDGET: Span = Span::from_seconds(20);
}

impl StepArgs for ExportArgs {
    const STAGE: Stage = Stage::Export;
    const EXAMPLE: &'static str = "lynceus step export --document cluster.yaml --store file:///var/lib/lynceus --exported exported.json --now 2026-11-21T08:37:00Z";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("document", &self.document)];
        ports.extend(option("scored", self.scored.as_ref()));
        ports.extend(option("features", self.features.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("exported", &self.exported)]
    }

    fn shard(&self) -> Option<Shard> {
        self.shard
    }

    fn after_failure(&self, _failed: Option<String>) -> Option<Self> {
        Some(Self { scored: None, features: None, ..self.clone() })
    }

    fn training_resources(&self) -> Resources {
        Resources { cpu: "20m", memory: "32Mi", memory_limit: "128Mi", ..Resources::TRAINING }
    }
}
