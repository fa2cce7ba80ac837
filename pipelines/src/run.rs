//! Runs a plan on this machine: each task is a process, in parallel where possible.

mod cache;
mod execute;
mod final_task;
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
pub use summary::table;

/// Environment variable with the ID of the process that runs the plan; steps must not run longer
/// than this process.
pub const RUNNER: &str = "LYNCEUS_RUNNER";

/// Message of an interrupted run.
pub const INTERRUPTED: &str = "interrupted";

/// Returns the path of this program: each task is a process of the same program.
pub fn this_program() -> Result<PathBuf, StepError> {
    std::env::current_exe().map_err(|e| {
        StepError::unavailable(format!("cannot find this program: {e}"))
            .hint("the program may have been removed or replaced while it ran: start it again")
    })
}
