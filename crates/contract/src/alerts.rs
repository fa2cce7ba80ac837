//! The state of the alerts of a pipeline: `alert` writes it, pages and `lynceus status` show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::message::{Alert, Message, Pending, Refused, Status};

/// Trainings whose message is remembered.
const TRAININGS: usize = 20;
/// Messages that were given up and can still be read.
const REFUSED: usize = 20;
/// Sent messages that are remembered.
const TOLD: usize = 100;

/// A sent message, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The message's key.
    pub key: String,
    /// End of the last window it reports, or the evaluation time of what it reports.
    pub time: Timestamp,
    /// One line of it.
    pub title: String,
    /// Whether it is worth waking someone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// Names of the channels that took it.
    pub channels: Vec<String>,
}

/// What is known of a channel that does not work as it should.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trouble {
    /// Since when it cannot be reached; nothing if it is only rate-limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Since when it has only wanted pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_since: Option<Timestamp>,
    /// Until when it is rate-limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Since when it has permanently rejected messages and accepted none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusing_since: Option<Timestamp>,
    /// What it answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How far scoring had come when it was last seen to move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// End of the last window that had been scored; nothing before the first.
    pub scored_to: Option<Timestamp>,
    /// When that was first seen, by the evaluation time of a run.
    pub seen: Timestamp,
    /// Time of the last alert that it has stopped; nothing while it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Timestamp>,
    /// What stopped the last tick that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a run that sends leaves in the state as long as it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The present of the run.
    pub since: Timestamp,
    /// The process, where the system reports it: boot, process namespace, number and start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

/// `state/<pipeline>/alerts.json`: what the next run of `alert` carries on from.
///
/// `T` is what only `alert` reads of it: where each entity stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertState<T> {
    /// Version of this format.
    pub format: u32,
    /// End of the last window that was looked at.
    pub told_to: Option<Timestamp>,
    /// Where each entity stands.
    pub tracks: T,
    /// Firing alerts as of the last message, in the order of entities and kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firing: Vec<Alert>,
    /// How far scoring came, and whether it has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Messages that have not reached every channel, oldest first.
    pub pending: Vec<Pending>,
    /// The last messages that a channel permanently rejected, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// The last sent messages, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Told>,
    /// Channels that do not work as they should, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trouble: BTreeMap<String, Trouble>,
    /// Keys of the messages about the last trainings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trainings: Vec<String>,
    /// The run that is sending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

impl<T> AlertState<T> {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the object in the state of a pipeline.
    pub const NAME: &str = "alerts";

    /// Keeps what is firing up to date with one alert that changed.
    pub fn note_alert(&mut self, alert: Alert) {
        self.firing.retain(|other| !other.is_same(&alert));
        if alert.status == Status::Firing {
            let name = |alert: &Alert| (alert.entity.clone(), alert.kind);
            let place = self.firing.partition_point(|other| name(other) < name(&alert));
            self.firing.insert(place, alert);
        }
    }

    /// Returns whether a channel cannot be reached.
    pub fn is_failing(&self, channel: &str) -> bool {
        self.trouble.get(channel).is_some_and(|trouble| trouble.failing_since.is_some())
    }

    /// Keeps a message that was given up, so that it can be read.
    pub fn bury(&mut self, refused: Refused) {
        self.refused.push(refused);
        let surplus = self.refused.len().saturating_sub(REFUSED);
        self.refused.drain(..surplus);
    }

    /// Remembers that a channel took a message.
    pub fn note_told(&mut self, message: &Message, channel: &str) {
        match self.told.iter_mut().rev().find(|told| told.key == message.key) {
            Some(told) => told.channels.push(channel.to_owned()),
            None => self.told.push(Told {
                key: message.key.clone(),
                time: message.time,
                title: message.title.clone(),
                urgent: message.urgent,
                channels: vec![channel.to_owned()],
            }),
        }
        self.told.drain(..self.told.len().saturating_sub(TOLD));
    }

    /// Remembers the message about a training; returns whether it is a new one.
    pub fn is_new_training(&mut self, key: &str) -> bool {
        if self.trainings.iter().any(|other| other == key) {
            return false;
        }
        self.trainings.push(key.to_owned());
        let surplus = self.trainings.len().saturating_sub(TRAININGS);
        self.trainings.drain(..surplus);
        true
    }
}

impl<T: Default> Default for AlertState<T> {
    fn default() -> Self {
        Self {
            format: Self::FORMAT,
            told_to: None,
            tracks: T::default(),
            firing: Vec::new(),
            progress: None,
            pending: Vec::new(),
            told: Vec::new(),
            refused: Vec::new(),
            trouble: BTreeMap::new(),
            trainings: Vec::new(),
            lease: None,
        }
    }
}
