//! The local executor: starts ready tasks, keeps the record, and retries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use contract::{ErrorKind, Outcome, StepError, artifact};
use document::Document;
use plan::Plan;
use tokio::task::JoinSet;

use super::cache::{self, KeyParts, Lookup};
use super::limit::Limit;
use super::process::{self, Attempt};
use super::record::{RunRecord, RunStatus, TaskRecord, TaskState};
use super::signals::{Interrupt, interrupted};

/// How a plan is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most tasks that run at the same time.
    pub jobs: usize,
    /// Threads of each task.
    pub threads: u16,
    /// Attempts after the first for exit codes 4 and 5.
    pub retries: u32,
    /// This task and all tasks that depend on it do not use the cache.
    pub from: Option<String>,
    /// Neither read nor write the cache.
    pub uncached: bool,
    /// Keep stdout for data: the tasks' output to stdout goes to stderr.
    pub data_on_stdout: bool,
    /// Deadline of all tasks; `None` for no deadline.
    pub limit: Option<Limit>,
    /// Run tasks that do not need a failed task, such as those of other shards.
    pub keeps_going: bool,
}

/// Runs one plan in one run folder.
pub struct Runner<'a> {
    /// The store's folder: runs, cache.
    pub root: &'a Path,
    /// The run's folder.
    pub folder: &'a Path,
    /// The plan.
    pub plan: &'a Plan,
    /// The document.
    pub document: &'a Document,
    /// How to run it.
    pub options: &'a Options,
    /// Called for every change of a task.
    pub watch: &'a dyn Fn(&TaskRecord),
}

impl std::fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A completed attempt of a task, with its duration.
struct Ended {
    /// Number of the task.
    index: usize,
    attempt: Result<Attempt, StepError>,
    took: Duration,
}

