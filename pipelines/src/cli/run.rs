//! `lynceus run`: the training pipeline.

mod remarks;
mod test_table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::deployment::Deployment;
use contract::{SYSTEM_HINT, StepError, Timestamp, artifact, read_json, units};
use document::Document;
use fs_err as fs;
use plan::{Inputs, Plan, Task, train};

use super::context::{Context, DocumentArgs, clock};
use super::progress::Progress;
use super::{
    Global, OutputFormat, evaluate, features, print, print_json, report, say, score, track,
};
use crate::run::{
    INTERRUPTED, Options, RunRecord, RunStatus, Runner, TaskRecord, TaskState, read_runs, table,
};
use remarks::Remarks;

/// Warnings of a task that are printed.
const SHOWN_WARNINGS: usize = 10;

/// Flags of `lynceus run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Use this evaluation time instead of the clock; the same time gives the same bytes
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Run this task and all tasks that depend on it again, without the cache
    #[arg(long, value_name = "TASK")]
    from: Option<String>,
    /// Read the latest parts of feature groups, instead of those that an earlier start of this run
    /// pinned
    #[arg(long)]
    repin: bool,
    /// Print every warning instead of the first ten of each task
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    remarks: Remarks,
    #[command(flatten)]
    process: ProcessArgs,
}

/// Flags for the execution of tasks.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ProcessArgs {
    /// Run at most this many tasks at once [default: number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Threads of each task [default: number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Retries after a failure of an outside service or a lost race
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=20))]
    retries: u32,
}

impl ProcessArgs {
    pub(crate) fn options(&self, global: &Global) -> Options {
        let processors = std::thread::available_parallelism()
            .map_or(1, |n| u16::try_from(n.get()).unwrap_or(u16::MAX));
        Options {
            jobs: usize::from(self.jobs.unwrap_or(processors)),
            threads: self.threads.unwrap_or(processors),
            retries: self.retries,
            from: None,
            uncached: false,
            data_on_stdout: global.output() == OutputFormat::Json,
            limit: None,
            keeps_going: false,
        }
    }
}

pub(crate) fn execute(global: &Global, args: &RunArgs) -> Result<(), StepError> {
    let mut context = Context::new(global, &args.document)?;
    let now = match (args.now, args.document.sample) {
        (Some(now), _) => Some(now),
        (None, true) => Some(context.sample()?.train_until),
        (None, false) => context.last_row()?,
    };
    context.store.reach()?;
    context.settle_shards(now.unwrap_or_else(clock))?;
    let tested = test_table::of(&context)?;
    let run = Prepared::new(&context, now, args)?;
    let options = args.process.options(global);
    let done = run.execute(&context, &Options { from: args.from.clone(), ..options });
    let record = match RunRecord::read(&run.folder) {
        Ok(record) => record,
        Err(error) => return done.and(Err(error)),
    };
    match global.output() {
        OutputFormat::Json => print_json(&record)?,
        OutputFormat::Text => print(&summary(&run.folder, &record, args.verbose))?,
    }
    let page = run.folder.join("report.html");
    let told = match &done {
        Ok(()) => test_table::judge(global, &context, tested.as_deref(), &run.folder)
            .and_then(|()| after(global, args, &context, &page)),
        // A failed run gets a page too. The command returns the error of the run, not of the page.
        Err(_) => report::write(&context, &run.folder, None, &page),
    };
    // An interrupted run is resumed on this machine, and uploaded when it ends.
    if record.status != RunStatus::Running {
        context.store.keep_run(&run.folder)?;
        track::after_run(&context);
    }
    done?;
    told?;
    match global.output() {
        OutputFormat::Json => Ok(()),
        OutputFormat::Text => print(&format!("report  {}\n", page.display())),
    }
}

/// Runs the follow-up of a successful training: scores the sample, and writes the page.
fn after(global: &Global, args: &RunArgs, context: &Context, page: &Path) -> Result<(), StepError> {
    let run = page.parent().unwrap_or(page);
    if args.document.sample {
        let sample = context.sample()?.clone();
        let options = args.process.options(global);
        score::tick(context, sample.score_until, Some(sample.train_until), options)?;
        evaluate::after_sample(global, context, &sample, run)?;
        report::write(context, run, Some((sample.train_until, sample.score_until)), page)
    } else {
        report::write(context, run, None, page)
    }
}

/// A run with its folder, its plan and its record; new, or to be resumed.
struct Prepared {
    folder: PathBuf,
    plan: Plan,
    record: RunRecord,
    /// Task that sends the result of the run, if the document enables it.
    last: Option<Task>,
    /// Lock held while the run is active, so that no second process runs in the same folder.
    lock: fs::File,
}

