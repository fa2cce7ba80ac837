//! What scoring remembers from row to row, and how it is stored.

use std::collections::BTreeMap;

use contract::{StepError, Tensors};
use detectors::detector::Reader;
use detectors::sequence::{self, DynMemory, Memories, SequenceReader};

use super::absence::Absence;
use crate::alarm::AlarmState;
use crate::threshold::ThresholdState;
use crate::vote::Smoothing;

/// State of scoring between rows. It belongs to one bundle, and is stored in the watermark.
///
/// Scoring a range from a given state gives the same scores and the same state every time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScoreState {
    /// SHA-256 of the reference of the bundle of these scores, empty in a new state; another bundle
    /// starts with a new state.
    pub reference_sha256: String,
    pub(super) thresholds: BTreeMap<String, ThresholdState>,
    pub(super) smoothing: Smoothing,
    /// Thresholds by expected false alarms: by series of scores, then by entity.
    pub(crate) alarms: BTreeMap<String, BTreeMap<String, AlarmState>>,
    /// What models that score rows in the order of time remember: by the name of the records of
    /// their kind, then by entity.
    pub(crate) memories: BTreeMap<&'static str, Memories>,
    /// Which columns have had no value, by entity, where no model scores rows in the order of time.
    pub(super) absences: BTreeMap<String, Absence>,
}

impl ScoreState {
    /// Name of the file in a bundle that holds the state at the end of the data set.
    pub const FILE: &str = "memory.safetensors";
    /// Name of the file in a bundle that holds the state before the test part.
    pub const BEFORE_TEST_FILE: &str = "memory-before-test.safetensors";
    /// Kind of content in the metadata of the file.
    const KIND: &str = "memory";

    /// Adds the state to tensors, each name beginning with `prefix`.
    pub fn write(&self, prefix: &str, tensors: &mut Tensors) -> Result<(), StepError> {
        tensors.insert_text(&format!("{prefix}reference_sha256"), &self.reference_sha256);
        for (series, thresholds) in &self.thresholds {
            tensors
                .insert_records(&format!("{prefix}thresholds.{series}"), &thresholds.entities)?;
        }
        for (series, alarms) in &self.alarms {
            tensors.insert_records(&format!("{prefix}alarms.{series}"), alarms)?;
        }
        if !self.smoothing.entities.is_empty() {
            tensors.insert_records(&format!("{prefix}smoothing"), &self.smoothing.entities)?;
        }
        for (records, memories) in &self.memories {
            sequence::write(&format!("{prefix}{records}"), memories, tensors)?;
        }
        if !self.absences.is_empty() {
            tensors.insert_records(&format!("{prefix}absences"), &self.absences)?;
        }
        Ok(())
    }

    /// Takes the state that [`ScoreState::write`] has added.
    pub fn read(prefix: &str, tensors: &mut Tensors) -> Result<Self, StepError> {
        Self::read_with(Reader::sequences(), prefix, tensors)
    }

    pub(super) fn read_with(
        sequences: impl IntoIterator<Item = SequenceReader>,
        prefix: &str,
        tensors: &mut Tensors,
    ) -> Result<Self, StepError> {
        let reference_sha256 = tensors.take_text(&format!("{prefix}reference_sha256"))?;
        let mut state = Self { reference_sha256, ..Self::default() };
        let of_thresholds = format!("{prefix}thresholds.");
        for series in tensors.record_sets(&of_thresholds) {
            let entities = tensors.take_records(&format!("{of_thresholds}{series}"))?;
            state.thresholds.insert(series, ThresholdState { entities });
        }
        let of_alarms = format!("{prefix}alarms.");
        for series in tensors.record_sets(&of_alarms) {
            let alarms = tensors.take_records(&format!("{of_alarms}{series}"))?;
            state.alarms.insert(series, alarms);
        }
        state.smoothing.entities = tensors.take_records(&format!("{prefix}smoothing"))?;
        for sequence in sequences {
            let memories = (sequence.memories)(&format!("{prefix}{}", sequence.records), tensors)?;
            if !memories.is_empty() {
                state.memories.insert(sequence.records, memories);
            }
        }
        state.absences = tensors.take_records(&format!("{prefix}absences"))?;
        Ok(state)
    }

    /// Reads the bytes of a file of a bundle, such as [`ScoreState::FILE`]; an invalid file is
    /// refused.
    pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Self, StepError> {
        let named = |e: StepError| StepError { message: format!("`{file}`: {}", e.message), ..e };
        let mut tensors = Tensors::decode(Self::KIND, bytes).map_err(named)?;
        let state = Self::read("", &mut tensors).map_err(named)?;
        tensors.finish().map_err(named)?;
        Ok(state)
    }

    /// Returns the bytes of such a file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, StepError> {
        let mut tensors = Tensors::default();
        self.write("", &mut tensors)?;
        tensors.encode(Self::KIND)
    }

    /// Returns the time of the last row that was scored; `None` if no row was.
    pub(crate) fn last_time_ms(&self) -> Option<i64> {
        let alarms = self.alarms.values().flat_map(BTreeMap::values).map(|alarm| alarm.time_ms);
        let memories = self.memories.values().flat_map(BTreeMap::values);
        alarms.chain(memories.filter_map(DynMemory::time_ms)).max()
    }
}
