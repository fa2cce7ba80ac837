//! Sent messages and late windows: from the files that `alert` writes in each tick, and from the
//! store, which has the last ones.

use std::path::PathBuf;

use contract::alerts::{AlertState, Told};
use contract::message::{Messages, Sent};
use contract::score::{LateTicks, LateWindows};
use contract::{StepError, read_json};
use serde::de::IgnoredAny;
use store::{ObjectStore, state};

/// Reads the sent messages, in order of the files; a note for each unreadable file.
pub fn read(files: &[PathBuf], notes: &mut Vec<String>) -> Vec<Told> {
    let told = |Sent { message, channels }: Sent| Told {
        key: message.key,
        time: message.time,
        title: message.title,
        urgent: message.urgent,
        channels,
    };
    let mut messages = Vec::new();
    for file in files {
        match read_json::<Messages>(file) {
            Ok(read) => messages.extend(read.sent.into_iter().map(told)),
            Err(error) => notes.push(format!("Some messages cannot be shown: {error}.")),
        }
    }
    messages
}

/// Adds the messages of the store's alert state to the known ones, in order of time.
pub fn add_remembered(
    messages: &mut Vec<Told>,
    store: &dyn ObjectStore,
    pipeline: &str,
) -> Result<(), StepError> {
    for path in store::shard::paths(store, pipeline)? {
        type State = AlertState<IgnoredAny>;
        let alerts = state::read::<State>(store, &path, State::NAME)?;
        let told = alerts.into_iter().flat_map(|stored| stored.value.told);
        for message in told {
            if !messages.iter().any(|known| known.key == message.key) {
                messages.push(message);
            }
        }
    }
    messages.sort_by_key(|message| message.time);
    Ok(())
}

/// Returns the late windows that are recorded in a store, by tick.
pub fn late(store: &dyn ObjectStore, pipeline: &str) -> Result<Vec<LateWindows>, StepError> {
    let mut late = Vec::new();
    for path in store::shard::paths(store, pipeline)? {
        let ticks = state::read::<LateTicks>(store, &path, LateTicks::NAME)?;
        late.extend(ticks.map(|stored| stored.value.ticks).unwrap_or_default());
    }
    Ok(late)
}