impl Prepared {
    fn new(context: &Context, now: Option<Timestamp>, args: &RunArgs) -> Result<Self, StepError> {
        let document = &context.document;
        let sha256 = document_sha256(document, &context.base)?;
        let name = |now: Timestamp| format!("{}-{}", now.compact(), &sha256[..8]);
        let now = now
            .or_else(|| unfinished(&context.store.root, &document.name, &sha256))
            .unwrap_or_else(clock);
        let folder = context.store.root.join("runs").join(&document.name).join(name(now));
        let inputs = Inputs {
            document,
            base: &context.base,
            folder: &folder,
            store: &context.store.url,
            now,
        };
        let mut plan = train::plan(&inputs)?;
        args.from.as_ref().map_or(Ok(0), |task| plan.find(task))?;
        fs::create_dir_all(&folder).map_err(|e| StepError::writing(&folder, &e))?;
        let lock = lock(&folder)?;
        plan.pin(features::pins::of_run(context, &folder, now, args.repin)?.as_ref());
        document::write(&folder.join("document.yaml"), document)?;
        let earlier = RunRecord::read(&folder).ok();
        let mut record = RunRecord {
            format: RunRecord::FORMAT,
            run: name(now),
            pipeline: document.name.clone(),
            now,
            started: clock(),
            document_sha256: sha256,
            status: RunStatus::Running,
            seconds: earlier
                .as_ref()
                .filter(|earlier| earlier.status == RunStatus::Running)
                .map_or(0.0, |earlier| earlier.seconds),
            tasks: waiting(&plan),
            metrics: BTreeMap::new(),
            tags: BTreeMap::new(),
            note: None,
        };
        args.remarks.lay_over(earlier.as_ref(), &mut record);
        let last = train::alert(&inputs, &plan);
        Ok(Self { plan, record, last, lock, folder: folder.clone() })
    }

    fn execute(&self, context: &Context, options: &Options) -> Result<(), StepError> {
        let progress = Progress::start(&self.plan);
        let watch = |task: &TaskRecord| progress.show(task);
        let runner = Runner {
            root: &context.store.root,
            folder: &self.folder,
            plan: &self.plan,
            document: &context.document,
            options,
            watch: &watch,
        };
        let done = block_on(runner.run(&mut self.record.clone()));
        progress.finish();
        self.tell(&runner, &done);
        self.split(context)?;
        // Unlocked explicitly, so that the compiler sees a use of the field.
        drop(self.lock.file().unlock());
        done
    }

    /// Writes a record for each shard, so that its folder can be shown as a run.
    fn split(&self, context: &Context) -> Result<(), StepError> {
        let Ok(whole) = RunRecord::read(&self.folder) else { return Ok(()) };
        for shard in context.document.shards.all().into_iter().flatten() {
            let prefix = format!("{}/", shard.part());
            let own = |task: &TaskRecord| {
                let name = task.name.strip_prefix(&prefix)?.to_owned();
                Some(TaskRecord { name, ..task.clone() })
            };
            let folder = self.folder.join(shard.part());
            let record = RunRecord {
                run: format!("{}/{}", whole.run, shard.part()),
                tasks: whole.tasks.iter().filter_map(own).collect(),
                metrics: RunRecord::metrics_of(&folder),
                ..whole.clone()
            };
            record.write(&folder)?;
            document::write(&folder.join("document.yaml"), &context.document)?;
        }
        Ok(())
    }

    /// Sends messages about the end of the run. Messages that cannot be sent stay in the store, and
    /// do not affect the run.
    fn tell(&self, runner: &Runner<'_>, done: &Result<(), StepError>) {
        let interrupted = done.as_ref().is_err_and(|error| error.message == INTERRUPTED);
        let Some(task) = self.last.as_ref().filter(|_| !interrupted) else { return };
        if let Err(error) = block_on(runner.run_last(task)) {
            say(&format!(
                "the message about the end of the training did not reach every channel: {}",
                error.message
            ));
        }
    }
}

/// Returns the record entries of a plan whose tasks are all waiting.
pub(crate) fn waiting(plan: &Plan) -> Vec<TaskRecord> {
    let fresh = |name: &String| TaskRecord {
        name: name.clone(),
        state: TaskState::Waiting,
        why: String::new(),
        attempts: 0,
        exit_code: None,
        seconds: 0.0,
        parts: None,
    };
    plan.tasks.iter().map(|task| fresh(&task.name)).collect()
}

/// Runs a future on a new runtime, on this thread.
pub(crate) fn block_on<T>(
    future: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|e| {
            StepError::unavailable(format!("cannot start the runtime: {e}")).hint(SYSTEM_HINT)
        })?
        .block_on(future)
}

