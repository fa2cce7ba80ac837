//! The training pipeline: makes a version in the registry from samples.

use std::path::PathBuf;

use contract::step::Common;
use contract::steps::{
    AlertArgs, CollectArgs, DeployArgs, FeatureArgs, LabelArgs, ReportArgs, SelectArgs,
    StepCommand, TrainArgs, ValidateArgs,
};
use contract::{Shard, ShardCount, StepError};
use document::below;

use crate::inputs::{Inputs, Part, RUN, SAMPLES};
use crate::{Plan, Task};

/// Makes the training plan of a document, with the tasks in the order of the data: the samples are
/// collected once, the shards are trained in parallel, and one version contains all of them.
pub fn plan(inputs: &Inputs<'_>) -> Result<Plan, StepError> {
    let count = ShardCount::Number(inputs.document.shards.number());
    let (mut tasks, mut made) = (vec![collect(inputs, count)], Vec::new());
    for part in Part::of_run(inputs) {
        let files = Files::new(inputs, &part);
        tasks.extend(fitting(inputs, &files));
        made.push(files);
    }
    tasks.push(deploy(inputs, &made, None));
    Plan::new(tasks)
}

/// Makes the tasks of a shard, or of the whole pipeline, from its samples to its bundle.
fn fitting(inputs: &Inputs<'_>, files: &Files) -> Vec<Task> {
    let mut tasks: Vec<Task> = label(inputs, files).into_iter().collect();
    tasks.push(feature(inputs, files));
    tasks.push(validate(inputs, files));
    let models = inputs.document.trained().into_iter().map(|kind| train(inputs, files, kind));
    let (models, candidates): (Vec<Task>, Vec<PathBuf>) = models.unzip();
    tasks.extend(models);
    tasks.push(select(files, candidates));
    tasks
}

/// Makes the plan that collects the samples of all shards; with `count: auto` it also lists the
/// shards.
pub fn plan_of_samples(inputs: &Inputs<'_>) -> Result<Plan, StepError> {
    Plan::new(vec![collect(inputs, inputs.document.shards.count)])
}

/// Makes the plan of one shard, from its samples to its bundle, as it runs in separate pods.
pub fn plan_of_shard(inputs: &Inputs<'_>, shard: Shard) -> Result<Plan, StepError> {
    let plan = Plan::new(fitting(inputs, &Files::new(inputs, &Part::given(inputs, shard))))?;
    Ok(plan.of_shard(shard))
}

/// Makes the plan of the tasks that create one version from the bundles of all shards.
pub fn plan_of_version(inputs: &Inputs<'_>) -> Result<Plan, StepError> {
    Plan::new(vec![version(inputs)])
}

/// Makes the plan of the tasks of a run whose shards are not known before: the first and the last.
pub fn plan_of_ends(inputs: &Inputs<'_>) -> Result<Plan, StepError> {
    Plan::new(vec![collect(inputs, inputs.document.shards.count), version(inputs)])
}

/// Returns the task that makes one version: of the shards of the document, or with `count: auto` of
/// those that the run's own list names.
fn version(inputs: &Inputs<'_>) -> Task {
    if inputs.document.shards.count == ShardCount::Auto {
        return deploy(inputs, &[], Some(inputs.folder.join(RUN)));
    }
    let parts = Part::of_run(inputs);
    let made: Vec<Files> = parts.iter().map(|part| Files::new(inputs, part)).collect();
    deploy(inputs, &made, None)
}

/// Files that one task writes and another reads.
struct Files {
    part: Part,
    document: PathBuf,
    samples: PathBuf,
    labels: PathBuf,
    features: PathBuf,
    dataset: PathBuf,
    bundle: PathBuf,
}

impl Files {
    fn new(inputs: &Inputs<'_>, part: &Part) -> Self {
        let folder = &part.folder;
        Self {
            part: part.clone(),
            document: inputs.document_file(),
            samples: part.samples(),
            labels: folder.join("label/labels.parquet"),
            features: folder.join("feature/features.parquet"),
            dataset: folder.join("validate/dataset"),
            bundle: folder.join("select/bundle"),
        }
    }

    fn task(&self, name: &str, command: StepCommand) -> Task {
        Task::new(self.part.name(name), command)
    }
}

/// Returns the task that collects the samples of all entities: with shards, one file for each.
fn collect(inputs: &Inputs<'_>, count: ShardCount) -> Task {
    let shards = Some(count).filter(|count| *count != ShardCount::Number(1));
    let is_auto = count == ShardCount::Auto;
    let samples = inputs.folder.join("collect").join(SAMPLES);
    let args = CollectArgs {
        document: inputs.document_file(),
        samples: if shards.is_some() { samples } else { samples.with_extension("parquet") },
        now: inputs.now,
        start: None,
        range: None,
        store: None,
        recorded: inputs.document.is_recorded().then(|| inputs.store.to_owned()),
        pins: None,
        coverage: None,
        source: inputs.sources(),
        record: None,
        shard: None,
        shards,
        live: is_auto.then(|| inputs.store.to_owned()),
        numbers: is_auto.then(|| inputs.folder.join(CollectArgs::NUMBERS)),
        common: Common::default(),
    };
    Task::new("collect", StepCommand::Collect(args))
}

