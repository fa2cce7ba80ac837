//! `run.json`: what a run is made of, how far it came, and why each task ran or did not.

use std::path::{Path, PathBuf};

use contract::{Outcome, StepError, Timestamp, read_json, write_json};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::cache::KeyParts;

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
    /// What the run takes for the present.
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
}

impl RunRecord {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Reads the record of a run's folder.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        read_json(&folder.join("run.json"))
    }

    /// Returns what a task of the run in a folder said of itself, if it came so far.
    pub fn outcome_of(folder: &Path, task: &str) -> Option<Outcome> {
        read_json(&folder.join(task).join("outcome.json")).ok()
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

/// Returns a pipeline's runs with their folders, in the order in which they were started; folders without a readable record
/// are left out.
pub fn read_runs(root: &Path, pipeline: &str) -> Vec<(PathBuf, RunRecord)> {
    let folder = root.join("runs").join(pipeline);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut runs: Vec<_> = entries
        .map(|entry| entry.path())
        .filter_map(|path| RunRecord::read(&path).ok().map(|record| (path, record)))
        .collect();
    runs.sort_by(|(_, a), (_, b)| (a.started, &a.run).cmp(&(b.started, &b.run)));
    runs
}
