//! The scoring pipeline: the windows that are due get a verdict, and people are told.

use contract::StepError;
use contract::step::Common;
use contract::steps::{AlertArgs, CollectArgs, FeatureArgs, ScoreArgs, StepCommand};

use crate::plan::{Plan, Task};
use crate::train::Inputs;

/// Makes the scoring plan of a document, top to bottom in the order of the data.
pub(crate) fn plan(inputs: &Inputs<'_>) -> Result<Plan, StepError> {
    let document = inputs.document_file();
    let folder = inputs.folder;
    let samples = folder.join("collect/samples.parquet");
    let coverage = folder.join("collect/coverage.json");
    let features = folder.join("feature/features.parquet");
    let scored = folder.join("score/scored.json");
    // What goes from step to step is thrown away when the tick ends.
    let common = Common { scratch: true, ..Common::default() };
    Plan::new(vec![
        Task::new(
            "collect",
            StepCommand::Collect(CollectArgs {
                document: document.clone(),
                samples: samples.clone(),
                now: inputs.now,
                start: None,
                range: None,
                store: Some(inputs.store.to_owned()),
                recorded: None,
                source: inputs.sources(),
                coverage: Some(coverage.clone()),
                record: None,
                common: common.clone(),
            }),
        ),
        Task::new(
            "feature",
            StepCommand::Feature(FeatureArgs {
                document: document.clone(),
                samples: samples.clone(),
                labels: None,
                features: features.clone(),
                common: common.clone(),
            }),
        ),
        Task::new(
            "score",
            StepCommand::Score(ScoreArgs {
                document: document.clone(),
                features,
                samples: Some(samples),
                coverage: Some(coverage),
                store: inputs.store.to_owned(),
                now: inputs.now,
                model_cache: None,
                scored: scored.clone(),
                common: common.clone(),
            }),
        ),
        Task::new(
            "alert",
            StepCommand::Alert(AlertArgs {
                document,
                store: inputs.store.to_owned(),
                now: inputs.now,
                scored: Some(scored),
                ended: Vec::new(),
                messages: folder.join("alert/messages.json"),
                common: common.clone(),
            }),
        ),
    ])
}