fn label(inputs: &Inputs<'_>, files: &Files) -> Option<Task> {
    let scenarios = inputs.document.labels.scenarios.as_ref()?;
    let args = LabelArgs {
        document: files.document.clone(),
        scenarios: below(inputs.base, scenarios),
        labels: files.labels.clone(),
        common: Common::default(),
    };
    Some(files.task("label", StepCommand::Label(args)))
}

fn feature(inputs: &Inputs<'_>, files: &Files) -> Task {
    let labelled = inputs.document.labels.scenarios.is_some();
    let args = FeatureArgs {
        document: files.document.clone(),
        samples: files.samples.clone(),
        labels: labelled.then(|| files.labels.clone()),
        features: files.features.clone(),
        common: Common::default(),
    };
    files.task("feature", StepCommand::Feature(args))
}

fn validate(inputs: &Inputs<'_>, files: &Files) -> Task {
    let args = ValidateArgs {
        document: files.document.clone(),
        features: files.features.clone(),
        dataset: files.dataset.clone(),
        validation: files.part.folder.join("validate/validation.json"),
        now: inputs.now,
        common: Common::default(),
    };
    files.task("validate", StepCommand::Validate(args))
}

/// Returns the task that fits a model, and the path of its candidate.
fn train(inputs: &Inputs<'_>, files: &Files, kind: &str) -> (Task, PathBuf) {
    let name = format!("train-{kind}");
    let candidate = files.part.folder.join(&name).join("candidate");
    let args = TrainArgs {
        document: files.document.clone(),
        dataset: files.dataset.clone(),
        model: kind.to_owned(),
        seed: inputs.document.seed,
        candidate: candidate.clone(),
        common: Common::default(),
    };
    (files.task(&name, StepCommand::Train(args)), candidate)
}

fn select(files: &Files, candidates: Vec<PathBuf>) -> Task {
    let args = SelectArgs {
        document: files.document.clone(),
        dataset: files.dataset.clone(),
        candidate: candidates,
        models: Vec::new(),
        bundle: files.bundle.clone(),
        common: Common::default(),
    };
    files.task("select", StepCommand::Select(args))
}

/// Returns the task that sends the result of a training, if the document enables it. It is not part
/// of the plan: it also runs after a failed run, and reads the existing outcomes.
pub fn alert(inputs: &Inputs<'_>, plan: &Plan) -> Option<Task> {
    if inputs.document.alerts.training.is_empty() {
        return None;
    }
    let outcome = |task: &Task| inputs.folder.join(&task.name).join("outcome.json");
    let args = AlertArgs {
        document: inputs.document_file(),
        store: inputs.store.to_owned(),
        now: inputs.now,
        scored: None,
        tick: Vec::new(),
        failed: None,
        ended: plan.tasks.iter().map(outcome).collect(),
        messages: inputs.folder.join("alert/messages.json"),
        shard: None,
        common: Common::default(),
    };
    Some(Task::new("alert", StepCommand::Alert(args)))
}

/// Returns the task that makes the report page of a run in a cluster. It is not part of the plan:
/// it also runs after a failed run, and reads the existing files.
pub fn report(inputs: &Inputs<'_>) -> Task {
    let args = ReportArgs {
        document: inputs.document_file(),
        run: vec![inputs.folder.join(RUN)],
        store: None,
        from: None,
        to: None,
        labels: None,
        features: Vec::new(),
        messages: Vec::new(),
        previous: None,
        now: inputs.now,
        report: inputs.folder.join("report/report.html"),
        picture: None,
        tables: Some(inputs.folder.join("report/tables")),
        record: None,
        run_name: None,
        common: Common::default(),
    };
    Task::new("report", StepCommand::Report(args))
}

fn deploy(inputs: &Inputs<'_>, parts: &[Files], run: Option<PathBuf>) -> Task {
    let args = DeployArgs {
        document: inputs.document_file(),
        bundle: parts.iter().map(|files| files.bundle.clone()).collect(),
        dataset: parts.iter().map(|files| files.dataset.clone()).collect(),
        run,
        store: inputs.store.to_owned(),
        now: inputs.now,
        deployment: inputs.folder.join("deploy/deployment.json"),
        common: Common::default(),
    };
    Task::new("deploy", StepCommand::Deploy(args))
}
