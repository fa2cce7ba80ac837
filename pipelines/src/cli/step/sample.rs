//! `lynceus step STAGE --sample PIPELINE`: runs any step on the recorded sample of a pipeline in a
//! folder, and prints its full command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;
use contract::step::Common;
use contract::steps::{ReportArgs, StepCommand};
use contract::{Stage, StepError, artifact};
use document::document::Sample;
use document::{Changes, Document};
use plan::{Inputs, Plan, Task, train};
use store::{Watermark, watermark};

use super::super::context::absolute;
use super::super::{print, say, tell};
use crate::find;

/// `lynceus step STAGE --sample PIPELINE`.
#[derive(Debug, Parser)]
#[command(
    name = "lynceus step",
    version,
    about = "Run one step on the recorded sample of a pipeline, and what it needs before it",
    after_help = "Example: lynceus step feature --sample cluster"
)]
pub(crate) struct SampleCli {
    /// The step: collect, label, feature, validate, train, select, deploy, score, export, alert or
    /// report
    #[arg(value_name = "STAGE", value_parser = stage)]
    stage: Stage,
    /// Pipeline: the name or the path of a document
    #[arg(long, value_name = "PIPELINE")]
    sample: String,
    /// Write inputs and outputs below this folder [default: lynceus-steps/PIPELINE]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Apply this partial document over the document; may be repeated
    #[arg(long, value_name = "FILE")]
    overlay: Vec<PathBuf>,
    /// Set a field of the document, as in `vote.alarm_at=0.6`; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Look for documents by name in this folder
    #[arg(long, value_name = "DIR", env = "LYNCEUS_PIPELINES", default_value = "pipelines")]
    pipelines: PathBuf,
}

fn stage(text: &str) -> Result<Stage, String> {
    Stage::named(text).ok_or_else(|| format!("`{text}` is not a step"))
}

/// Returns whether a command line of `lynceus step` uses the sample.
pub(crate) fn is_of_sample(line: &[OsString]) -> bool {
    let asks = |word: &OsString| {
        word.to_str().is_some_and(|word| word == "--sample" || word.starts_with("--sample="))
    };
    line.iter().any(asks)
}

/// Runs the step and the steps that it needs, and returns the exit code of the last one.
pub(crate) fn execute(cli: &SampleCli) -> u8 {
    run(cli).unwrap_or_else(|error| {
        tell(&error);
        error.kind.exit_code()
    })
}

/// The paths of all files.
struct Place {
    folder: PathBuf,
    base: PathBuf,
    store: String,
    document: Document,
    sample: Sample,
}

fn run(cli: &SampleCli) -> Result<u8, StepError> {
    let place = Place::new(cli)?;
    let training = place.training()?;
    let is_training = |stage| training.tasks.iter().any(|task| task.command.stage() == stage);
    let code = match cli.stage {
        Stage::Score | Stage::Export | Stage::Alert => place.score(&training, cli.stage)?,
        Stage::Report => place.report(&training)?,
        stage if is_training(stage) => run_stage(&training, stage)?,
        stage => {
            return Err(StepError::usage(format!(
                "`{}` has no step `{stage}`",
                place.document.name
            ))
            .hint("its document has no scenario log in `labels.scenarios`"));
        }
    };
    if code == 0 {
        say(&format!("Outputs are below {}", place.folder.display()));
    }
    Ok(code)
}

impl Place {
    fn new(cli: &SampleCli) -> Result<Self, StepError> {
        let found = find::document(&cli.sample, &cli.pipelines)?;
        let overlay = find::sample(&found)?;
        let overlays = std::iter::once(&overlay).chain(&cli.overlay).map(PathBuf::as_path);
        let sets = cli.set.iter().map(String::as_str).collect();
        let changes = Changes { overlays: overlays.collect(), sets };
        let base = absolute(&found.base)?;
        let document = document::read_with(&found.path, &changes)?.with_base(&base);
        let sample = document.sample.clone().ok_or_else(|| {
            StepError::usage("the times of the sample are unknown: field `sample` is missing")
                .hint("add `sample: {train_until: TIME, score_until: TIME}` to the document")
        })?;
        let default = || Path::new("lynceus-steps").join(&document.name);
        let folder = absolute(&cli.to.clone().unwrap_or_else(default))?;
        let store = format!("file://{}", folder.join("store").display());
        document::write(&folder.join("document.yaml"), &document)?;
        Ok(Self { folder, base, store, document, sample })
    }

    fn training(&self) -> Result<Plan, StepError> {
        let inputs = Inputs {
            document: &self.document,
            base: &self.base,
            folder: &self.folder,
            store: &self.store,
            now: self.sample.train_until,
        };
        let mut plan = train::plan(&inputs)?;
        for task in &mut plan.tasks {
            // The report page reads the outcomes.
            let outcome = self.folder.join(&task.name).join("outcome.json");
            task.command.common_mut().outcome = Some(outcome);
        }
        Ok(plan)
    }

