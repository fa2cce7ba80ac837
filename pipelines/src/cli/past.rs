//! Collects samples and computes features of a past range, in the process of the command.

use std::path::{Path, PathBuf};

use contract::step::Common;
use contract::steps::{CollectArgs, FeatureArgs, LabelArgs};
use contract::{Outcome, Shard, ShardCount, Span, StepError, TimeRange};
use document::below;
use document::features::lookback;

use super::context::Context;

/// Additional steps before the lookback, as in live scoring.
const MORE_STEPS: i64 = 5;

/// The document, in the folder of a range.
const DOCUMENT: &str = "document.yaml";

/// The files of a range.
pub(super) struct Made {
    pub(super) samples: PathBuf,
    pub(super) features: PathBuf,
}

/// Collects the samples for the windows of a range, and computes their features in a folder, for all
/// entities; with the document's labels if requested.
///
/// Errors: those of the steps.
pub(super) fn make(
    context: &Context,
    folder: &Path,
    range: TimeRange,
    is_labelled: bool,
) -> Result<Made, StepError> {
    let samples = collect(context, folder, range, None)?;
    let document = &context.document;
    let scenarios = document.labels.scenarios.as_ref().filter(|_| is_labelled);
    let labels = scenarios.map(|scenarios| LabelArgs {
        document: folder.join(DOCUMENT),
        scenarios: below(&context.base, scenarios),
        labels: folder.join("labels.parquet"),
        common: Common::default(),
    });
    if let Some(labels) = &labels {
        label::run(labels, &mut Outcome::start("label"))?;
    }
    features(folder, samples, labels.map(|labels| labels.labels), "features.parquet")
}

/// Like `make`, for each shard, or for all entities if there are no shards; the sources are queried
/// once.
///
/// Errors: those of the steps.
pub(super) fn make_shards(
    context: &Context,
    folder: &Path,
    range: TimeRange,
) -> Result<Vec<(Option<Shard>, Made)>, StepError> {
    let shards = context.document.shards.all();
    let count = context.document.shards.number();
    let samples = collect(context, folder, range, (count > 1).then_some(count))?;
    let made = |shard: Option<Shard>| {
        let (samples, name) = match shard {
            Some(shard) => (
                CollectArgs::samples_of(&samples, shard),
                format!("{}-features.parquet", shard.part()),
            ),
            None => (samples.clone(), "features.parquet".to_owned()),
        };
        Ok((shard, features(folder, samples, None, &name)?))
    };
    shards.into_iter().map(made).collect()
}

/// Collects the samples of a range into one file, or into one file for each shard.
fn collect(
    context: &Context,
    folder: &Path,
    TimeRange { after, until }: TimeRange,
    shards: Option<u32>,
) -> Result<PathBuf, StepError> {
    let document = &context.document;
    let file = folder.join(DOCUMENT);
    document::write(&file, document)?;
    let lookback = lookback(document.step, &document.features, &document.fill);
    let more = if lookback > Span::ZERO { MORE_STEPS * document.step.ms() } else { 0 };
    let inputs = plan::Inputs {
        document,
        base: &context.base,
        folder,
        store: &context.store.url,
        now: until,
    };
    let collect = CollectArgs {
        document: file,
        samples: folder.join(if shards.is_some() { "samples" } else { "samples.parquet" }),
        now: until,
        start: Some(after - lookback - Span::from_ms(more)),
        range: None,
        store: None,
        recorded: document.is_recorded().then(|| context.store.url.clone()),
        pins: None,
        coverage: None,
        source: inputs.sources(),
        record: None,
        shard: None,
        shards: shards.map(ShardCount::Number),
        live: None,
        numbers: None,
        common: Common::default(),
    };
    collect::run(&collect, &mut Outcome::start("collect"))?;
    Ok(collect.samples)
}

fn features(
    folder: &Path,
    samples: PathBuf,
    labels: Option<PathBuf>,
    name: &str,
) -> Result<Made, StepError> {
    let args = FeatureArgs {
        document: folder.join(DOCUMENT),
        samples,
        labels,
        features: folder.join(name),
        common: Common::default(),
    };
    feature::run(&args, &mut Outcome::start("feature"))?;
    Ok(Made { samples: args.samples, features: args.features })
}
