//! Messages under way: sent through every channel, crossed out one by one, kept for the next run
//! where a channel fails.

use std::collections::{BTreeMap, BTreeSet};

use contract::StepError;
use serde::{Deserialize, Serialize};

use crate::AlertState;
use crate::channels::Channel;
use crate::message::Message;

/// Messages kept for a channel that cannot be reached; more become one summary.
pub const MAX_PENDING: usize = 50;

/// A message and the channels it has not reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The message.
    pub message: Message,
    /// Names of the channels that are still to be told.
    pub channels: Vec<String>,
}

/// A message and the channels that took it in this run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The message.
    pub message: Message,
    /// Names of the channels that were told.
    pub channels: Vec<String>,
}

/// What became of a run's messages.
#[derive(Debug, Default)]
pub struct Delivery {
    /// What was sent.
    pub sent: Vec<Sent>,
    /// The channels that failed, by name.
    pub failed: BTreeMap<String, StepError>,
}

/// Takes channels that the document no longer has off the messages, and returns their names.
/// Messages that nobody is left for are dropped.
pub fn forget_unknown(pending: &mut Vec<Pending>, names: &[String]) -> BTreeSet<String> {
    let mut gone = BTreeSet::new();
    for Pending { channels, .. } in pending.iter_mut() {
        gone.extend(channels.extract_if(.., |name| !names.contains(name)));
    }
    pending.retain(|pending| !pending.channels.is_empty());
    gone
}

/// Makes one message of those that wait for the same channels, where they are more than
/// [`MAX_PENDING`], so that a channel that stays dead does not let the state grow.
pub fn shorten(pending: &mut Vec<Pending>) {
    let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for Pending { channels, .. } in pending.iter() {
        *counts.entry(channels.clone()).or_default() += 1;
    }
    for channels in
        counts.into_iter().filter_map(|(key, count)| (count > MAX_PENDING).then_some(key))
    {
        let long: Vec<_> = pending.extract_if(.., |one| one.channels == channels).collect();
        let message = long.into_iter().map(|pending| pending.message).reduce(Message::merge);
        pending.extend(message.map(|message| Pending { message, channels }));
    }
}

/// Sends what is pending, oldest first, and saves the state after each message that reached
/// somebody. A channel that fails is left alone for the rest of the run, and the others are not.
///
/// Errors are those of `save`; a failing channel is none.
pub fn deliver(
    state: &mut AlertState,
    channels: &mut [Box<dyn Channel>],
    delivery: &mut Delivery,
    save: &mut dyn FnMut(&AlertState) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let mut index = 0;
    while let Some(Pending { message, channels: waiting }) = state.pending.get_mut(index) {
        let mut told = Vec::new();
        for channel in channels.iter_mut() {
            let name = channel.name().to_owned();
            if !waiting.contains(&name) || delivery.failed.contains_key(&name) {
                continue;
            }
            match channel.send(message) {
                Ok(()) => told.push(name),
                Err(error) => drop(delivery.failed.insert(name, error)),
            }
        }
        waiting.retain(|name| !told.contains(name));
        let done = waiting.is_empty();
        let sent = (!told.is_empty()).then(|| Sent { message: message.clone(), channels: told });
        if done {
            state.pending.remove(index);
        } else {
            index += 1;
        }
        if let Some(sent) = sent {
            delivery.sent.push(sent);
            save(state)?;
        }
    }
    Ok(())
}
