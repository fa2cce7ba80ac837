//! How far a pipeline has been scored: `state/<pipeline>/watermark.json`.

use contract::{StepError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::ObjectStore;
use crate::state::{self, Stored};

const NAME: &str = "watermark";

/// The end of the last scored window and what the scorer carries on from there; both move in one
/// write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watermark {
    /// Version of this format.
    pub format: u32,
    /// End of the last window that has been scored.
    pub scored_to: Timestamp,
    /// The scorer's own state, such as its recent scores.
    #[serde(default)]
    pub state: Value,
}

impl Watermark {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
}

/// Reads the watermark; nothing before the first window was scored. One of another format is
/// refused.
pub fn read(
    store: &dyn ObjectStore,
    pipeline: &str,
) -> Result<Option<Stored<Watermark>>, StepError> {
    let stored: Option<Stored<Watermark>> = state::read(store, pipeline, NAME)?;
    if let Some(format) = stored.as_ref().map(|stored| stored.value.format)
        && format != Watermark::FORMAT
    {
        return Err(StepError::refused(format!(
            "the watermark of `{pipeline}` has format {format}, this version reads format {}",
            Watermark::FORMAT
        )));
    }
    Ok(stored)
}

/// Moves the watermark if it is still the one with the tag `expected` (nothing: if there is none);
/// returns the new tag.
///
/// Errors: [`contract::ErrorKind::LostRace`] when another process has moved it since.
pub fn write(
    store: &dyn ObjectStore,
    pipeline: &str,
    watermark: &Watermark,
    expected: Option<&str>,
) -> Result<String, StepError> {
    state::write(store, pipeline, NAME, watermark, expected)
}
