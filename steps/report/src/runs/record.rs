//! `run.json`: which tasks a run has, and how far it came.

use std::path::Path;

use contract::outcome::Status;
use contract::{Outcome, StepError, Timestamp, read_json};
use fs_err as fs;
use serde::Deserialize;

/// How far a run or a task came, as `run.json` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A task waits for others.
    Waiting,
    /// It is running, or was killed while it was.
    Running,
    /// It is done.
    Done,
    /// A task's outputs were taken from an earlier run.
    Cached,
    /// The data was refused.
    Refused,
    /// It failed.
    Failed,
    /// Something a task needs failed.
    Skipped,
}

impl State {
    /// Returns the state in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "not finished",
            Self::Done => "done",
            Self::Cached => "from the cache",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// The parts of `run.json` that a page shows.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    /// The run's name.
    pub run: String,
    /// The pipeline.
    pub pipeline: String,
    /// Evaluation time of the run.
    pub now: Timestamp,
    /// SHA-256 of the document; empty where the runner did not note it.
    #[serde(default)]
    pub document_sha256: String,
    /// Its state.
    pub status: State,
    /// Wall time.
    #[serde(default)]
    pub seconds: f64,
    /// Its tasks, in the plan's order.
    #[serde(default)]
    pub tasks: Vec<TaskRecord>,
}

/// One task of `run.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct TaskRecord {
    /// Name in the plan, which is its folder's.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Why it ran or did not.
    #[serde(default)]
    pub why: String,
    /// How often it was started.
    #[serde(default)]
    pub attempts: u32,
    /// Wall time of the last attempt.
    #[serde(default)]
    pub seconds: f64,
}

impl Record {
    /// Reads the record of the run in a folder.
    pub(super) fn read(folder: &Path) -> Result<Self, StepError> {
        match Self::of_outcomes(folder) {
            Some(record) => Ok(record),
            None => read_json(&folder.join("run.json")).map_err(|error| {
                error.hint("give the folder of a run: the store has them in `runs/<pipeline>/`")
            }),
        }
    }

    /// Makes the record of a run in a cluster, where the tasks are pods and no runner writes
    /// `run.json`: from the outcome of each task, in the order of the stages. An empty folder is
    /// a run whose first task never ended.
    fn of_outcomes(folder: &Path) -> Option<Self> {
        if fs::metadata(folder.join("run.json")).is_ok() {
            return None;
        }
        let mut tasks = outcomes_in(folder, "");
        let mut shards: Vec<String> = names_in(folder);
        shards.retain(|name| name.starts_with("shard-"));
        for shard in shards {
            tasks.extend(outcomes_in(&folder.join(&shard), &format!("{shard}/")));
        }
        let place = |name: &str| {
            let order = ["collect", "label", "feature", "validate", "train", "select", "deploy"];
            order.iter().position(|stage| super::step_of(name).split('-').next() == Some(stage))
        };
        tasks.sort_by(|a, b| (place(&a.0), &a.0).cmp(&(place(&b.0), &b.0)));
        let state = |outcome: &Outcome| match outcome.status {
            Status::Done => State::Done,
            Status::Refused => State::Refused,
            Status::Failed => State::Failed,
        };
        let ended = tasks.iter().map(|(_, outcome)| state(outcome)).find(|s| *s != State::Done);
        let deployed = tasks.iter().any(|(name, _)| name == "deploy");
        let is_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        let status = match ended {
            Some(state) => state,
            None if deployed => State::Done,
            None if is_empty => State::Failed,
            None => State::Running,
        };
        let run = folder.file_name()?.to_string_lossy().into_owned();
        let of_task = |(name, outcome): &(String, Outcome)| TaskRecord {
            name: name.clone(),
            state: state(outcome),
            why: String::new(),
            attempts: 1,
            seconds: outcome.seconds,
        };
        (is_empty || !tasks.is_empty()).then(|| Self {
            run,
            pipeline: String::new(),
            now: Timestamp::from_ms(0),
            document_sha256: String::new(),
            status,
            seconds: tasks.iter().map(|(_, outcome)| outcome.seconds).sum(),
            tasks: tasks.iter().map(of_task).collect(),
        })
    }
}

/// Returns the names of the files and folders of a folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Returns the outcomes of the tasks whose folders lie in a folder, with their names after a prefix.
fn outcomes_in(folder: &Path, prefix: &str) -> Vec<(String, Outcome)> {
    let named = |name: String| {
        let outcome: Outcome = read_json(&folder.join(&name).join("outcome.json")).ok()?;
        Some((format!("{prefix}{name}"), outcome))
    };
    names_in(folder).into_iter().filter_map(named).collect()
}
