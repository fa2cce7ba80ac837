//! How far a pipeline has been scored: `state/<pipeline>/watermark.safetensors`.
//!
//! Both the position and the state of the detectors are in one object, so that one compare-and-set
//! changes them together. The position is text in the file's metadata ([`METADATA_KEY`]). The state
//! of each entity is stored as tensors, a few kilobytes an entity, which any tool for safetensors
//! can open.

use contract::artifact::parse_json;
use contract::{OTHER_VERSION_HINT, StepError, Tensors, Timestamp, tensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::ObjectStore;
use crate::state::{self, Stored};

/// Key of the metadata that holds the position.
pub const METADATA_KEY: &str = "lynceus.watermark";

/// The end of the last scored window and the scorer's state at that time; one write changes both.
#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    /// End of the last window that has been scored.
    pub scored_to: Timestamp,
    /// Other state of the scorer, at most a kilobyte; null before the first window.
    pub state: Value,
    /// State of detectors and thresholds.
    pub tensors: Tensors,
}

/// Content of the metadata.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    format: u32,
    scored_to: Timestamp,
    #[serde(default)]
    state: Value,
}

impl Watermark {
    /// Format version that this build writes.
    pub const FORMAT: u32 = 1;

    /// Makes the watermark of a pipeline that begins after `scored_to` and has no state.
    pub fn new(scored_to: Timestamp) -> Self {
        Self { scored_to, state: Value::Null, tensors: Tensors::default() }
    }

    fn encode(&self) -> Result<Vec<u8>, StepError> {
        let Self { scored_to, state, tensors } = self;
        let position =
            Position { format: Self::FORMAT, scored_to: *scored_to, state: state.clone() };
        let text = serde_json::to_string(&position)
            .map_err(|e| StepError::bug(format!("cannot write the watermark: {e}")))?;
        tensors.encode_with(METADATA_KEY, &text)
    }
}

impl Position {
    fn parse(key: &str, bytes: &[u8]) -> Result<Self, StepError> {
        let text = tensors::metadata(METADATA_KEY, bytes).map_err(|e| named(key, e))?;
        let text = text.ok_or_else(|| {
            StepError::damaged(format!("`{key}` has no `{METADATA_KEY}` in its metadata"))
        })?;
        let position: Self = parse_json(key, text.as_bytes())?;
        if position.format == Watermark::FORMAT {
            return Ok(position);
        }
        Err(StepError::refused(format!(
            "`{key}` has format {}, this version reads format {}",
            position.format,
            Watermark::FORMAT
        ))
        .hint(OTHER_VERSION_HINT))
    }
}

/// Returns the key of a pipeline's watermark.
pub fn key(pipeline: &str) -> String {
    format!("state/{pipeline}/watermark.safetensors")
}

/// Reads the watermark; `None` before the first window was scored. A watermark of another format is
/// refused.
pub fn read(
    store: &dyn ObjectStore,
    pipeline: &str,
) -> Result<Option<Stored<Watermark>>, StepError> {
    let key = key(pipeline);
    let Some(object) = store.get(&key)? else { return Ok(None) };
    let shown = store.shown(&key);
    let Position { scored_to, state, .. } = Position::parse(&shown, &object.bytes)?;
    let tensors = Tensors::decode_any(&object.bytes).map_err(|e| named(&shown, e))?;
    Ok(Some(Stored { value: Watermark { scored_to, state, tensors }, etag: object.etag }))
}

/// Returns the end of the last scored window, without reading the state; `None` before the first.
pub fn scored_to(store: &dyn ObjectStore, pipeline: &str) -> Result<Option<Timestamp>, StepError> {
    let key = key(pipeline);
    let Some(object) = store.get(&key)? else { return Ok(None) };
    Ok(Some(Position::parse(&store.shown(&key), &object.bytes)?.scored_to))
}

/// Moves the watermark if it is still the one with the tag `expected` (`None`: if there is no
/// watermark); returns the new tag.
///
/// Errors: [`contract::ErrorKind::LostRace`] when another process has moved it since.
pub fn write(
    store: &dyn ObjectStore,
    pipeline: &str,
    watermark: &Watermark,
    expected: Option<&str>,
) -> Result<String, StepError> {
    state::put(store, &key(pipeline), &watermark.encode()?, expected)
}

fn named(key: &str, error: StepError) -> StepError {
    StepError { message: format!("`{key}`: {}", error.message), ..error }
}