/// Returns the evaluation time of the last training if it used this document and was killed or
/// interrupted: the same command resumes it.
fn unfinished(root: &Path, pipeline: &str, document_sha256: &str) -> Option<Timestamp> {
    let mut runs = read_runs(root, pipeline).into_iter().rev();
    let (folder, last) = runs.find(|(_, run)| run.is_training())?;
    if last.status != RunStatus::Running || last.document_sha256 != document_sha256 {
        return None;
    }
    say(&format!("resuming the interrupted run {}", folder.display()));
    Some(last.now)
}

pub(super) fn document_sha256(document: &Document, base: &Path) -> Result<String, StepError> {
    let value = serde_json::to_string(document)
        .map_err(|e| StepError::bug(format!("cannot write the document as JSON: {e}")))?;
    Ok(artifact::sha256(format!("{}\n{value}", base.display()).as_bytes()))
}

/// Locks the run for this process; the lock is released when the process ends.
pub(crate) fn lock(folder: &Path) -> Result<fs::File, StepError> {
    let path = folder.join(".lock");
    let file = fs::File::create(&path).map_err(|e| StepError::writing(&path, &e))?;
    match file.file().try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StepError::lost_race(format!(
            "`{}` is in use by another process",
            folder.display()
        ))
        .hint("wait for it, or stop it and run again")),
        Err(std::fs::TryLockError::Error(error)) => Err(StepError::writing(&path, &error)),
    }
}

/// Returns the summary of a run as text.
fn summary(folder: &Path, record: &RunRecord, verbose: bool) -> String {
    let mut rows = vec![["task", "state", "time", "memory", ""].map(str::to_owned).to_vec()];
    for task in &record.tasks {
        let outcome = RunRecord::outcome_of(folder, &task.name);
        let outcome =
            outcome.filter(|_| task.state == TaskState::Done || task.state == TaskState::Failed);
        let note = match (task.state, &outcome) {
            (TaskState::Failed | TaskState::Skipped, _) => String::new(),
            (_, Some(outcome)) => counts(outcome),
            (_, None) => task.why.clone(),
        };
        rows.push(vec![
            task.name.clone(),
            state_name(task.state).to_owned(),
            outcome.as_ref().map(|_| units::seconds(task.seconds)).unwrap_or_default(),
            outcome
                .as_ref()
                .map(|outcome| units::bytes(outcome.peak_memory_bytes))
                .unwrap_or_default(),
            note,
        ]);
    }
    let mut text = table(&rows);
    text.push_str(&warnings(folder, record, verbose));
    if let Some(deployment) = deployment(folder)
        && record.status == RunStatus::Done
    {
        text.push_str(&format!("\nmodel   {}: {}\n", deployment.version, deployment.why));
    }
    text.push_str(&format!("run     {} ({})\n", folder.display(), units::seconds(record.seconds)));
    text
}

/// Returns the warnings of the tasks, the first ones of each task in full.
fn warnings(folder: &Path, record: &RunRecord, verbose: bool) -> String {
    let shown = if verbose { usize::MAX } else { SHOWN_WARNINGS };
    let mut text = String::new();
    let has_ended = |task: &&TaskRecord| {
        matches!(task.state, TaskState::Done | TaskState::Cached | TaskState::Failed)
    };
    for task in record.tasks.iter().filter(has_ended) {
        let Some(outcome) = RunRecord::outcome_of(folder, &task.name) else { continue };
        for warning in outcome.warnings.iter().take(shown) {
            text.push_str(&format!("warning {}: {warning}\n", task.name));
        }
        if let Some(more) = outcome.warnings.len().checked_sub(shown).filter(|more| *more > 0) {
            let name = &task.name;
            text.push_str(&format!("warning {name}: and {more} more; --verbose prints them\n"));
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// Returns the decision of a run's `deploy`, if there is one.
pub(super) fn deployment(run: &Path) -> Option<Deployment> {
    read_json(&run.join("deploy/deployment.json")).ok()
}

/// Returns an outcome's counts as text: rows first, without counts of zero.
fn counts(outcome: &contract::Outcome) -> String {
    let mut counts: Vec<(&String, &u64)> =
        outcome.counts.iter().filter(|(_, count)| **count > 0).collect();
    counts.sort_by_key(|(name, _)| *name != "rows");
    let words = counts
        .into_iter()
        .take(4)
        .map(|(name, count)| format!("{count} {}", name.replace('_', " ")));
    let mut words: Vec<String> = words.collect();
    match outcome.warnings.len() {
        0 => {}
        1 => words.push("1 warning".to_owned()),
        n => words.push(format!("{n} warnings")),
    }
    words.join(", ")
}

/// Returns the name of a state.
pub(crate) fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Waiting => "waiting",
        TaskState::Running => "running",
        TaskState::Done => "done",
        TaskState::Cached => "cached",
        TaskState::Failed => "failed",
        TaskState::Skipped => "skipped",
    }
}
