//! Runs a timetable on this machine, one worker process at a time.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use contract::{SYSTEM_HINT, Span, StepError, Timestamp};

use crate::file::ScenarioFile;
use crate::log::{End, Record, ScenarioLog};
use crate::timetable::{Entry, Timetable};
use crate::worker::{Job, Stop};
use crate::{processes, wall_clock};

/// Time between two checks of a worker.
const POLL: Duration = Duration::from_millis(100);

/// Progress that is reported while a scenario runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Normal time until a given time.
    Normal(Timestamp),
    /// The fault with this index in the file is injected.
    Injecting(&'a Entry),
    /// A fault has ended.
    Ended(&'a Entry, End),
}

/// A scenario that is ready to run on this machine.
#[derive(Debug)]
pub struct Runner<'a> {
    /// The scenario file.
    pub file: &'a ScenarioFile,
    /// Its timetable.
    pub timetable: &'a Timetable,
    /// Its log.
    pub log: &'a ScenarioLog,
    /// The command that starts a worker.
    pub worker: WorkerCommand<'a>,
}

/// The program and the arguments that start a worker.
#[derive(Debug, Clone, Copy)]
pub struct WorkerCommand<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [&'a str],
}

impl Runner<'_> {
    /// Checks that this machine can run every fault of the timetable, before the first one starts.
    pub fn prepare(&self) -> Result<(), StepError> {
        for entry in &self.timetable.entries {
            let step = &self.file.steps[entry.step];
            let Some(fault) = &step.local else {
                return Err(StepError::usage(format!(
                    "step `{}` is injected by Chaos Mesh, not on this machine",
                    step.label
                ))
                .hint("`lynceus scenario manifests` generates the workflow for a cluster"));
            };
            fault.fault().prepare()?;
        }
        Ok(())
    }

    /// Runs all entries until the end or until `stop`; returns the records of this run's faults.
    ///
    /// A fault that fails is logged and the next one runs; the first failure is returned at the end.
    pub fn run(
        &self,
        stop: &Stop,
        report: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Record>, StepError> {
        processes::adopt_descendants()?;
        let started = wall_clock();
        let run = started.compact();
        report(Progress::Normal(started + self.timetable.lead_in));
        let mut failure = None;
        let mut is_over = stop.wait(self.timetable.lead_in.to_std());
        for (index, entry) in self.timetable.entries.iter().enumerate() {
            if is_over {
                break;
            }
            report(Progress::Injecting(entry));
            let id = format!("{run}-{index}");
            if let Err(error) = self.inject(&id, started + entry.offset, entry, stop) {
                failure = failure.or(Some(error));
            }
            let records = self.log.records()?;
            let outcome = records.iter().find(|record| record.id == id);
            let outcome = outcome.and_then(|record| record.outcome.clone());
            report(Progress::Ended(entry, outcome.unwrap_or(End::Lost)));
            report(Progress::Normal(wall_clock() + entry.pause));
            is_over = stop.is_asked() || stop.wait(entry.pause.to_std());
        }
        let of_this_run = |record: &Record| record.id.starts_with(&format!("{run}-"));
        let records = self.log.records()?.into_iter().filter(of_this_run).collect();
        failure.map_or(Ok(records), Err)
    }

    /// Injects one fault and waits for its end.
    fn inject(
        &self,
        id: &str,
        requested_start: Timestamp,
        entry: &Entry,
        stop: &Stop,
    ) -> Result<(), StepError> {
        let step = &self.file.steps[entry.step];
        let fault = step.local.clone().ok_or_else(|| StepError::bug("a step without a fault"))?;
        let job = Job {
            id: id.to_owned(),
            scenario: self.file.name.clone(),
            log: self.log.csv().to_owned(),
            label: step.label.clone(),
            target: step.target.clone(),
            requested_start,
            duration: entry.duration,
            // A pilot shortens the pauses.
            guard: step.guard.min(entry.pause),
            fault,
            limits: self.file.limits.clone(),
        };
        let mut child = self.start(&job)?;
        let mut input = child.stdin.take();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if stop.wait(POLL) => input = None,
                Ok(None) => {}
                Err(error) => {
                    return Err(StepError::unavailable(format!(
                        "cannot wait for a worker: {error}"
                    ))
                    .hint(SYSTEM_HINT));
                }
            }
        };
        drop(input);
        if status.success() {
            return Ok(());
        }
        // A worker that could not record its end was killed; this process is now the parent of its
        // processes.
        processes::kill_descendants();
        self.log.reconcile()?;
        Err(StepError::unavailable(format!("the fault `{}` failed: {status}", step.label))
            .hint("its output is above, and in the JSON lines of the log"))
    }

    fn start(&self, job: &Job) -> Result<Child, StepError> {
        use std::os::unix::process::CommandExt as _;
        let WorkerCommand { program, arguments } = self.worker;
        let failed = |error: std::io::Error| {
            StepError::unavailable(format!("cannot start `{}`: {error}", program.display()))
                .hint(SYSTEM_HINT)
        };
        // A separate process group: Ctrl-C reaches only the runner, which then ends the fault.
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut line = serde_json::to_string(job)
            .map_err(|error| StepError::bug(format!("cannot write a job as JSON: {error}")))?;
        line.push('\n');
        if let Some(input) = child.stdin.as_mut() {
            input.write_all(line.as_bytes()).map_err(failed)?;
        }
        Ok(child)
    }
}

/// Returns the share of normal time in the timetable, 0 to 1.
pub fn normal_share(timetable: &Timetable) -> f64 {
    let faults = timetable.entries.iter().fold(Span::ZERO, |sum, entry| sum + entry.duration);
    1.0 - faults.seconds() / timetable.total.seconds().max(1.0)
}
