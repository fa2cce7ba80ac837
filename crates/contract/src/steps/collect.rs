//! The flags of `collect`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde::{Serialize, Serializer};

use super::option;
use crate::resources::Resources;
use crate::step::{Common, Port, Stage, StepArgs};
use crate::{Shard, ShardCount, Span, Timestamp};

/// File or folder of a source of the document: `NAME=PATH`, or `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePath {
    /// The source's name in the document; `None` means the only source that reads a file.
    pub name: Option<String>,
    /// The file or folder.
    pub path: PathBuf,
}

impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}={}", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

impl FromStr for SourcePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if is_name(name) => (Some(name.to_owned()), path),
            _ => (None, text),
        };
        if path.is_empty() {
            return Err("the path is empty; write it as NAME=PATH".to_owned());
        }
        Ok(Self { name, path: path.into() })
    }
}

impl Serialize for SourcePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Flags of `collect`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct CollectArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Write the samples to this Parquet file
    #[arg(long, value_name = "FILE")]
    pub samples: PathBuf,
    /// Evaluation time: the range ends at the last whole step before it
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Start after this time instead of the document's `range` before the end
    #[arg(long, value_name = "TIME", conflicts_with = "store")]
    pub start: Option<Timestamp>,
    /// Collect this much time before the end instead of the document's `range`
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["start", "store"])]
    pub range: Option<Span>,
    /// Collect for scoring: start at the watermark in this store, minus the features' lookback
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Read samples that were recorded with `lynceus record` from this store; by default `--store`
    #[arg(long, value_name = "URL")]
    pub recorded: Option<String>,
    /// Read only these parts of feature groups: `pins.json` of a run; by default all
    #[arg(long, value_name = "FILE")]
    pub pins: Option<PathBuf>,
    /// Read a source's recording or table from this path; NAME may be omitted if only one source
    /// reads a file (repeat for several)
    #[arg(long, value_name = "NAME=PATH")]
    pub source: Vec<SourcePath>,
    /// Write the windows that could not be collected for scoring, with the reasons, to this JSON
    /// file
    #[arg(long, value_name = "FILE", requires = "store")]
    pub coverage: Option<PathBuf>,
    /// Keep the source's replies in this folder, for the source kind `recording`; with several
    /// sources each has a subfolder with its name
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// Work only on this part of the entities: shard K of N, such as 0/4
    #[arg(long, value_name = "K/N", conflicts_with = "shards")]
    pub shard: Option<Shard>,
    /// Collect for this number of shards at once: `--samples` and `--coverage` are folders then, with
    /// one file per shard, such as shard-0.parquet and shard-0.json. `auto` means the number of the
    /// live version; for a training, the number that the current entities need
    #[arg(long, value_name = "N|auto")]
    pub shards: Option<ShardCount>,
    /// With `--shards auto` for a training: keep the number of shards of the live version in this
    /// store while it fits
    #[arg(long, value_name = "URL", conflicts_with = "store", requires = "shards")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// Write the shards to this JSON file, as a list such as [{"index":0,"count":2},
    /// {"index":1,"count":2}]; it is written before the sources are read
    #[arg(long, value_name = "FILE", requires = "shards")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<PathBuf>,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl CollectArgs {
    /// Path of the list of shards in the folder of a run, where one task collects for all shards.
    pub const NUMBERS: &str = "collect/shards.json";

    /// Returns the samples of a shard, where `--samples` is a folder.
    pub fn samples_of(samples: &Path, shard: Shard) -> PathBuf {
        samples.join(shard.part()).with_extension("parquet")
    }

    /// Returns what could not be collected for a shard, where `--coverage` is a folder.
    pub fn coverage_of(coverage: &Path, shard: Shard) -> PathBuf {
        coverage.join(shard.part()).with_extension("json")
    }
}

impl StepArgs for CollectArgs {
    const STAGE: Stage = Stage::Collect;
    const EXAMPLE: &'static str = "lynceus step collect --document cluster.yaml --samples samples.parquet --now 2026-11-21T08:36:00Z";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("document", &self.document)];
        ports.extend(option("pins", self.pins.as_ref()));
        ports.extend(self.source.iter().map(|source| Port::new("source", &source.path)));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("samples", &self.samples)];
        ports.extend(option("coverage", self.coverage.as_ref()));
        ports.extend(option("record", self.record.as_ref()));
        ports.extend(option("numbers", self.numbers.as_ref()));
        ports
    }

    fn is_cached(&self) -> bool {
        self.store.is_none()
    }

    fn shard(&self) -> Option<Shard> {
        self.shard
    }

    fn training_resources(&self) -> Resources {
        Resources { cpu: "20m", memory: "64Mi", memory_limit: "512Mi", ..Resources::TRAINING }
    }
}
