//! The scoring pipeline: the windows that are due get a verdict, alerts are sent, and scores are
//! published to other systems.

use std::path::PathBuf;

use contract::step::Common;
use contract::steps::{AlertArgs, CollectArgs, ExportArgs, FeatureArgs, ScoreArgs, StepCommand};
use contract::{Span, StepError};
use document::Document;

use crate::plan::{Plan, Task};
use crate::train::Inputs;

/// Shortest time that a tick is given, however often one is started.
const SHORTEST: Span = Span::from_seconds(60);

/// Parts of a tick's time that each step may take where the steps cannot know when the tick began,
/// as in a pod. They add up to more than the whole, but what hangs makes its step the last one
/// before `alert`: a tick that waits for the source or the store ends within 80 % of its time.
const COLLECT_SHARE: f64 = 0.4;
const SCORE_SHARE: f64 = 0.4;
const ALERT_SHARE: f64 = 0.4;
const EXPORT_SHARE: f64 = 0.4;

/// Returns how long a tick may take: until the next one, so that none is left out.
pub(crate) fn deadline(document: &Document) -> Span {
    document.scoring.every.max(SHORTEST)
}

/// Returns a share of the time that a tick may take.
#[expect(clippy::cast_possible_truncation, reason = "a part of a length of time")]
pub(crate) fn share(document: &Document, share: f64) -> Span {
    Span::from_ms((deadline(document).seconds() * share * 1000.0) as i64)
}

/// Makes the scoring plan of a document, top to bottom in the order of the data.
pub(crate) fn plan(inputs: &Inputs<'_>) -> Result<Plan, StepError> {
    let document = inputs.document_file();
    let folder = inputs.folder;
    let samples = folder.join("collect/samples.parquet");
    let coverage = folder.join("collect/coverage.json");
    let features = folder.join("feature/features.parquet");
    let scored = folder.join("score/scored.json");
    let within = |part: f64| Some(share(inputs.document, part));
    // What goes from step to step is thrown away when the tick ends.
    let common = |deadline| Common { scratch: true, deadline, ..Common::default() };
    let mut tasks = vec![
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
                pins: None,
                source: inputs.sources(),
                coverage: Some(coverage.clone()),
                record: None,
                common: common(within(COLLECT_SHARE)),
            }),
        ),
        Task::new(
            "feature",
            StepCommand::Feature(FeatureArgs {
                document: document.clone(),
                samples: samples.clone(),
                labels: None,
                features: features.clone(),
                // It waits for nothing but its processor.
                common: common(None),
            }),
        ),
        Task::new(
            "score",
            StepCommand::Score(ScoreArgs {
                document,
                features: features.clone(),
                samples: Some(samples),
                coverage: Some(coverage),
                store: inputs.store.to_owned(),
                now: inputs.now,
                model_cache: None,
                no_model_hint: None,
                scored: scored.clone(),
                common: common(within(SCORE_SHARE)),
            }),
        ),
        alert(inputs, scored.clone(), common(within(ALERT_SHARE))),
    ];
    tasks.extend(export(inputs, (scored, features), common(within(EXPORT_SHARE))));
    Plan::new(tasks)
}

/// Returns the task that publishes scores, where the document has a sink. It runs beside `alert`.
fn export(
    inputs: &Inputs<'_>,
    (scored, features): (PathBuf, PathBuf),
    common: Common,
) -> Option<Task> {
    if inputs.document.exports.is_empty() {
        return None;
    }
    let command = StepCommand::Export(ExportArgs {
        document: inputs.document_file(),
        store: inputs.store.to_owned(),
        now: inputs.now,
        scored: Some(scored),
        features: Some(features),
        budget: ExportArgs::BUDGET,
        exported: inputs.folder.join("export/exported.json"),
        common,
    });
    Some(Task::new("export", command))
}

/// Returns the task that sends alerts. It reads what became of the others, so that it can say why
/// scoring stopped.
fn alert(inputs: &Inputs<'_>, scored: PathBuf, common: Common) -> Task {
    let outcome = |name: &str| inputs.folder.join(name).join("outcome.json");
    let args = AlertArgs {
        document: inputs.document_file(),
        store: inputs.store.to_owned(),
        now: inputs.now,
        scored: Some(scored),
        tick: ["collect", "feature", "score"].map(outcome).to_vec(),
        failed: None,
        ended: Vec::new(),
        messages: inputs.folder.join("alert/messages.json"),
        common,
    };
    Task::new("alert", StepCommand::Alert(args))
}
