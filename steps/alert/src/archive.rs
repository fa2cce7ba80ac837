//! Every message is an object of the store, for any channels, because the output of a pod is lost
//! with the pod. `lynceus messages` shows them.
//!
//! `messages/<pipeline>/date=YYYY-MM-DD/<time>-<key>.json`, written once.

use contract::artifact::{json_bytes, parse_json, sha256};
use contract::{StepError, Timestamp};
use store::object::for_each_key;
use store::{Condition, ObjectStore};

use crate::message::Message;

/// Digits of the SHA-256 of a message's key in its object's name.
const HASH_DIGITS: usize = 12;

/// Returns the key of a message's object. Keys sort in the order of the messages' times.
pub fn key(message: &Message) -> String {
    let Message { pipeline, time, key, .. } = message;
    let hash = &sha256(key.as_bytes())[..HASH_DIGITS];
    format!("messages/{pipeline}/date={}/{}-{hash}.json", time.date(), time.compact())
}

/// Writes a message unless it exists.
///
/// Errors: those of the store.
pub(crate) fn keep(store: &dyn ObjectStore, message: &Message) -> Result<(), StepError> {
    // An existing object is the same message, because keys are unique.
    store.put(&key(message), &json_bytes(message)?, Condition::IfAbsent).map(drop)
}

/// Reads the messages of a pipeline whose time is after `after` and not after `until`, oldest first.
///
/// Errors: those of the store, and refused for an object that is not a message.
pub fn read(
    store: &dyn ObjectStore,
    pipeline: &str,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<Message>, StepError> {
    let mut keys = Vec::new();
    // Only the days of the range are listed.
    let mut day = after;
    loop {
        for_each_key(store, &format!("messages/{pipeline}/date={}/", day.date()), |key| {
            keys.push(key.to_owned());
            Ok(())
        })?;
        if day.date() >= until.date() {
            break;
        }
        day = day + contract::Span::from_seconds(86_400);
    }
    let objects = store.get_many(&keys)?;
    let there = keys.iter().zip(objects).filter_map(|(key, object)| Some((key, object?)));
    let messages = there.map(|(key, object)| parse_json::<Message>(key, &object.bytes));
    let mut messages = messages.collect::<Result<Vec<_>, _>>()?;
    messages.retain(|message| message.time > after && message.time <= until);
    messages.sort_by(|a, b| (a.time, &a.key).cmp(&(b.time, &b.key)));
    Ok(messages)
}
