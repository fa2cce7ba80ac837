//! The last tick that failed, on this machine or in the cluster.

use contract::{Shard, StepError, Timestamp};
use serde::Serialize;
use store::ObjectStore;

use crate::cli::context::{Context, pipeline_path};
use crate::cli::score::failed_ticks;
use crate::run::{RunRecord, TaskRecord, TaskState};

/// A tick that failed.
#[derive(Debug, Serialize)]
pub(super) struct FailedTick {
    pub(super) at: Timestamp,
    pub(super) task: String,
    pub(super) why: String,
}

/// Returns what stopped the last tick, from its folder or, for a tick in a cluster, from its note
/// in the store; `None` if a later tick has scored newer windows.
pub(super) fn last(
    context: &Context,
    store: &dyn ObjectStore,
    shard: Option<Shard>,
    scored_to: Option<Timestamp>,
) -> Result<Option<FailedTick>, StepError> {
    let here = failed_here(context, shard, scored_to);
    let there = alert::failure::FailedTick::read(store, &pipeline_path(&context.document, shard))?;
    let there = there.filter(|tick| scored_to.is_none_or(|to| to <= tick.at));
    let there = there.map(|tick| FailedTick { at: tick.at, task: tick.step, why: tick.why });
    Ok(here.into_iter().chain(there).max_by_key(|tick| tick.at))
}

fn failed_here(
    context: &Context,
    shard: Option<Shard>,
    scored_to: Option<Timestamp>,
) -> Option<FailedTick> {
    let prefix = shard.map(|shard| format!("{}/", shard.part())).unwrap_or_default();
    let ticks = failed_ticks(&context.store.root, &context.document.name).into_iter().rev();
    let records = ticks.filter_map(|folder| Some((RunRecord::read(&folder).ok()?, folder)));
    let since =
        |(record, _): &(RunRecord, std::path::PathBuf)| scored_to.is_none_or(|to| to <= record.now);
    // A tick that is running or was killed has no result.
    let (record, folder, failed) = records.take_while(since).find_map(|(record, folder)| {
        // A task without a shard belongs to all shards.
        let concerns =
            |task: &&TaskRecord| task.name.starts_with(&prefix) || !task.name.contains('/');
        let mut own = record.tasks.iter().filter(concerns);
        let failed = own.find(|task| task.state == TaskState::Failed)?.clone();
        Some((record, folder, failed))
    })?;
    let outcome = RunRecord::outcome_of(&folder, &failed.name);
    let error = outcome.and_then(|outcome| outcome.error);
    Some(FailedTick {
        at: record.now,
        task: failed.name.clone(),
        why: error.map_or("it ended without an error message".to_owned(), |error| error.message),
    })
}
