//! Messages that people were sent, and windows that came late: as `alert` notes them tick by tick,
//! and as a store remembers the last of them.

use std::path::PathBuf;

use contract::score::{LateTicks, LateWindows};
use contract::{StepError, Timestamp, read_json};
use serde::Deserialize;
use store::{ObjectStore, state};

/// A message that at least one channel accepted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Message {
    /// The same for every note of the same message.
    #[serde(default)]
    pub key: String,
    /// End of the last window it reports.
    pub time: Timestamp,
    /// What it says in a line.
    #[serde(default)]
    pub title: String,
    /// Worth waking someone.
    #[serde(default)]
    pub urgent: bool,
    /// Channels that took it.
    #[serde(default)]
    pub channels: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Told {
    message: Message,
    channels: Vec<String>,
}

/// A file, as far as a page shows it.
#[derive(Debug, Deserialize)]
struct Messages {
    #[serde(default)]
    sent: Vec<Told>,
}

/// The parts of the alert state that a page shows.
#[derive(Debug, Deserialize)]
struct Alerts {
    #[serde(default)]
    told: Vec<Message>,
}

/// Reads the sent messages, in order of the files; a note for each unreadable file.
pub fn read(files: &[PathBuf], notes: &mut Vec<String>) -> Vec<Message> {
    let mut messages = Vec::new();
    for file in files {
        match read_json::<Messages>(file) {
            Ok(read) => {
                let sent = read.sent.into_iter();
                messages
                    .extend(sent.map(|told| Message { channels: told.channels, ..told.message }));
            }
            Err(error) => notes.push(format!("Some messages cannot be shown: {error}.")),
        }
    }
    messages
}

/// Adds the messages of the store's alert state to the known ones, in order of time.
pub fn add_remembered(
    messages: &mut Vec<Message>,
    store: &dyn ObjectStore,
    pipeline: &str,
) -> Result<(), StepError> {
    for path in store::shard::paths(store, pipeline)? {
        let alerts = state::read::<Alerts>(store, &path, "alerts")?;
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

/// Returns the windows that a store remembers as late, by tick.
pub fn late(store: &dyn ObjectStore, pipeline: &str) -> Result<Vec<LateWindows>, StepError> {
    let mut late = Vec::new();
    for path in store::shard::paths(store, pipeline)? {
        let ticks = state::read::<LateTicks>(store, &path, LateTicks::NAME)?;
        late.extend(ticks.map(|stored| stored.value.ticks).unwrap_or_default());
    }
    Ok(late)
}