impl Runner<'_> {
    /// Runs the tasks that are not done yet, and returns the error of the first task that failed.
    ///
    /// The record always contains the current progress, so a killed run resumes where it stopped.
    pub async fn run(&self, record: &mut RunRecord) -> Result<(), StepError> {
        record.write(self.folder)?;
        let done = self.run_tasks(record).await;
        record.status = match &done {
            Ok(()) => RunStatus::Done,
            Err(error) if error.message == super::INTERRUPTED => RunStatus::Running,
            Err(error) if error.kind == ErrorKind::Refused => RunStatus::Refused,
            Err(_) => RunStatus::Failed,
        };
        if record.is_training() {
            record.metrics = RunRecord::metrics_of(self.folder);
        }
        record.write(self.folder)?;
        done
    }

    async fn run_tasks(&self, record: &mut RunRecord) -> Result<(), StepError> {
        let program = Program::this()?;
        let forced = self.forced()?;
        let started = Instant::now();
        let earlier_seconds = record.seconds;
        let mut interrupt = Interrupt::new()?;
        let mut running: JoinSet<Ended> = JoinSet::new();
        let mut failure: Option<StepError> = None;
        loop {
            if failure.is_none() || self.options.keeps_going {
                self.start_ready(record, &mut running, &program, &forced)?;
            }
            record.seconds = earlier_seconds + started.elapsed().as_secs_f64();
            record.write(self.folder)?;
            tokio::select! {
                ended = running.join_next() => match ended {
                    None => break,
                    Some(Ok(ended)) => {
                        let failed = self.ended(record, ended, &mut running, &program)?;
                        failure = failure.or(failed);
                    }
                    Some(Err(error)) => return Err(StepError::bug(format!("a task's watcher ended: {error}"))),
                },
                () = interrupt.wait() => {
                    // Dropping the set kills the tasks; their outputs appear whole or not at all.
                    drop(running);
                    return Err(interrupted());
                }
            }
        }
        self.skip_waiting(record);
        failure.map_or(Ok(()), Err)
    }

    /// Sets the reason of each task that was not started: a required task failed, or the run ended
    /// early.
    fn skip_waiting(&self, record: &mut RunRecord) {
        let name = |index: usize| self.plan.tasks[index].name.clone();
        for index in 0..record.tasks.len() {
            let is = |task: usize, state| record.tasks[task].state == state;
            if !is(index, TaskState::Waiting) {
                continue;
            }
            let missing = |needed: &&usize| {
                is(**needed, TaskState::Failed) || is(**needed, TaskState::Skipped)
            };
            let failed = (0..record.tasks.len()).find(|task| is(*task, TaskState::Failed));
            let why = match (self.plan.needs(index).iter().find(missing), failed) {
                (Some(needed), _) => format!("it needs `{}`", name(*needed)),
                (None, Some(failed)) => {
                    format!("the run ended before it: `{}` failed", name(failed))
                }
                (None, None) => "the run ended before it".to_owned(),
            };
            self.change(record, index, TaskState::Skipped, why);
        }
    }

    fn forced(&self) -> Result<BTreeSet<usize>, StepError> {
        let Some(from) = &self.options.from else { return Ok(BTreeSet::new()) };
        let index = self.plan.find(from)?;
        Ok(self.plan.with_followers(index).into_iter().collect())
    }

    /// Starts every task that is ready, while there are free slots. Tasks found in the cache are
    /// done immediately, and may make others ready.
    fn start_ready(
        &self,
        record: &mut RunRecord,
        running: &mut JoinSet<Ended>,
        program: &Program,
        forced: &BTreeSet<usize>,
    ) -> Result<(), StepError> {
        for index in 0..self.plan.tasks.len() {
            let settled = |needed: &usize| {
                matches!(record.tasks[*needed].state, TaskState::Done | TaskState::Cached)
            };
            if record.tasks[index].state != TaskState::Waiting
                || !self.plan.needs(index).iter().all(settled)
            {
                continue;
            }
            let task = &self.plan.tasks[index];
            if !self.options.uncached {
                let parts = cache::gather(task, self.document, &program.build)?;
                let why = self.reason_to_run(index, &parts, forced)?;
                record.tasks[index].parts = Some(parts);
                match why {
                    Lookup::Hit(why) => {
                        self.change(record, index, TaskState::Cached, why);
                        continue;
                    }
                    Lookup::Miss(why) => record.tasks[index].why = why,
                }
            }
            if running.len() >= self.options.jobs {
                continue;
            }
            let why = std::mem::take(&mut record.tasks[index].why);
            self.change(record, index, TaskState::Running, why);
            record.tasks[index].attempts = 0;
            self.attempt(record, index, running, program);
        }
        Ok(())
    }

    fn reason_to_run(
        &self,
        index: usize,
        parts: &KeyParts,
        forced: &BTreeSet<usize>,
    ) -> Result<Lookup, StepError> {
        let task = &self.plan.tasks[index];
        if !task.command.is_cached() {
            return Ok(Lookup::Miss("it changes the store, so it is done each time".to_owned()));
        }
        if forced.contains(&index) {
            return Ok(Lookup::Miss("--from says so".to_owned()));
        }
        cache::lookup(self.root, task, parts)
    }

    fn attempt(
        &self,
        record: &mut RunRecord,
        index: usize,
        running: &mut JoinSet<Ended>,
        program: &Program,
    ) {
        let task = &self.plan.tasks[index];
        let attempts = record.tasks[index].attempts;
        record.tasks[index].attempts += 1;
        let folder = self.task_folder(index);
        let wait = pause_before(attempts);
        let (program, task, options) = (program.path.clone(), task.clone(), self.options.clone());
        running.spawn(async move {
            tokio::time::sleep(wait).await;
            let started = Instant::now();
            let attempt = process::attempt(&program, &task, &folder, &options).await;
            Ended { index, attempt, took: started.elapsed() }
        });
    }

    /// Records the result of an attempt; starts another attempt, or returns the task's error.
    fn ended(
        &self,
        record: &mut RunRecord,
        Ended { index, attempt, took }: Ended,
        running: &mut JoinSet<Ended>,
        program: &Program,
    ) -> Result<Option<StepError>, StepError> {
        let attempt = attempt?;
        let task = &mut record.tasks[index];
        task.exit_code = Some(attempt.exit_code);
        task.seconds = took.as_secs_f64();
        if attempt.exit_code == 0 {
            let parts = task.parts.clone();
            if let Some(parts) = parts.filter(|_| self.plan.tasks[index].command.is_cached()) {
                cache::remember(self.root, &record.run, &self.plan.tasks[index], &parts)?;
            }
            let why = std::mem::take(&mut record.tasks[index].why);
            self.change(record, index, TaskState::Done, why);
            return Ok(None);
        }
        let has_time =
            self.options.limit.is_none_or(|limit| limit.leaves(pause_before(task.attempts)));
        if attempt.is_retried() && task.attempts <= self.options.retries && has_time {
            self.attempt(record, index, running, program);
            (self.watch)(&record.tasks[index]);
            return Ok(None);
        }
        let error = self.error_of(index, &attempt);
        self.change(record, index, TaskState::Failed, error.message.clone());
        Ok(Some(error))
    }

    fn error_of(&self, index: usize, attempt: &Attempt) -> StepError {
        let name = &self.plan.tasks[index].name;
        if let Some(Outcome { error: Some(error), .. }) = &attempt.outcome {
            let mut error = error.clone();
            error.message = format!("{name}: {}", error.message);
            return error;
        }
        let log = self.task_folder(index).join("log.jsonl");
        let message = match attempt.exit_code {
            code @ 129.. => format!("{name}: ended by signal {}", code - 128),
            code => format!("{name}: ended with exit code {code} and said nothing of it"),
        };
        let kind = match attempt.exit_code {
            2 => ErrorKind::Usage,
            3 => ErrorKind::Refused,
            4 => ErrorKind::Unavailable,
            5 => ErrorKind::LostRace,
            _ => ErrorKind::Bug,
        };
        StepError::new(kind, message).hint(format!("its log is `{}`", log.display()))
    }

    fn change(&self, record: &mut RunRecord, index: usize, state: TaskState, why: String) {
        let task = &mut record.tasks[index];
        task.state = state;
        task.why = why;
        (self.watch)(task);
    }

    fn task_folder(&self, index: usize) -> PathBuf {
        self.folder.join(&self.plan.tasks[index].name)
    }
}

/// Returns the backoff before an attempt after this number of failures.
pub(super) fn pause_before(attempts: u32) -> Duration {
    match attempts {
        0 => Duration::ZERO,
        failed => Duration::from_secs(1 << (failed - 1).min(5)),
    }
}

/// This program, which also runs each task.
struct Program {
    path: PathBuf,
    /// Its version, and a mark that distinguishes two builds of a version on one machine.
    build: String,
}

impl Program {
    fn this() -> Result<Self, StepError> {
        let path = super::this_program()?;
        let built = fs_err::metadata(&path).ok().and_then(|meta| {
            let modified = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(format!("{}:{}", meta.len(), modified.as_nanos()))
        });
        let built = artifact::sha256(built.unwrap_or_default().as_bytes());
        Ok(Self { path, build: format!("{} ({})", contract::VERSION, &built[..8]) })
    }
}
