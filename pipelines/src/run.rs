//! Runs a plan on this machine: each task is a process, in parallel where possible.

mod cache;
mod execute;
mod last;
mod limit;
pub mod mirror;
mod process;
mod record;
mod signals;
mod summary;

use std::path::PathBuf;

use contract::StepError;

pub use cache::KeyParts;
pub use execute::{Options, Runner};
pub use limit::Limit;
pub use record::{RunRecord, RunStatus, TaskRecord, TaskState, read_runs};
pub(crate) use signals::Signals;
pub use signals::{end_well_on_signals, wait_for_signal};
pub use summary::{human_bytes, human_seconds, table};

/// Environment variable that names the process which runs the plan, for steps that must not
/// outlive it.
pub const RUNNER: &str = "LYNCEUS_RUNNER";

/// What an interrupted run says.
pub const INTERRUPTED: &str = "interrupted";

/// Returns this program's file: each task is a process of it.
pub fn this_program() -> Result<PathBuf, StepError> {
    std::env::current_exe().map_err(|e| {
        StepError::unavailable(format!("cannot find this program: {e}"))
            .hint("the program may have been removed or replaced while it ran: start it again")
    })
}
