//! `lynceus score`: runs the scoring pipeline once.

mod backfill;
mod retrain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::steps::StepCommand;
use contract::{Span, Stage, StepError, TimeRange, Timestamp, artifact, read_json};
use document::Document;
use fs_err as fs;
use plan::{Inputs, Part, Plan, Task};
use serde_json::Value;
use store::{Watermark, watermark};

use super::context::{Context, DocumentArgs, clock, pipeline_path};
use super::run::{ProcessArgs, block_on, lock, waiting};
use super::{Global, OutputFormat, print, print_json, say};
use crate::run::{
    INTERRUPTED, Limit, Options, RunRecord, RunStatus, Runner, TaskRecord, TaskState,
};
use crate::tick_files;

/// Suffix of the names of ticks' folders.
const TICK: &str = "-score";
/// Number of failed ticks whose folders are kept.
const FAILED_TICKS: usize = 20;

/// Flags of `lynceus score`.
#[derive(Debug, clap::Args)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Use this as the current time instead of the clock
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Start after this time, if the pipeline has never scored a window
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Deadline of the whole tick: it ends within this time even if a service does not answer
    /// [default: `scoring.every`, at least 1m]
    #[arg(long, value_name = "DURATION")]
    within: Option<Span>,
    /// Score the windows of a past range that have no score, with the live model, without moving
    /// the watermark or sending alerts
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], conflicts_with_all = ["at", "since", "within"])]
    backfill: Vec<Timestamp>,
    #[command(flatten)]
    process: ProcessArgs,
}

pub(crate) fn execute(global: &Global, args: &ScoreArgs) -> Result<(), StepError> {
    let context = Context::new(global, &args.document)?;
    if let [after, until] = args.backfill[..] {
        let threads = args.process.options(global).threads;
        let filled = backfill::run(&context, TimeRange { after, until }, usize::from(threads))?;
        return match global.output() {
            OutputFormat::Json => print_json(&filled),
            OutputFormat::Text => print(&format!(
                "{} windows scored, {} anomalous, {} without data; {} had a score before\n",
                filled.windows, filled.anomalous, filled.no_data, filled.scored_before
            )),
        };
    }
    let at = match (args.at, args.document.sample) {
        (Some(at), _) => at,
        (None, true) => context.sample()?.score_until,
        // The time at which the window of the last row is due.
        (None, false) => match context.last_row()? {
            Some(last) => last + context.document.scoring.delay,
            None => clock(),
        },
    };
    if let Some(since) = args.since.filter(|since| *since > at) {
        let error =
            StepError::usage(format!("`--since {since}` is after the evaluation time `{at}`"));
        return Err(error.hint("no window is due before that time: use an earlier time"));
    }
    let scored = once(global, args, &context, at)?;
    match global.output() {
        OutputFormat::Json => print_json(&scored),
        OutputFormat::Text => print(&words(&scored)),
    }
}

impl ScoreArgs {
    /// The flags of each tick of `lynceus watch`.
    pub(super) fn for_watch(
        document: DocumentArgs,
        since: Option<Timestamp>,
        process: ProcessArgs,
    ) -> Self {
        Self { document, at: None, since, within: None, backfill: Vec::new(), process }
    }

    pub(super) fn document(&self) -> &DocumentArgs {
        &self.document
    }
}

/// Scores the windows that are due at `at`, and starts the training that drift requested; returns
/// the scored windows.
pub(super) fn once(
    global: &Global,
    args: &ScoreArgs,
    context: &Context,
    at: Timestamp,
) -> Result<Value, StepError> {
    let within = args.within.unwrap_or_else(|| plan::score::deadline(&context.document));
    let options = Options { limit: Some(Limit::of(within)), ..args.process.options(global) };
    let ticked = tick(context, at, args.since, options);
    // An unreachable channel does not stop a training.
    let training = retrain::start(global, args, context, at);
    if let Ok(Some(log)) = &training {
        say(&format!("drift: started a training, see {}", log.display()));
    }
    let scored = ticked?;
    training?;
    Ok(scored)
}

