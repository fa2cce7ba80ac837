//! `run.json`: the tasks of a run, their state, and why each task ran or did not. The local runner
//! updates it during the run; in a cluster `report` writes it at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::deployment::Deployment;
use crate::{Outcome, Stage, StepError, Timestamp, read_json, write_json};

/// State of a run.
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

/// State of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits for other tasks, or for a free slot.
    Waiting,
    /// It is running, or was killed while it was.
    Running,
    /// It ran and its outputs are there.
    Done,
    /// Its outputs existed already, or were reused from an earlier run.
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
    /// Its state.
    pub state: TaskState,
    /// Why it ran or did not, in one sentence.
    #[serde(default)]
    pub why: String,
    /// How often it was started.
    #[serde(default)]
    pub attempts: u32,
    /// Exit code of the last attempt, after it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Wall time of the last attempt.
    #[serde(default)]
    pub seconds: f64,
    /// Parts of the cache key.
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
    /// SHA-256 of the document; empty for a scoring, which is never resumed.
    pub document_sha256: String,
    /// Its state.
    pub status: RunStatus,
    /// Wall time in seconds so far, over all its starts.
    pub seconds: f64,
    /// Its tasks, in the plan's order.
    pub tasks: Vec<TaskRecord>,
    /// Metrics of its model, by part of the data set and metric, as in `test.f1`; empty until they
    /// are computed, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Tags of the user, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Note of the user.
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

    /// Returns the metrics of the model of the run in a folder, from `select`; for a run with
    /// shards those of all shards together, from `deploy`.
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

    /// Returns whether the run trains a model; other runs score.
    pub fn is_training(&self) -> bool {
        !self.document_sha256.is_empty()
    }

    /// Returns a task by name.
    pub fn task(&self, name: &str) -> Option<&TaskRecord> {
        self.tasks.iter().find(|task| task.name == name)
    }
}

/// Returns the metrics of all shards of a run together, as in `test.f1`.
fn of_shards(folder: &Path) -> Vec<(String, f64)> {
    let file = folder.join(Stage::Deploy.name()).join(Deployment::FILE);
    let deployed: Option<Deployment> = read_json(&file).ok();
    let parts = deployed.into_iter().flat_map(|deployed| deployed.figures);
    let named = parts.flat_map(|(part, figures)| {
        figures.into_iter().map(move |(name, value)| (format!("{part}.{name}"), value))
    });
    named.collect()
}

/// The parts of a cache key, so that a difference can be named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyParts {
    /// Version and build of the program.
    pub program: String,
    /// The stage.
    pub stage: String,
    /// The flags that are neither ports nor settings of the process.
    pub parameters: BTreeMap<String, String>,
    /// SHA-256 of the sections of the document that the stage reads.
    pub document: String,
    /// SHA-256 of each input but the document, by port.
    pub inputs: BTreeMap<String, String>,
}

impl KeyParts {
    /// Describes the differences of these parts from those of an earlier task.
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
