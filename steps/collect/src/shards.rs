//! The number of shards for which to collect.

use std::path::Path;

use contract::steps::CollectArgs;
use contract::{Outcome, ShardCount, ShardNumber, StepError, write_json};
use document::sections::Collect as Sections;
use store::{ObjectStore, Registry};

use crate::check::{self, Checked};

/// Returns how many shards the live version has, 1 for a version without shards; `None` if there is
/// no live version.
///
/// Errors: those of the store.
pub fn live(
    store: &dyn ObjectStore,
    pipeline: &str,
    alias: &str,
) -> Result<Option<u32>, StepError> {
    let registry = Registry::new(store, pipeline);
    let Some(live) = registry.alias(alias)? else { return Ok(None) };
    let parts = registry.manifest(&live.version)?.parts.len();
    Ok(Some(u32::try_from(parts.max(1)).unwrap_or(u32::MAX)))
}

/// Returns the number of shards of the flags, and writes the list of the shards.
///
/// `auto` is the number of the live version, whose models score; for a training it is the number
/// that the current entities need.
///
/// Errors: those of the store; for a training with `auto` also those of the sources.
pub(crate) fn settle(
    document: &Sections,
    args: &CollectArgs,
    outcome: &mut Outcome,
) -> Result<Option<u32>, StepError> {
    let count = match args.shards {
        None => return Ok(None),
        Some(ShardCount::Number(count)) => count,
        Some(ShardCount::Auto) => automatic(document, args, outcome)?,
    };
    if let Some(numbers) = &args.numbers {
        write_json(numbers, &ShardNumber::all(count))?;
    }
    Ok(Some(count))
}

fn automatic(
    document: &Sections,
    args: &CollectArgs,
    outcome: &mut Outcome,
) -> Result<u32, StepError> {
    let live = match args.store.as_ref().or(args.live.as_ref()) {
        Some(url) => live(store::open(url)?.as_ref(), &document.name, &document.deployment.alias)?,
        None => None,
    };
    let count = if args.store.is_some() {
        // Without a live version, the only shard has the keys of the whole pipeline.
        live.unwrap_or(1)
    } else {
        let recorded = args.recorded.as_ref().or(args.live.as_ref());
        let folder = args.document.parent().unwrap_or(Path::new(""));
        let entities = check::entities(Checked {
            document,
            folder,
            data: &crate::data(document, args, folder)?,
            store: recorded.map_or("", String::as_str),
            work: args.samples.parent().unwrap_or(Path::new("")),
            now: args.now,
        })?;
        outcome.count("entities_now", entities);
        document.shards.fitting(entities, live)
    };
    tracing::info!(shards = count, "Chose the number of shards");
    Ok(count)
}
