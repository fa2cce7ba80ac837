//! The training pipeline: samples become a version in the registry.

use std::path::{Path, PathBuf};

use contract::step::Common;
use contract::steps::{
    AlertArgs, CollectArgs, DeployArgs, FeatureArgs, LabelArgs, ReportArgs, SelectArgs, SourcePath,
    StepCommand, TrainArgs, ValidateArgs,
};
use contract::{StepError, Timestamp};
use document::{Document, below};

use crate::plan::{Plan, Task};

/// Where a run's files lie and what they are made from.
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
    /// The document.
    pub document: &'a Document,
    /// The folder the document's own paths are relative to.
    pub base: &'a Path,
    /// The folder of the run; it holds `document.yaml` and a folder for each task.
    pub folder: &'a Path,
    /// The store.
    pub store: &'a str,
    /// The present.
    pub now: Timestamp,
}

impl Inputs<'_> {
    pub(crate) fn document_file(&self) -> PathBuf {
        self.folder.join("document.yaml")
    }

    /// Returns where the sources that read a file or folder find it.
    pub(crate) fn sources(&self) -> Vec<SourcePath> {
        let reading = self.document.sources.iter().filter_map(|(name, source)| {
            Some(SourcePath { name: Some(name.clone()), path: below(self.base, source.data()?) })
        });
        reading.collect()
    }
}

/// Makes the training plan of a document, top to bottom in the order of the data.
pub fn plan(inputs: &Inputs<'_>) -> Result<Plan, StepError> {
    let files = Files::new(inputs);
    let mut tasks = vec![collect(inputs, &files)];
    tasks.extend(label(inputs, &files));
    tasks.push(feature(inputs, &files));
    tasks.push(validate(inputs, &files));
    let models = inputs.document.trained().into_iter().map(|kind| train(inputs, &files, kind));
    let (models, candidates): (Vec<Task>, Vec<PathBuf>) = models.unzip();
    tasks.extend(models);
    tasks.push(select(&files, candidates));
    tasks.push(deploy(inputs, &files));
    Plan::new(tasks)
}

/// What one task writes and another reads.
struct Files {
    document: PathBuf,
    samples: PathBuf,
    labels: PathBuf,
    features: PathBuf,
    dataset: PathBuf,
    bundle: PathBuf,
}

impl Files {
    fn new(inputs: &Inputs<'_>) -> Self {
        let folder = inputs.folder;
        Self {
            document: inputs.document_file(),
            samples: folder.join("collect/samples.parquet"),
            labels: folder.join("label/labels.parquet"),
            features: folder.join("feature/features.parquet"),
            dataset: folder.join("validate/dataset"),
            bundle: folder.join("select/bundle"),
        }
    }
}

fn collect(inputs: &Inputs<'_>, files: &Files) -> Task {
    let args = CollectArgs {
        document: files.document.clone(),
        samples: files.samples.clone(),
        now: inputs.now,
        start: None,
        range: None,
        store: None,
        recorded: inputs.document.is_recorded().then(|| inputs.store.to_owned()),
        pins: None,
        coverage: None,
        source: inputs.sources(),
        record: None,
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
    Some(Task::new("label", StepCommand::Label(args)))
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
    Task::new("feature", StepCommand::Feature(args))
}

fn validate(inputs: &Inputs<'_>, files: &Files) -> Task {
    let args = ValidateArgs {
        document: files.document.clone(),
        features: files.features.clone(),
        dataset: files.dataset.clone(),
        validation: inputs.folder.join("validate/validation.json"),
        now: inputs.now,
        common: Common::default(),
    };
    Task::new("validate", StepCommand::Validate(args))
}

/// Returns the task that fits a model, and where its candidate will lie.
fn train(inputs: &Inputs<'_>, files: &Files, kind: &str) -> (Task, PathBuf) {
    let name = format!("train-{kind}");
    let candidate = inputs.folder.join(&name).join("candidate");
    let args = TrainArgs {
        document: files.document.clone(),
        dataset: files.dataset.clone(),
        model: kind.to_owned(),
        seed: inputs.document.seed,
        candidate: candidate.clone(),
        common: Common::default(),
    };
    (Task::new(name, StepCommand::Train(args)), candidate)
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
    Task::new("select", StepCommand::Select(args))
}

/// Returns the task that sends how a training ended, where the document enables it. It is none of
/// the plan's: it comes after a run that was refused as well, and reads the outcomes there are.
pub(crate) fn alert(inputs: &Inputs<'_>, plan: &Plan) -> Option<Task> {
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
        common: Common::default(),
    };
    Some(Task::new("alert", StepCommand::Alert(args)))
}

/// Returns the task that makes the page of a run in a cluster. It is none of the plan's: it comes
/// after a run that was refused as well, and reads whatever there is.
pub(crate) fn report(inputs: &Inputs<'_>) -> Task {
    let args = ReportArgs {
        document: inputs.document_file(),
        run: vec![inputs.folder.join("run")],
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

fn deploy(inputs: &Inputs<'_>, files: &Files) -> Task {
    let args = DeployArgs {
        document: files.document.clone(),
        bundle: files.bundle.clone(),
        dataset: files.dataset.clone(),
        store: inputs.store.to_owned(),
        now: inputs.now,
        deployment: inputs.folder.join("deploy/deployment.json"),
        common: Common::default(),
    };
    Task::new("deploy", StepCommand::Deploy(args))
}
