//! The record of a run in a cluster, where the tasks are pods, and only their outcomes record their
//! results.

use std::path::Path;

use contract::run::{KeyParts, RunRecord, RunStatus, TaskRecord, TaskState};
use contract::{Outcome, Stage, StepError, Timestamp, artifact};
use document::{Document, sections};

use crate::runs::Run;

/// File of the run's document.
const DOCUMENT: &str = "document.yaml";

/// Writes `run.json` and the document of a run into a folder.
///
/// Errors: a folder that cannot be written, a document that cannot be read.
pub(crate) fn write(
    folder: &Path,
    run: &Run,
    file: &Path,
    started: Timestamp,
) -> Result<(), StepError> {
    // The whole document is read, because the inputs of every step are recorded; the page uses
    // fewer sections.
    let document = document::read(file)?;
    let text = fs_err::read(file).map_err(|e| StepError::reading(file, &e))?;
    artifact::write_file(&folder.join(DOCUMENT), &text)?;
    let tasks: Vec<TaskRecord> =
        run.tasks.iter().map(|task| record_of(task, &document)).collect::<Result<_, _>>()?;
    // The run has ended, so a task that has not succeeded will not run any more.
    let status = match run.record.status {
        RunStatus::Running => RunStatus::Failed,
        ended => ended,
    };
    let select = run.tasks.iter().find(|task| task.record.name == Stage::Select.name());
    let metrics = select.and_then(|task| task.outcome.as_ref());
    let metrics = match metrics {
        Some(outcome) => outcome.metrics.clone(),
        // Each shard has its own selection.
        None => RunRecord::metrics_of(&run.folder),
    };
    let record = RunRecord {
        pipeline: document.name.clone(),
        started,
        document_sha256: artifact::sha256(&text),
        status,
        tasks,
        metrics,
        ..run.record.clone()
    };
    record.write(folder)
}

fn record_of(task: &crate::runs::Task, document: &Document) -> Result<TaskRecord, StepError> {
    let record = &task.record;
    let outcome = task.outcome.as_ref();
    let failed = outcome.and_then(|outcome| outcome.error.as_ref());
    Ok(TaskRecord {
        state: match record.state {
            TaskState::Done | TaskState::Cached => TaskState::Done,
            TaskState::Skipped => TaskState::Skipped,
            TaskState::Waiting | TaskState::Running | TaskState::Failed => TaskState::Failed,
        },
        why: failed.map_or_else(|| "a pod of the cluster ran it".to_owned(), |e| e.message.clone()),
        parts: outcome.map(|outcome| parts(outcome, document)).transpose()?.flatten(),
        ..record.clone()
    })
}

/// Returns everything that determines a task's outputs, as the local runner records it for its
/// cache.
fn parts(outcome: &Outcome, document: &Document) -> Result<Option<KeyParts>, StepError> {
    let Some(stage) = Stage::named(&outcome.step) else { return Ok(None) };
    let parameter = |name: &str| serde_json::from_str::<String>(outcome.parameters.get(name)?).ok();
    let model = parameter("model").filter(|_| stage == Stage::Train);
    let inputs = outcome.inputs.iter().filter(|(port, _)| *port != "document");
    Ok(Some(KeyParts {
        program: outcome.version.clone(),
        stage: outcome.step.clone(),
        parameters: outcome.parameters.clone(),
        document: sections::sha256(document, stage, model.as_deref())?,
        inputs: inputs.map(|(port, record)| (port.clone(), record.sha256.clone())).collect(),
    }))
}
