//! Small states that one step carries from run to run: `state/<pipeline>/<name>.json`, changed by
//! compare-and-set.

use contract::StepError;
use contract::artifact::{json_bytes, parse_json};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::object::{Condition, ObjectStore, Put};

/// A value read from the store, with the tag that is needed to change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// Tag of the object it was read from.
    pub etag: String,
}

/// Returns the key of a state.
pub fn key(pipeline: &str, name: &str) -> String {
    format!("state/{pipeline}/{name}.json")
}

/// Reads a state; `None` if it was never written. A state that cannot be parsed is refused.
pub fn read<T: DeserializeOwned>(
    store: &dyn ObjectStore,
    pipeline: &str,
    name: &str,
) -> Result<Option<Stored<T>>, StepError> {
    let key = key(pipeline, name);
    let Some(object) = store.get(&key)? else { return Ok(None) };
    Ok(Some(Stored { value: parse_json(&store.shown(&key), &object.bytes)?, etag: object.etag }))
}

/// Writes a state if the stored one still has the tag `expected` (`None`: if there is no state);
/// returns the new tag.
///
/// Errors: [`contract::ErrorKind::LostRace`] when another process has changed it since.
pub fn write<T: Serialize>(
    store: &dyn ObjectStore,
    pipeline: &str,
    name: &str,
    value: &T,
    expected: Option<&str>,
) -> Result<String, StepError> {
    put(store, &key(pipeline, name), &json_bytes(value)?, expected)
}

/// Writes an object if the stored one still has the tag `expected`; returns the new tag.
pub(crate) fn put(
    store: &dyn ObjectStore,
    key: &str,
    bytes: &[u8],
    expected: Option<&str>,
) -> Result<String, StepError> {
    let condition = expected.map_or(Condition::IfAbsent, Condition::IfMatch);
    match store.put(key, bytes, condition)? {
        Put::Written(etag) => Ok(etag),
        Put::Conflict => Err(StepError::lost_race(format!(
            "`{}` in store `{}` was changed by another process",
            store.shown(key),
            store.describe()
        ))
        .hint("run again: the next run continues from the other process's result")),
    }
}