/// Describes the result of a tick.
pub(super) fn words(scored: &Value) -> String {
    if let Some(why) = scored.get("no_model").and_then(Value::as_str) {
        return format!("{why}\n");
    }
    let of = |name: &str| scored.get(name).and_then(Value::as_u64).unwrap_or(0);
    format!(
        "{} windows scored, {} anomalous, {} without data{}\n",
        of("windows"),
        of("anomalous"),
        of("no_data"),
        match scored.get("shards").and_then(Value::as_array) {
            Some(shards) => format!(" in {} shards", shards.len()),
            None => String::new(),
        }
    )
}

/// Scores the windows that are due at `at`, and returns the outcome of `score`. The run's folder is
/// kept only after a failure, because the results are in the store, and the features are kept
/// beside the cache.
pub(crate) fn tick(
    context: &Context,
    at: Timestamp,
    since: Option<Timestamp>,
    options: Options,
) -> Result<Value, StepError> {
    let document = &context.document;
    if let Some(since) = since {
        begin(context, since)?;
    }
    forget_failed(&context.store.root, &document.name);
    let name = format!("{}{TICK}", at.compact());
    let folder = context.store.root.join("runs").join(&document.name).join(&name);
    fs::create_dir_all(&folder).map_err(|e| StepError::writing(&folder, &e))?;
    let lock = lock(&folder)?;
    // Keep the results of the first killed tick of this time: this tick, and others killed since,
    // may have found no due windows.
    let inputs = Inputs {
        document,
        base: &context.base,
        folder: &folder,
        store: &context.store.url,
        now: at,
    };
    let parts = Part::of_run(&inputs);
    for part in &parts {
        if tick_files::features(&context.store.root, &pipeline_path(document, part.shard), at)
            .is_none()
        {
            tick_files::keep(
                &context.store.root,
                &pipeline_path(document, part.shard),
                at,
                &part.folder,
            )?;
        }
    }
    // The folder is deleted at the end of the tick; permanent data is in the store.
    artifact::scratch(true);
    document::write(&folder.join("document.yaml"), document)?;
    let mut plan = plan::score::plan(&inputs)?;
    suit_to_this_machine(&mut plan, context);
    let mut record = begun(document, name, at, &plan);
    // A failed shard does not prevent the others from being scored.
    let options = Options { uncached: true, keeps_going: true, ..options };
    let runner = Runner {
        root: &context.store.root,
        folder: &folder,
        plan: &plan,
        document,
        options: &options,
        watch: &|_: &TaskRecord| {},
    };
    let ran = block_on(runner.run(&mut record));
    artifact::scratch(false);
    if ran.as_ref().is_err_and(|error| error.message != INTERRUPTED) {
        tell_what_stopped(&runner, &record);
    }
    warn(&folder, &plan);
    ran?;
    let mut told = Vec::new();
    for part in &parts {
        told.push(kept(context, part, at)?);
    }
    let told = together(told);
    artifact::remove(&folder).map_err(|e| StepError::writing(&folder, &e))?;
    drop(lock);
    Ok(told)
}

/// Returns the outcome of `score` for a part, and keeps its features and messages if it scored a
/// window.
fn kept(context: &Context, part: &Part, at: Timestamp) -> Result<Value, StepError> {
    let scored: Value = read_json(&part.folder.join("score/scored.json"))?;
    // A repeated tick has nothing to add to the results of the first one.
    if scored.get("windows").and_then(Value::as_u64).is_some_and(|windows| windows > 0) {
        tick_files::keep(
            &context.store.root,
            &pipeline_path(&context.document, part.shard),
            at,
            &part.folder,
        )?;
    }
    Ok(scored)
}

/// Returns the record of a new tick.
fn begun(document: &Document, run: String, now: Timestamp, plan: &Plan) -> RunRecord {
    RunRecord {
        format: RunRecord::FORMAT,
        run,
        pipeline: document.name.clone(),
        now,
        started: clock(),
        document_sha256: String::new(),
        status: RunStatus::Running,
        seconds: 0.0,
        tasks: waiting(plan),
        metrics: BTreeMap::new(),
        tags: BTreeMap::new(),
        note: None,
    }
}

