//! What is kept of messages under way, and of the channels they go through.

use std::collections::{BTreeMap, BTreeSet};

use contract::Timestamp;
use serde::{Deserialize, Serialize};

use crate::AlertState;
use crate::message::Message;
use crate::wording::Wording;

/// Messages kept for a channel that cannot be reached; more become one summary.
pub const MAX_PENDING: usize = 50;

/// A message and the channels it has not reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The message.
    pub message: Message,
    /// Names of the channels that still need it; with `send: first` the first that takes it
    /// is the last.
    pub channels: Vec<String>,
    /// How often a channel has answered that it does not want this message, or has failed at it
    /// for long, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, u32>,
    /// Names of the channels whose rejection was reported to the others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub complained: BTreeSet<String>,
    /// Whether the store has it as a separate object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_kept: bool,
}

impl Pending {
    /// A message that was not sent yet.
    pub fn new(message: Message, channels: Vec<String>) -> Self {
        let (refusals, complained) = (BTreeMap::new(), BTreeSet::new());
        Self { message, channels, refusals, complained, is_kept: false }
    }
}

/// A message that a channel permanently rejected.
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
    /// Names of the channels that accepted it.
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

/// Takes channels that the document no longer has off the messages, and returns their names.
/// Messages that no channel is left for are dropped once the store has them.
pub fn forget_unknown(state: &mut AlertState, names: &[String]) -> BTreeSet<String> {
    let mut gone = BTreeSet::new();
    for Pending { channels, .. } in &mut state.pending {
        gone.extend(channels.extract_if(.., |name| !names.contains(name)));
    }
    state.pending.retain(|pending| !pending.channels.is_empty() || !pending.is_kept);
    state.trouble.retain(|name, _| names.contains(name));
    gone
}

/// Makes one message of those about alerts that wait for the same channels, where they are more
/// than [`MAX_PENDING`], so that a channel that stays dead does not let the state grow.
pub fn shorten(pending: &mut Vec<Pending>, wording: &Wording<'_>) {
    let is_summed = |one: &Pending| !one.message.alerts.is_empty();
    let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for one in pending.iter().filter(|one| is_summed(one)) {
        *counts.entry(one.channels.clone()).or_default() += 1;
    }
    for channels in counts.into_iter().filter(|(_, n)| *n > MAX_PENDING).map(|(names, _)| names) {
        let long: Vec<_> =
            pending.extract_if(.., |one| one.channels == channels && is_summed(one)).collect();
        let message = long.into_iter().map(|pending| pending.message).reduce(Message::merge);
        pending.extend(message.map(|message| Pending::new(wording.apply(message), channels)));
    }
    // Messages about trainings and channels are few; a channel that was unreachable this long needs
    // only the last ones.
    let others = pending.iter().filter(|one| !is_summed(one)).count();
    let mut surplus = others.saturating_sub(MAX_PENDING);
    pending.retain(|one| {
        let drops = !is_summed(one) && surplus > 0;
        surplus -= usize::from(drops);
        !drops
    });
}
