//! What the scorer carries from tick to tick, in the watermark.

use std::collections::BTreeMap;

use contract::score::Drift;
use contract::{StepError, Timestamp};
use models::ScoreState;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::Watermark;

use crate::drift::DriftTally;

/// What the scorer carries from tick to tick; it moves in one write with the watermark.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ScorerState {
    /// What the live bundle remembers of recent scores.
    pub(crate) scores: ScoreState,
    /// What the challenger remembers of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shadow: Option<ScoreState>,
    /// When each entity was last seen.
    pub(crate) entities: BTreeMap<String, Timestamp>,
    /// Version that scored the last window.
    pub version: String,
    /// Windows scored since the first.
    pub windows_total: u64,
    /// What the last day's features look like.
    pub(crate) day: DriftTally,
    /// The last report of drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

impl ScorerState {
    /// Reads the state out of a watermark; a pipeline that has scored nothing has an empty one.
    ///
    /// Errors: refused for a state that cannot be read.
    pub fn read(pipeline: &str, watermark: Option<&Watermark>) -> Result<Self, StepError> {
        let state = watermark.map(|watermark| &watermark.state).filter(|state| !state.is_null());
        let Some(state) = state else { return Ok(Self::default()) };
        Self::deserialize(state).map_err(|e| {
            StepError::refused(format!("the scorer's state of `{pipeline}` cannot be read: {e}"))
        })
    }

    pub(crate) fn to_json(&self) -> Result<Value, StepError> {
        serde_json::to_value(self)
            .map_err(|e| StepError::bug(format!("cannot write the scorer's state: {e}")))
    }

    /// Notes who was seen in a window and forgets who was not seen for long; returns who is missed.
    pub(crate) fn see(
        &mut self,
        time: Timestamp,
        oldest: Timestamp,
        present: &[&str],
    ) -> Vec<String> {
        for entity in present {
            if let Some(seen) = self.entities.get_mut(*entity) {
                *seen = time;
            } else {
                self.entities.insert((*entity).to_owned(), time);
            }
        }
        self.entities.retain(|_, seen| *seen >= oldest);
        let missed = self.entities.iter().filter(|(_, seen)| **seen != time);
        missed.map(|(name, _)| name.clone()).collect()
    }
}
