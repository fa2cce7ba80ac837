//! `lynceus score --backfill FROM TO`: scores past windows, without changing the watermark and
//! without alerts.

use std::path::Path;

use alert::AlertState;
use contract::{StepError, TimeRange, Timestamp, artifact};
use score::backfill::{Backfill, Filled};
use store::{ObjectStore, state, watermark};

use super::super::context::Context;
use super::super::past;

/// Scores the windows of a range that have no score.
///
/// Errors: usage (2) for a range that live scoring has not passed yet.
pub(super) fn run(
    context: &Context,
    range: TimeRange,
    threads: usize,
) -> Result<Filled, StepError> {
    let document = &context.document;
    if document.classification().is_some() {
        return Err(StepError::usage("`--backfill` is for `task: anomaly`")
            .hint("remove it: a class does not depend on earlier windows"));
    }
    let TimeRange { after: from, until: to } = range;
    let range = TimeRange { after: from.floor(document.step), until: to.floor(document.step) };
    if range.after >= range.until {
        return Err(StepError::usage(format!(
            "there is no window after `{from}` and up to `{to}`"
        ))
        .hint("write it as in --backfill 2026-11-20T00:00:00Z 2026-11-21T00:00:00Z"));
    }
    let store = context.store.open()?;
    for path in context.paths() {
        check_passed(store.as_ref(), &path, range.until)?;
    }
    let folder = context.store.root.join(format!("cache/backfill-{}", std::process::id()));
    let filled = fill(context, &folder, range, threads);
    artifact::remove(&folder).map_err(|e| StepError::writing(&folder, &e))?;
    filled
}

/// Refuses windows after the watermark or after the last window of `alert`, because they would send
/// messages.
fn check_passed(
    store: &dyn ObjectStore,
    pipeline: &str,
    until: Timestamp,
) -> Result<(), StepError> {
    let scored_to = watermark::read(store, pipeline)?.map(|stored| stored.value.scored_to);
    let told = state::read::<AlertState>(store, pipeline, AlertState::NAME)?;
    let told_to = told.and_then(|stored| stored.value.told_to);
    // Without a cursor, `alert` would start with these windows.
    let passed = scored_to.zip(told_to).map(|(scored_to, told_to)| scored_to.min(told_to));
    if passed.is_some_and(|passed| until <= passed) {
        return Ok(());
    }
    let error = StepError::usage(match passed {
        Some(passed) => format!("live scoring has reached `{passed}`, and not to `{until}` yet"),
        None => format!("no window of `{pipeline}` was scored live yet"),
    });
    Err(error.hint("`lynceus score` scores the windows that are due; `--since` sets the first one"))
}

/// Scores the windows of each shard, one after the other.
fn fill(
    context: &Context,
    folder: &Path,
    range: TimeRange,
    threads: usize,
) -> Result<Filled, StepError> {
    let document = &context.document.clone().into();
    let mut filled = Filled::default();
    for (shard, made) in past::make_shards(context, folder, range)? {
        let store = store::open_shard(&context.store.url, shard)?;
        let (features, samples) = (made.features.as_path(), made.samples.as_path());
        let TimeRange { after, until } = range;
        let backfill = Backfill { document, features, samples, after, until, threads };
        filled = filled.and(backfill.run(store.as_ref())?);
    }
    Ok(filled)
}
