//! Fault scenarios: a file describes which faults to inject, where, when and for how long; this
//! crate injects them and writes the scenario log that the step `label` reads.
//!
//! - [`mod@file`] is the scenario file and its checks, [`timetable`] computes the start and end
//!   times;
//! - [`faults`] has one file for each kind of fault of the local executor;
//! - [`worker`] runs one fault in a separate process, and ends all processes of the fault, even if
//!   the runner is killed; [`runner`] runs the timetable;
//! - [`log`] is the scenario log: CSV for `label`, JSON lines with every detail;
//! - [`chaos`] generates an Argo workflow that creates Chaos Mesh objects, and reads the true
//!   times back from their status.

pub mod chaos;
pub mod faults;
pub mod file;
pub mod log;
mod processes;
pub mod runner;
pub mod timetable;
pub mod worker;

use contract::Timestamp;

/// Returns the current time. Faults run in real time, so the clock is the only input of a scenario
/// that is not a flag.
#[expect(clippy::disallowed_methods, reason = "a fault starts and ends on the wall clock")]
pub fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_ms(since.map_or(0, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX)))
}
