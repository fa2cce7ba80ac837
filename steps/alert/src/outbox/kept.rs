//! What is kept of messages under way, and of the channels they go through.

use std::collections::{BTreeMap, BTreeSet};

use contract::Timestamp;
use serde::{Deserialize, Serialize};

use crate::message::Message;

/// A message and the channels it has not reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The message.
    pub message: Message,
    /// Names of the channels that are still to be told; with `send: first` the first that takes it
    /// is the last.
    pub channels: Vec<String>,
    /// How often a channel has answered that it does not want this message, or has failed at it
    /// for long, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, u32>,
    /// Names of the channels of which the others were told that they refuse it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub complained: BTreeSet<String>,
}

impl Pending {
    /// A message that nobody was sent yet.
    pub fn new(message: Message, channels: Vec<String>) -> Self {
        Self { message, channels, refusals: BTreeMap::new(), complained: BTreeSet::new() }
    }
}

/// A message that a channel refused for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The message.
    pub message: Message,
    /// Name of the channel.
    pub channel: String,
    /// When it was given up.
    pub time: Timestamp,
    /// What the channel answered.
    pub why: String,
}

/// A message and the channels that took it in this run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The message.
    pub message: Message,
    /// Names of the channels that were told.
    pub channels: Vec<String>,
}

/// What is known of a channel that does not work as it should.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trouble {
    /// Since when it cannot be reached; nothing if it only wants a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Since when it has only wanted pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_since: Option<Timestamp>,
    /// Until when it wants to be left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Since when it has refused messages for good and taken none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusing_since: Option<Timestamp>,
    /// What it answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
