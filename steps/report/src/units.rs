//! Readable numbers, names and states.

use contract::run::{RunStatus, TaskState};
pub use contract::units::{Unit, bytes, count, counted, number, percent, quantity, seconds, span};

/// Returns the first digits of a hash.
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Returns a name in words: `isolation_forest` becomes `isolation forest`.
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Returns the state of a task, in a word or two.
pub(crate) fn task_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Waiting => "waiting",
        TaskState::Running => "not finished",
        TaskState::Done => "done",
        TaskState::Cached => "from the cache",
        TaskState::Failed => "failed",
        TaskState::Skipped => "skipped",
    }
}

/// Returns the status of a run, in a word or two.
pub(crate) fn status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "not finished",
        RunStatus::Done => "done",
        RunStatus::Refused => "refused",
        RunStatus::Failed => "failed",
    }
}
