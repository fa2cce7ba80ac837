//! `run.json`: the tasks of a run, and its progress.

use std::collections::BTreeMap;
use std::path::Path;

use contract::outcome::Status;
use contract::run::{RunRecord, RunStatus, TaskRecord, TaskState};
use contract::{Outcome, Stage, StepError, Timestamp, read_json};
use fs_err as fs;

/// Reads the record of the run in a folder.
pub(super) fn read(folder: &Path) -> Result<RunRecord, StepError> {
    match of_outcomes(folder) {
        Some(record) => Ok(record),
        None => RunRecord::read(folder).map_err(|error| {
            error.hint("give the folder of a run: the store has them in `runs/<pipeline>/`")
        }),
    }
}

/// Makes the record of a run in a cluster, where the tasks are pods and no runner writes
/// `run.json`: from the outcome of each task, in the order of the stages. An empty folder is a run
/// whose first task did not complete.
fn of_outcomes(folder: &Path) -> Option<RunRecord> {
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
        let stage = Stage::named(super::step_of(name).split('-').next()?)?;
        Stage::ALL.iter().position(|known| *known == stage)
    };
    tasks.sort_by(|a, b| (place(&a.0), &a.0).cmp(&(place(&b.0), &b.0)));
    let ended = tasks.iter().find_map(|(_, outcome)| match outcome.status {
        Status::Done => None,
        Status::Refused => Some(RunStatus::Refused),
        Status::Failed => Some(RunStatus::Failed),
    });
    let deployed = tasks.iter().any(|(name, _)| name == Stage::Deploy.name());
    let is_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    let status = match ended {
        Some(status) => status,
        None if deployed => RunStatus::Done,
        None if is_empty => RunStatus::Failed,
        None => RunStatus::Running,
    };
    let run = folder.file_name()?.to_string_lossy().into_owned();
    let of_task = |(name, outcome): &(String, Outcome)| TaskRecord {
        name: name.clone(),
        state: match outcome.status {
            Status::Done => TaskState::Done,
            Status::Refused | Status::Failed => TaskState::Failed,
        },
        why: String::new(),
        attempts: 1,
        exit_code: Some(i32::from(outcome.exit_code)),
        seconds: outcome.seconds,
        parts: None,
    };
    (is_empty || !tasks.is_empty()).then(|| RunRecord {
        format: RunRecord::FORMAT,
        run,
        pipeline: String::new(),
        now: Timestamp::from_ms(0),
        started: Timestamp::from_ms(0),
        document_sha256: String::new(),
        status,
        seconds: tasks.iter().map(|(_, outcome)| outcome.seconds).sum(),
        tasks: tasks.iter().map(of_task).collect(),
        metrics: BTreeMap::new(),
        tags: BTreeMap::new(),
        note: None,
    })
}

/// Returns the names of the files and folders of a folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Returns the outcomes of the tasks whose folders are in a folder, by their prefixed names.
fn outcomes_in(folder: &Path, prefix: &str) -> Vec<(String, Outcome)> {
    let named = |name: String| {
        let outcome: Outcome = read_json(&folder.join(&name).join("outcome.json")).ok()?;
        Some((format!("{prefix}{name}"), outcome))
    };
    names_in(folder).into_iter().filter_map(named).collect()
}
