//! Inputs of a plan, and the folders of its parts: a shard, or the whole pipeline.

use std::path::{Path, PathBuf};

use contract::steps::{CollectArgs, SourcePath};
use contract::{Shard, Timestamp};
use document::{Document, below};

/// Inputs of a run, and the folder of its files.
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
    /// The document.
    pub document: &'a Document,
    /// The folder to which the document's paths are relative.
    pub base: &'a Path,
    /// The folder of the run; it holds `document.yaml` and a folder for each task.
    pub folder: &'a Path,
    /// The store.
    pub store: &'a str,
    /// Current time.
    pub now: Timestamp,
}

impl Inputs<'_> {
    /// Returns the path of the run's own copy of the document.
    pub fn document_file(&self) -> PathBuf {
        self.folder.join("document.yaml")
    }

    /// Returns the paths of the sources that read a file or folder.
    pub fn sources(&self) -> Vec<SourcePath> {
        let reading = self.document.sources.iter().filter_map(|(name, source)| {
            Some(SourcePath { name: Some(name.clone()), path: below(self.base, source.data()?) })
        });
        reading.collect()
    }
}

/// Output of `collect`: a file, or with shards a folder of files.
pub(crate) const SAMPLES: &str = "samples";
/// Report of `collect` on missing samples, also a file or a folder.
pub(crate) const COVERAGE: &str = "coverage";
/// The folder of a pod with all outputs of the run so far.
pub const RUN: &str = "run";

/// Folders and names of one shard, or of the whole pipeline, in a plan.
#[derive(Debug, Clone)]
pub struct Part {
    /// The shard; `None` for a pipeline without shards.
    pub shard: Option<Shard>,
    /// Prefix of the names of its tasks.
    prefix: String,
    /// The folder with a subfolder for each of its tasks.
    pub folder: PathBuf,
    /// The folder of the task that collects its samples.
    pub(crate) collected: PathBuf,
    /// Whether one task collects the samples of all shards.
    pub(crate) is_collected_for_all: bool,
}

impl Part {
    /// Returns the parts of a run: a folder for each shard, or the run's own. One task collects the
    /// samples of all parts.
    pub fn of_run(inputs: &Inputs<'_>) -> Vec<Self> {
        let part = |shard: Option<Shard>| match shard {
            Some(own) => Self {
                prefix: format!("{}/", own.part()),
                folder: inputs.folder.join(own.part()),
                ..Self::given(inputs, own)
            },
            None => Self::alone(inputs, None),
        };
        inputs.document.shards.all().into_iter().map(part).collect()
    }

    /// Returns a shard, or the whole pipeline, whose tasks are the only ones of the run, as in a
    /// pod.
    pub(crate) fn alone(inputs: &Inputs<'_>, shard: Option<Shard>) -> Self {
        Self {
            shard,
            prefix: String::new(),
            folder: inputs.folder.to_owned(),
            collected: inputs.folder.join("collect"),
            is_collected_for_all: false,
        }
    }

    /// Returns a shard like [`Part::alone`], for samples that another pod has collected.
    pub(crate) fn given(inputs: &Inputs<'_>, shard: Shard) -> Self {
        Self { is_collected_for_all: true, ..Self::alone(inputs, Some(shard)) }
    }

    /// Returns the path of its samples.
    pub(crate) fn samples(&self) -> PathBuf {
        match self.shard.filter(|_| self.is_collected_for_all) {
            Some(shard) => CollectArgs::samples_of(&self.collected.join(SAMPLES), shard),
            None => self.collected.join(SAMPLES).with_extension("parquet"),
        }
    }

    /// Returns the path of the report on missing samples.
    pub(crate) fn coverage(&self) -> PathBuf {
        match self.shard.filter(|_| self.is_collected_for_all) {
            Some(shard) => CollectArgs::coverage_of(&self.collected.join(COVERAGE), shard),
            None => self.collected.join(COVERAGE).with_extension("json"),
        }
    }

    /// Returns the path of its features.
    pub(crate) fn features(&self) -> PathBuf {
        self.folder.join("feature/features.parquet")
    }

    /// Returns the path of the result of `score`.
    pub(crate) fn scored(&self) -> PathBuf {
        self.folder.join("score/scored.json")
    }

    /// Returns the name of one of its tasks.
    pub(crate) fn name(&self, task: &str) -> String {
        format!("{}{task}", self.prefix)
    }
}
