//! State of the scorer that is kept from tick to tick, in the watermark.

use std::collections::BTreeMap;

use contract::score::Drift;
use contract::tensors::{Arrays, Numbers, Record};
use contract::{StepError, Tensors, Timestamp};
use models::ScoreState;
use serde::{Deserialize, Serialize};
use store::Watermark;

use crate::drift::DriftTally;

/// What to do when the state in the store cannot be read.
pub(crate) const DAMAGED_STATE_HINT: &str = "restore `state/` of the store from a backup; without \
                                             one, remove the pipeline's watermark there: scoring \
                                             then starts again at the next tick";

/// Prefix of the tensor names of the live bundle's state; the challenger's state has a separate
/// prefix.
const LIVE: &str = "live.";
const SHADOW: &str = "shadow.";
/// Prefix of the tensors with the time at which each entity was last seen.
const SEEN: &str = "seen";

/// State of the scorer that is kept from tick to tick; it is written together with the watermark.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScorerState {
    /// The live bundle's state from recent scores.
    pub(crate) scores: ScoreState,
    /// State of the challenger.
    pub(crate) shadow: Option<ScoreState>,
    /// When each entity was last seen.
    pub(crate) entities: BTreeMap<String, Seen>,
    /// Counts of the last day's feature values.
    pub(crate) day: DriftTally,
    /// Summary over all entities.
    pub(crate) summary: Summary,
}

/// The part of the state that people and other steps read: text in the watermark's metadata.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Version that scored the last window.
    pub version: String,
    /// Windows scored since the first.
    pub windows_total: u64,
    /// The last report of drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

impl Summary {
    /// Reads the summary from a watermark; it is empty for a pipeline without scored windows.
    ///
    /// Errors: refused for a summary that cannot be read.
    pub fn read(pipeline: &str, watermark: Option<&Watermark>) -> Result<Self, StepError> {
        let state = watermark.map(|watermark| &watermark.state).filter(|state| !state.is_null());
        let Some(state) = state else { return Ok(Self::default()) };
        Self::deserialize(state).map_err(|e| {
            StepError::refused(format!("the scorer's state of `{pipeline}` cannot be read: {e}"))
                .hint(DAMAGED_STATE_HINT)
        })
    }
}

/// When an entity was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen(Timestamp);

impl Record for Seen {
    fn to_arrays(&self) -> Arrays {
        Arrays::default().with("time_ms", Numbers::I64(vec![self.0.ms()]))
    }

    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
        let time = arrays.take_i64("time_ms")?.first().copied();
        Ok(Self(Timestamp::from_ms(time.unwrap_or_default())))
    }
}

impl ScorerState {
    /// Takes the state from a watermark; it is empty for a pipeline without scored windows.
    ///
    /// Errors: refused for a state that cannot be read.
    pub(crate) fn take(
        pipeline: &str,
        watermark: Option<&mut Watermark>,
    ) -> Result<Self, StepError> {
        let summary = Summary::read(pipeline, watermark.as_deref())?;
        let mut tensors = watermark.map(|mark| std::mem::take(&mut mark.tensors));
        let Some(tensors) = tensors.as_mut().filter(|tensors| !tensors.is_empty()) else {
            return Ok(Self { summary, ..Self::default() });
        };
        Self::read(summary, tensors).map_err(|e| StepError {
            message: format!("the scorer's state of `{pipeline}` cannot be read: {}", e.message),
            hint: Some(DAMAGED_STATE_HINT.to_owned()),
            ..e
        })
    }

    fn read(summary: Summary, tensors: &mut Tensors) -> Result<Self, StepError> {
        let has_shadow = tensors.names().any(|name| name.starts_with(SHADOW));
        let shadow = has_shadow.then(|| ScoreState::read(SHADOW, tensors)).transpose()?;
        Ok(Self {
            scores: ScoreState::read(LIVE, tensors)?,
            shadow,
            entities: tensors.take_records(SEEN)?,
            day: DriftTally::read(tensors)?,
            summary,
        })
    }

    /// Returns the watermark that carries the state to the next tick.
    pub(crate) fn watermark(&self, scored_to: Timestamp) -> Result<Watermark, StepError> {
        let mut mark = Watermark::new(scored_to);
        mark.state = serde_json::to_value(&self.summary)
            .map_err(|e| StepError::bug(format!("cannot write the scorer's state: {e}")))?;
        self.scores.write(LIVE, &mut mark.tensors)?;
        if let Some(shadow) = &self.shadow {
            shadow.write(SHADOW, &mut mark.tensors)?;
        }
        mark.tensors.insert_records(SEEN, &self.entities)?;
        self.day.write(&mut mark.tensors);
        Ok(mark)
    }

    /// Records the entities of a window and drops those that were not seen for long; returns the
    /// missing entities.
    pub(crate) fn see(
        &mut self,
        time: Timestamp,
        oldest: Timestamp,
        present: &[&str],
    ) -> Vec<String> {
        for entity in present {
            if let Some(seen) = self.entities.get_mut(*entity) {
                *seen = Seen(time);
            } else {
                self.entities.insert((*entity).to_owned(), Seen(time));
            }
        }
        self.entities.retain(|_, seen| seen.0 >= oldest);
        let missed = self.entities.iter().filter(|(_, seen)| seen.0 != time);
        missed.map(|(name, _)| name.clone()).collect()
    }
}
