//! The process that runs one fault.
//!
//! The runner writes the job as one line of JSON to the worker's standard input and keeps that pipe
//! open. When the pipe closes, because the runner requests a stop or was killed, the worker kills
//! all processes of the fault and writes the end into the log. The worker is the subreaper of its
//! descendants, so it also finds processes whose parent has ended. If the worker itself is killed,
//! the fault ends by its own timeout.

use std::io::{BufRead as _, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contract::{Span, StepError, Timestamp, artifact};
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

use crate::faults::FaultKind;
use crate::file::Limits;
use crate::log::{End, Record, ScenarioLog};
use crate::{processes, wall_clock};

/// Job of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Number of the fault in the log.
    pub id: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Path of the log's CSV.
    pub log: std::path::PathBuf,
    /// Label.
    pub label: String,
    /// Entity it happens to.
    pub target: String,
    /// Requested start.
    pub requested_start: Timestamp,
    /// How long it lasts.
    pub duration: Span,
    /// Time after it that is excluded.
    #[serde(default)]
    pub guard: Span,
    /// The fault.
    pub fault: FaultKind,
    /// Limits of the fault.
    pub limits: Limits,
}

/// Signals to a fault that it must end.
#[derive(Debug, Clone)]
pub struct Stop {
    asked: Arc<(Mutex<bool>, Condvar)>,
    deadline: Instant,
}

impl Stop {
    /// Makes a stop that takes effect after `duration` at the latest.
    pub fn after(duration: Duration) -> Self {
        Self { asked: Arc::default(), deadline: Instant::now() + duration }
    }

    /// Requests the end now.
    pub fn ask(&self) {
        *self.asked.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.asked.1.notify_all();
    }

    /// Requests the end when the other side of a pipe closes it.
    fn ask_at_the_end_of(&self, mut input: impl Read + Send + 'static) {
        let stop = self.clone();
        std::thread::spawn(move || {
            // An error also means the end.
            drop(input.read_to_end(&mut Vec::new()));
            stop.ask();
        });
    }

    /// Returns whether the end was requested before the deadline.
    pub fn is_asked(&self) -> bool {
        *self.asked.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for at most `most`, and returns whether the fault must end.
    pub fn wait(&self, most: Duration) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(most);
        let asked = self.asked.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.asked.1.wait_timeout_while(asked, left, |asked| !*asked);
        let asked = *waited.unwrap_or_else(PoisonError::into_inner).0;
        asked || Instant::now() >= self.deadline
    }

    /// Returns the time left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Runs the job from standard input; the main function of the worker process.
///
/// Errors: usage (2) for a fault that this machine cannot run, unavailable (4) if it failed.
pub fn main() -> Result<(), StepError> {
    let unreadable = |error: std::io::Error| {
        StepError::bug(format!("cannot read the job from standard input: {error}"))
    };
    let mut line = String::new();
    let mut input = std::io::BufReader::new(std::io::stdin());
    input.read_line(&mut line).map_err(unreadable)?;
    let job: Job = artifact::parse_json("job", line.as_bytes())?;
    processes::adopt_descendants()?;
    limit(&job.limits);
    run(&job, input)
}

/// Runs one fault from its first to its last process and logs both ends.
fn run(job: &Job, input: impl Read + Send + 'static) -> Result<(), StepError> {
    let log = ScenarioLog::new(&job.log);
    let fault = job.fault.fault();
    fault.prepare()?;
    let bug = |error| StepError::bug(format!("cannot write a fault as JSON: {error}"));
    let mut record = Record {
        id: job.id.clone(),
        scenario: job.scenario.clone(),
        executor: "local".to_owned(),
        kind: job.fault.name().to_owned(),
        label: job.label.clone(),
        target: job.target.clone(),
        parameters: serde_json::to_value(&job.fault).map_err(bug)?,
        requested_start: job.requested_start,
        requested_duration: job.duration,
        guard: job.guard,
        start: wall_clock(),
        end: None,
        outcome: None,
    };
    log.started(&record)?;
    let stop = Stop::after(job.duration.to_std());
    stop.ask_at_the_end_of(input);
    let done = fault.run(&stop);
    let left = processes::kill_descendants();
    record.end = Some(wall_clock());
    record.outcome = Some(match &done {
        Err(error) => End::Failed(error.message.clone()),
        Ok(()) if left > 0 => End::Failed(format!("{left} processes could not be killed")),
        Ok(()) if stop.is_asked() => End::Stopped,
        Ok(()) => End::Completed,
    });
    log.ended(&record)?;
    done
}

/// Lowers this process's own limits, which its children inherit, so that the kernel denies memory
/// and disk space to a fault that exceeds them. A lower hard limit is kept.
fn limit(limits: &Limits) {
    /// Additional memory limit: programs also map libraries and stacks.
    const MAPPED_BESIDE_MIB: u64 = 1024;
    let mib = |count: u64| Some(count.saturating_mul(1024 * 1024));
    for (resource, most) in [
        (Resource::As, mib(limits.memory_mib + MAPPED_BESIDE_MIB)),
        (Resource::Fsize, mib(limits.disk_mib)),
        (Resource::Core, Some(0)),
    ] {
        let limit = Rlimit { current: most, maximum: most };
        if let Err(error) = rustix::process::setrlimit(resource, limit) {
            tracing::warn!(%error, ?resource, "Could not lower a limit of the worker");
        }
    }
}
