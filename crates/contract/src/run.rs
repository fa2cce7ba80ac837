//! `run.json`: what a run is made of, how far it came, and why each task ran or did not. The local
//! runner writes it as it goes; in a cluster `report` writes it when all else is over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Outcome, Stage, StepError, Timestamp, read_json, write_json};

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It is running, or was killed while it was.
    Running,
    /// Every task is done.
    Done,
    /// A task refused the data.
    Refused,
    /// A task failed in another way.
    Failed,
}

/// How far a task came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits for others, or for a free place.
    Waiting,
    /// It is running, or was killed while it was.
    Running,
    /// It ran and its outputs are there.
    Done,
    /// Its outputs were there already, or were taken from an earlier run.
    Cached,
    /// It ended with an error.
    Failed,
    /// Something it needs failed.
    Skipped,
}

/// One task of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Name in the plan.
    pub name: String,
    /// How far it came.
    pub state: TaskState,
    /// Why it ran or did not, in a sentence.
    #[serde(default)]
    pub why: String,
    /// How often it was started.
    #[serde(default)]
    pub attempts: u32,
    /// The last attempt's exit code, once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Wall time of the last attempt.
    #[serde(default)]
    pub seconds: f64,
    /// What the cache key was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<KeyParts>,
}

/// A run: the file `run.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this format.
    pub format: u32,
    /// The run's name, which is its folder's.
    pub run: String,
    /// The pipeline.
    pub pipeline: String,
    /// Evaluation time of the run.
    pub now: Timestamp,
    /// When it was started, by the clock.
    pub started: Timestamp,
    /// SHA-256 of the document it runs; empty for a scoring, which is never gone on with.
    pub document_sha256: String,
    /// How far it came.
    pub status: RunStatus,
    /// Wall time so far, over all its starts.
    pub seconds: f64,
    /// Its tasks, in the plan's order.
    pub tasks: Vec<TaskRecord>,
    /// What its model reached, by part of the data set and figure, as in `test.f1`; empty until it
    /// is measured, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// What the user calls it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What the user notes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl RunRecord {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Reads the record of a run's folder.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        read_json(&folder.join("run.json"))
    }

    /// Returns the outcome of a task of the run in a folder, if the task wrote one.
    pub fn outcome_of(folder: &Path, task: &str) -> Option<Outcome> {
        read_json(&folder.join(task).join("outcome.json")).ok()
    }

    /// Returns what the model of the run in a folder reached, as `select` measured it; of the shards of a
    /// run together, as `deploy` says.
    pub fn metrics_of(folder: &Path) -> BTreeMap<String, f64> {
        let metrics = match Self::outcome_of(folder, Stage::Select.name()) {
            Some(outcome) => outcome.metrics.into_iter().collect(),
            None => of_shards(folder),
        };
        metrics.into_iter().filter(|(_, value)| value.is_finite()).collect()
    }

    /// Writes the record into a run's folder.
    pub fn write(&self, folder: &Path) -> Result<(), StepError> {
        write_json(&folder.join("run.json"), self)
    }

    /// Says whether the run makes a model; the others score.
    pub fn is_training(&self) -> bool {
        !self.document_sha256.is_empty()
    }

    /// Returns a task by name.
    pub fn task(&self, name: &str) -> Option<&TaskRecord> {
        self.tasks.iter().find(|task| task.name == name)
    }
}

/// What `deploy` says of all shards of a run; a run without shards has figures of `select`.
#[derive(Debug, Deserialize)]
struct Deployed {
    #[serde(default)]
    figures: BTreeMap<String, BTreeMap<String, f64>>,
}

/// Returns the figures of the shards of a run together, as in `test.f1`.
fn of_shards(folder: &Path) -> Vec<(String, f64)> {
    let deployed: Option<Deployed> = read_json(&folder.join("deploy/deployment.json")).ok();
    let parts = deployed.into_iter().flat_map(|deployed| deployed.figures);
    let named = parts.flat_map(|(part, figures)| {
        figures.into_iter().map(move |(name, value)| (format!("{part}.{name}"), value))
    });
    named.collect()
}

/// What a cache key is made of, part by part, so that a difference can be named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyParts {
    /// Version and build of the program.
    pub program: String,
    /// The stage.
    pub stage: String,
    /// The flags that are neither ports nor about the process.
    pub parameters: BTreeMap<String, String>,
    /// SHA-256 of the sections of the document that the stage reads.
    pub document: String,
    /// SHA-256 of each input but the document, by port.
    pub inputs: BTreeMap<String, String>,
}

impl KeyParts {
    /// Names in words where these parts differ from an earlier task's.
    pub fn differences(&self, earlier: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.program != earlier.program {
            found.push(format!("the program is `{}`, was `{}`", self.program, earlier.program));
        }
        if self.document != earlier.document {
            found.push("the sections of the document that it reads changed".to_owned());
        }
        differing(&self.parameters, &earlier.parameters, "--", &mut found);
        differing(&self.inputs, &earlier.inputs, "input ", &mut found);
        found
    }
}

fn differing(
    now: &BTreeMap<String, String>,
    earlier: &BTreeMap<String, String>,
    kind: &str,
    found: &mut Vec<String>,
) {
    let short = |value: Option<&String>| match value {
        Some(value) if value.len() == 64 => value[..12].to_owned(),
        Some(value) => value.clone(),
        None => "absent".to_owned(),
    };
    let names: BTreeSet<&String> = now.keys().chain(earlier.keys()).collect();
    for name in names {
        let (a, b) = (now.get(name), earlier.get(name));
        if a != b {
            found.push(format!("{kind}{name} is `{}`, was `{}`", short(a), short(b)));
        }
    }
}
