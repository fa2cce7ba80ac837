//! Samples and features of a range of the past, in the process of the command.

use std::path::{Path, PathBuf};

use contract::step::Common;
use contract::steps::{CollectArgs, FeatureArgs, LabelArgs};
use contract::{Outcome, Shard, Span, StepError, Timestamp};
use document::below;
use document::features::lookback;

use super::context::Context;

/// Steps before the lookback that are asked for as well, as for live scoring.
const MORE_STEPS: i64 = 5;

/// The files of a range.
pub(super) struct Made {
    pub(super) samples: PathBuf,
    pub(super) features: PathBuf,
}

/// Collects the samples for the windows after `after` and up to `until`, and computes their
/// features in a folder, for one shard or all entities; with the document's labels if requested.
///
/// Errors: those of the steps.
pub(super) fn make(
    context: &Context,
    folder: &Path,
    (after, until): (Timestamp, Timestamp),
    shard: Option<Shard>,
    is_labelled: bool,
) -> Result<Made, StepError> {
    let document = &context.document;
    let file = folder.join("document.yaml");
    document::write(&file, document)?;
    let lookback = lookback(document.step, &document.features, &document.fill);
    let more = if lookback > Span::ZERO { MORE_STEPS * document.step.ms() } else { 0 };
    let inputs = crate::train::Inputs {
        document,
        base: &context.base,
        folder,
        store: &context.store.url,
        now: until,
    };
    let collect = CollectArgs {
        document: file.clone(),
        samples: folder.join("samples.parquet"),
        now: until,
        start: Some(after - lookback - Span::from_ms(more)),
        range: None,
        store: None,
        recorded: document.is_recorded().then(|| context.store.url.clone()),
        pins: None,
        coverage: None,
        source: inputs.sources(),
        record: None,
        shard,
        common: Common::default(),
    };
    collect::run(&collect, &mut Outcome::start("collect"))?;
    let scenarios = document.labels.scenarios.as_ref().filter(|_| is_labelled);
    let labels = scenarios.map(|scenarios| LabelArgs {
        document: file.clone(),
        scenarios: below(&context.base, scenarios),
        labels: folder.join("labels.parquet"),
        common: Common::default(),
    });
    if let Some(labels) = &labels {
        label::run(labels, &mut Outcome::start("label"))?;
    }
    let feature = FeatureArgs {
        document: file,
        samples: collect.samples.clone(),
        labels: labels.map(|labels| labels.labels),
        features: folder.join("features.parquet"),
        common: Common::default(),
    };
    feature::run(&feature, &mut Outcome::start("feature"))?;
    Ok(Made { samples: collect.samples, features: feature.features })
}