/// Merges the results of the shards into one text: their numbers are added, and each complete
/// result is under `shards`.
fn together(mut told: Vec<Value>) -> Value {
    if told.len() == 1 {
        return told.remove(0);
    }
    let mut whole = serde_json::Map::new();
    for (name, value) in told.iter().filter_map(Value::as_object).flatten() {
        let before = whole.get(name).and_then(Value::as_u64);
        match value.as_u64() {
            Some(number) => whole.insert(name.clone(), (before.unwrap_or(0) + number).into()),
            // Texts that all shards have in common, or that of the first shard.
            None if value.is_string() && !whole.contains_key(name) => {
                whole.insert(name.clone(), value.clone())
            }
            None => None,
        };
    }
    whole.insert("shards".to_owned(), told.into());
    Value::Object(whole)
}

/// Prints the warnings of scoring, alerting and exporting, because their files are deleted after a
/// successful tick. The warnings of earlier steps about the data are the same each minute, and have
/// their own alerts.
fn warn(folder: &Path, plan: &Plan) {
    let tells =
        |task: &&Task| matches!(task.command.stage(), Stage::Score | Stage::Alert | Stage::Export);
    for task in plan.tasks.iter().filter(tells) {
        let outcome = RunRecord::outcome_of(folder, &task.name);
        for warning in outcome.into_iter().flat_map(|outcome| outcome.warnings) {
            say(&format!("warning: {}: {warning}", task.name));
        }
    }
}

/// After a failed tick, sends waiting messages, repeats firing alerts, and sends a notification if
/// scoring has stopped for long, because an outage of the source must not suppress open alerts.
/// Sinks get their missing windows.
fn tell_what_stopped(runner: &Runner<'_>, record: &RunRecord) {
    let waits = |name: &str| {
        let has_not_run = |state| matches!(state, TaskState::Waiting | TaskState::Skipped);
        record.tasks.iter().any(|task| task.name == name && has_not_run(task.state))
    };
    for task in runner.plan.tasks.iter().filter(|task| waits(&task.name)) {
        let Some(command) = task.command.after_failure(None) else { continue };
        let task = Task { name: task.name.clone(), command };
        if let Err(error) = block_on(runner.run_last(&task)) {
            say(&format!("warning: {}: {}", task.name, error.message));
        }
    }
}

/// Returns the folders of a pipeline's ticks that failed on this machine, or are still running,
/// oldest first.
pub(crate) fn failed_ticks(root: &Path, pipeline: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("runs").join(pipeline)).into_iter().flatten().flatten();
    let mut ticks: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(TICK) && path.is_dir())
        .collect();
    ticks.sort();
    ticks
}

/// Removes the folders of failed ticks beyond the last ones, so that a long outage does not fill
/// the disk. The folder of a running tick is kept.
fn forget_failed(root: &Path, pipeline: &str) {
    let ticks = failed_ticks(root, pipeline);
    for old in &ticks[..ticks.len().saturating_sub(FAILED_TICKS)] {
        // Another process may be removing it; remaining folders do not stop scoring.
        let Ok(lock) = lock(old) else { continue };
        drop(artifact::remove(old));
        drop(lock);
    }
}

/// Sets the message for a missing model, and caches bundles between ticks if the store is not a
/// local folder.
fn suit_to_this_machine(plan: &mut Plan, context: &Context) {
    for task in &mut plan.tasks {
        if let StepCommand::Score(args) = &mut task.command {
            let name = &context.document.name;
            args.no_model_hint = Some(format!("train one: lynceus run {name}"));
            if !context.store.url.starts_with("file://") {
                args.model_cache = Some(context.store.root.join("cache/models"));
            }
        }
    }
}

/// Sets the watermark of a pipeline that has none.
fn begin(context: &Context, since: Timestamp) -> Result<(), StepError> {
    let store = context.store.open()?;
    for path in context.paths() {
        if watermark::scored_to(store.as_ref(), &path)?.is_none() {
            watermark::write(store.as_ref(), &path, &Watermark::new(since), None)?;
        }
    }
    Ok(())
}
