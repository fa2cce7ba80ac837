//! The training pipeline: samples become a version in the registry.

use std::path::{Path, PathBuf};

use contract::step::Common;
use contract::steps::{
    CollectArgs, DeployArgs, FeatureArgs, LabelArgs, SelectArgs, StepCommand, TrainArgs,
    ValidateArgs,
};
use contract::{StepError, Timestamp};
use document::Document;

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

    pub(crate) fn source(&self) -> Option<PathBuf> {
        self.document.source.path().map(|path| self.base.join(path))
    }
}

/// Makes the training plan of a document, top to bottom in the order of the data.
pub fn plan(inputs: &Inputs<'_>) -> Result<Plan, StepError> {
    let document = inputs.document_file();
    let folder = inputs.folder;
    let (samples, labels) =
        (folder.join("collect/samples.parquet"), folder.join("label/labels.parquet"));
    let (features, dataset) =
        (folder.join("feature/features.parquet"), folder.join("validate/dataset"));
    let bundle = folder.join("select/bundle");
    let mut tasks = Vec::new();

    tasks.push(Task::new(
        "collect",
        StepCommand::Collect(CollectArgs {
            document: document.clone(),
            samples: samples.clone(),
            now: inputs.now,
            start: None,
            store: None,
            source: inputs.source(),
            record: None,
            common: Common::default(),
        }),
    ));
    let scenarios = inputs.document.labels.scenarios.as_ref().map(|path| inputs.base.join(path));
    if let Some(scenarios) = &scenarios {
        tasks.push(Task::new(
            "label",
            StepCommand::Label(LabelArgs {
                document: document.clone(),
                scenarios: scenarios.clone(),
                labels: labels.clone(),
                common: Common::default(),
            }),
        ));
    }
    tasks.push(Task::new(
        "feature",
        StepCommand::Feature(FeatureArgs {
            document: document.clone(),
            samples,
            labels: scenarios.map(|_| labels),
            features: features.clone(),
            common: Common::default(),
        }),
    ));
    tasks.push(Task::new(
        "validate",
        StepCommand::Validate(ValidateArgs {
            document: document.clone(),
            features,
            dataset: dataset.clone(),
            validation: folder.join("validate/validation.json"),
            now: inputs.now,
            common: Common::default(),
        }),
    ));
    let mut candidates = Vec::new();
    for kind in inputs.document.models.kinds() {
        let name = format!("train-{kind}");
        let candidate = folder.join(&name).join("candidate");
        candidates.push(candidate.clone());
        tasks.push(Task::new(
            name,
            StepCommand::Train(TrainArgs {
                document: document.clone(),
                dataset: dataset.clone(),
                model: kind.to_owned(),
                seed: inputs.document.seed,
                candidate,
                common: Common::default(),
            }),
        ));
    }
    tasks.push(Task::new(
        "select",
        StepCommand::Select(SelectArgs {
            document: document.clone(),
            dataset: dataset.clone(),
            candidate: candidates,
            bundle: bundle.clone(),
            common: Common::default(),
        }),
    ));
    tasks.push(Task::new(
        "deploy",
        StepCommand::Deploy(DeployArgs {
            document,
            bundle,
            dataset,
            store: inputs.store.to_owned(),
            now: inputs.now,
            deployment: folder.join("deploy/deployment.json"),
            common: Common::default(),
        }),
    ));
    Plan::new(tasks)
}
