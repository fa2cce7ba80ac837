//! Messages that people were sent, as `alert` notes them tick by tick.

use std::path::PathBuf;

use contract::{Timestamp, read_json};
use serde::Deserialize;

/// A message that reached somebody, or waits to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Message {
    /// End of the last window it tells of.
    pub time: Timestamp,
    /// What it says in a line.
    #[serde(default)]
    pub title: String,
    /// Worth waking someone.
    #[serde(default)]
    pub urgent: bool,
    /// Channels that took it; none while it waits.
    #[serde(skip)]
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

/// Reads what was sent, in order of the files; a sentence for each file that cannot be read.
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