    /// Scores the time after the training range, or sends its alerts; starts from the beginning
    /// each time.
    fn score(&self, training: &Plan, stage: Stage) -> Result<u8, StepError> {
        let code = run_missing(training, &(0..training.tasks.len()).collect::<Vec<_>>())?;
        if code != 0 {
            return Ok(code);
        }
        let tick = self.folder.join("tick");
        document::write(&tick.join("document.yaml"), &self.document)?;
        let inputs = Inputs {
            document: &self.document,
            base: &self.base,
            folder: &tick,
            store: &self.store,
            now: self.sample.score_until,
        };
        let mut plan = plan::score::plan(&inputs)?;
        for task in &mut plan.tasks {
            // A step that is run by hand has no deadline.
            *task.command.common_mut() = Common::default();
        }
        if !plan.tasks.iter().any(|task| task.command.stage() == stage) {
            return Err(StepError::usage(format!(
                "`{}` has no step `{stage}`",
                self.document.name
            ))
            .hint("its document has no sink in `exports`"));
        }
        let store = self.folder.join("store");
        let state = store.join("state").join(&self.document.name);
        // Of the steps of a tick, only `score` changes more than the alerts.
        let scores = [store.join("scores"), state.clone()];
        let alerts = [state.join("alerts.json")];
        let forget = if stage == Stage::Score { scores.as_slice() } else { alerts.as_slice() };
        for path in forget {
            artifact::remove(path).map_err(|e| StepError::writing(path, &e))?;
        }
        self.begin()?;
        run_stage(&plan, stage)
    }

    /// Sets the watermark to the end of the training range, if there is none.
    fn begin(&self) -> Result<(), StepError> {
        let store = store::open(&self.store)?;
        if watermark::scored_to(store.as_ref(), &self.document.name)?.is_some() {
            return Ok(());
        }
        let start = Watermark::new(self.sample.train_until);
        watermark::write(store.as_ref(), &self.document.name, &start, None).map(drop)
    }

    /// Makes the report page of the training, with the scores if there are any.
    fn report(&self, training: &Plan) -> Result<u8, StepError> {
        let code = run_missing(training, &(0..training.tasks.len()).collect::<Vec<_>>())?;
        if code != 0 {
            return Ok(code);
        }
        let features = self.folder.join("tick/feature/features.parquet");
        let scored = features.is_file();
        let (from, to) = (self.sample.train_until, self.sample.score_until);
        let page = self.folder.join("report/report.html");
        let args = ReportArgs {
            document: self.folder.join("document.yaml"),
            run: vec![self.folder.clone()],
            store: scored.then(|| self.store.clone()),
            from: scored.then_some(from),
            to: scored.then_some(to),
            labels: None,
            features: scored.then_some(features).into_iter().collect(),
            messages: Vec::new(),
            previous: None,
            now: if scored { to } else { from },
            report: page,
            picture: None,
            tables: None,
            record: None,
            run_name: None,
            common: Common::default(),
        };
        run_task(&Task::new("report", StepCommand::Report(args)))
    }
}

/// Runs the tasks of a stage, after the required tasks that have not run yet.
fn run_stage(plan: &Plan, stage: Stage) -> Result<u8, StepError> {
    let is_meant = |index: &usize| plan.tasks[*index].command.stage() == stage;
    let meant: Vec<usize> = (0..plan.tasks.len()).filter(is_meant).collect();
    let mut needed: Vec<usize> = Vec::new();
    let mut open = meant.clone();
    while let Some(index) = open.pop() {
        for before in plan.needs(index) {
            if !needed.contains(&before) {
                needed.push(before);
                open.push(before);
            }
        }
    }
    needed.sort_unstable();
    let code = run_missing(plan, &needed)?;
    if code != 0 {
        return Ok(code);
    }
    for index in meant {
        let code = run_task(&plan.tasks[index])?;
        if code != 0 {
            return Ok(code);
        }
    }
    Ok(0)
}

/// Runs the tasks whose outputs are missing.
fn run_missing(plan: &Plan, tasks: &[usize]) -> Result<u8, StepError> {
    for task in tasks.iter().filter_map(|index| plan.tasks.get(*index)) {
        let is_there = task.command.outputs().iter().all(|output| output.path.exists());
        if is_there {
            continue;
        }
        let code = run_task(task)?;
        if code != 0 {
            return Ok(code);
        }
    }
    Ok(0)
}

/// Prints the command line of a task and runs it in this process.
fn run_task(task: &Task) -> Result<u8, StepError> {
    let words = task.command.command_line()?;
    let words = words.iter().map(|word| quoted(&word.to_string_lossy()));
    let line: Vec<String> = words.collect();
    print(&format!("lynceus step {} {}\n", task.command.stage(), line.join(" ")))?;
    Ok(super::execute(&task.command))
}

/// Puts a word in quotes if a shell would change it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
