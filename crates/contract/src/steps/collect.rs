//! The flags of `collect`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::option;
use crate::step::{Common, Port, Stage, StepArgs};
use crate::{Span, Timestamp};

/// Flags of `collect`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct CollectArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Write the samples to this Parquet file
    #[arg(long, value_name = "FILE")]
    pub samples: PathBuf,
    /// Take this as the present: the range ends at its last whole step
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Start after this time instead of the document's `range` before the end
    #[arg(long, value_name = "TIME", conflicts_with = "store")]
    pub start: Option<Timestamp>,
    /// Collect so much time before the end instead of the document's `range`
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["start", "store"])]
    pub range: Option<Span>,
    /// Collect for scoring: start at the watermark in this store, minus the features' lookback
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Read the document's recording or table from here
    #[arg(long, value_name = "PATH")]
    pub source: Option<PathBuf>,
    /// Keep the source's replies in this folder, for the source kind `recording`
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for CollectArgs {
    const STAGE: Stage = Stage::Collect;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("document", &self.document)];
        ports.extend(option("source", self.source.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("samples", &self.samples)];
        ports.extend(option("record", self.record.as_ref()));
        ports
    }
}
