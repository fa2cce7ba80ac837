//! The scoring pipeline: scores the windows that are due, sends alerts, and exports scores to other
//! systems.

use std::path::PathBuf;

use contract::step::Common;
use contract::steps::{AlertArgs, CollectArgs, ExportArgs, FeatureArgs, ScoreArgs, StepCommand};
use contract::{Shard, ShardCount, Span, StepError};
use document::Document;

use crate::inputs::{COVERAGE, Inputs, Part, SAMPLES};
use crate::{Plan, Task};

/// Shortest deadline of a tick, for any interval between ticks.
const SHORTEST: Span = Span::from_seconds(60);

/// Shares of a tick's time for each step if the steps do not have the start time of the tick, as in
/// a pod. The sum is more than 1, but after a step exceeds its deadline only `alert` runs: a tick
/// that waits for the source or the store ends within 80 % of its time.
const COLLECT_SHARE: f64 = 0.4;
const SCORE_SHARE: f64 = 0.4;
const ALERT_SHARE: f64 = 0.4;
const EXPORT_SHARE: f64 = 0.4;

/// Returns the deadline of a tick: the start of the next one, so that no tick is skipped.
pub fn deadline(document: &Document) -> Span {
    document.scoring.every.max(SHORTEST)
}

/// Returns a share of the deadline of a tick.
#[expect(clippy::cast_possible_truncation, reason = "a part of a length of time")]
pub fn share(document: &Document, share: f64) -> Span {
    Span::from_ms((deadline(document).seconds() * share * 1000.0) as i64)
}

/// Makes the scoring plan of a document, with the tasks in the order of the data. With shards, it
/// contains the tasks of each shard, and no shard waits for another.
pub fn plan(inputs: &Inputs<'_>) -> Result<Plan, StepError> {
    let parts = Part::of_run(inputs);
    let collects = parts.iter().take(1).map(|part| collect(inputs, part));
    Plan::new(collects.chain(parts.iter().flat_map(|part| tick(inputs, part))).collect())
}

/// Makes the scoring plan of one shard, or of the whole pipeline, as it runs in a pod.
pub fn plan_of_pod(inputs: &Inputs<'_>, shard: Option<Shard>) -> Result<Plan, StepError> {
    let part = Part::alone(inputs, shard);
    let collects = std::iter::once(collect(inputs, &part));
    Plan::new(collects.chain(tick(inputs, &part)).collect())
}

/// Makes the plan that collects the samples of all shards of a tick, and lists the shards.
pub fn plan_of_samples(inputs: &Inputs<'_>, shard: Shard) -> Result<Plan, StepError> {
    Plan::new(vec![collect(inputs, &Part::given(inputs, shard))])
}

/// Makes the scoring plan of one shard whose samples another pod has collected.
pub fn plan_of_shard(inputs: &Inputs<'_>, shard: Shard) -> Result<Plan, StepError> {
    Plan::new(tick(inputs, &Part::given(inputs, shard)))
}

/// Returns the flags that all steps have. Files that one step passes to the next are deleted when
/// the tick ends.
fn common(inputs: &Inputs<'_>, part: Option<f64>) -> Common {
    let deadline = part.map(|part| share(inputs.document, part));
    Common { scratch: true, deadline, ..Common::default() }
}

/// Makes the task that collects the samples of a part, or of all shards into a folder of files.
fn collect(inputs: &Inputs<'_>, part: &Part) -> Task {
    let count = inputs.document.shards.count;
    let shards = part.is_collected_for_all.then_some(count);
    let [samples, coverage] = [(SAMPLES, part.samples()), (COVERAGE, part.coverage())]
        .map(|(name, file)| if shards.is_some() { part.collected.join(name) } else { file });
    let args = CollectArgs {
        document: inputs.document_file(),
        samples,
        now: inputs.now,
        start: None,
        range: None,
        store: Some(inputs.store.to_owned()),
        recorded: None,
        pins: None,
        source: inputs.sources(),
        coverage: Some(coverage),
        record: None,
        shard: part.shard.filter(|_| shards.is_none()),
        shards,
        live: None,
        numbers: (shards == Some(ShardCount::Auto))
            .then(|| inputs.folder.join(CollectArgs::NUMBERS)),
        common: common(inputs, Some(COLLECT_SHARE)),
    };
    Task::new("collect", StepCommand::Collect(args))
}

/// Makes the tasks of a tick after `collect`, for one shard or the whole pipeline.
fn tick(inputs: &Inputs<'_>, part: &Part) -> Vec<Task> {
    let document = inputs.document_file();
    let samples = part.samples();
    let feature = FeatureArgs {
        document: document.clone(),
        samples: samples.clone(),
        labels: None,
        features: part.features(),
        // It does not wait for other services, so it has no deadline.
        common: common(inputs, None),
    };
    let score = ScoreArgs {
        document,
        features: part.features(),
        samples: Some(samples),
        coverage: Some(part.coverage()),
        store: inputs.store.to_owned(),
        now: inputs.now,
        model_cache: None,
        no_model_hint: None,
        scored: part.scored(),
        shard: part.shard,
        common: common(inputs, Some(SCORE_SHARE)),
    };
    let mut tasks = vec![
        Task::new(part.name("feature"), StepCommand::Feature(feature)),
        Task::new(part.name("score"), StepCommand::Score(score)),
        alert(inputs, part),
    ];
    tasks.extend(export(inputs, part));
    tasks
}

/// Returns the task that exports scores, if the document has a sink. It runs in parallel with
/// `alert`.
fn export(inputs: &Inputs<'_>, part: &Part) -> Option<Task> {
    if inputs.document.exports.is_empty() {
        return None;
    }
    let command = StepCommand::Export(ExportArgs {
        document: inputs.document_file(),
        store: inputs.store.to_owned(),
        now: inputs.now,
        scored: Some(part.scored()),
        features: Some(part.features()),
        budget: ExportArgs::BUDGET,
        exported: part.folder.join("export/exported.json"),
        shard: part.shard,
        common: common(inputs, Some(EXPORT_SHARE)),
    });
    Some(Task::new(part.name("export"), command))
}

/// Returns the task that sends alerts. It reads the outcomes of the others, so that it can report
/// why scoring stopped.
fn alert(inputs: &Inputs<'_>, part: &Part) -> Task {
    let outcome = |folder: PathBuf| folder.join("outcome.json");
    let folders = [part.collected.clone(), part.folder.join("feature"), part.folder.join("score")];
    let args = AlertArgs {
        document: inputs.document_file(),
        store: inputs.store.to_owned(),
        now: inputs.now,
        scored: Some(part.scored()),
        tick: folders.map(outcome).to_vec(),
        failed: None,
        ended: Vec::new(),
        messages: part.folder.join("alert/messages.json"),
        shard: part.shard,
        common: common(inputs, Some(ALERT_SHARE)),
    };
    Task::new(part.name("alert"), StepCommand::Alert(args))
}
