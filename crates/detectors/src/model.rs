//! A model that scores each row by itself, or one that scores rows in order of time.

use contract::StepError;

use crate::detector::{self, Reader};
use crate::sequence::DynSequence;
use crate::{Detector, Tensors};

/// A fitted model.
#[derive(Debug)]
pub enum Model {
    /// It scores each row by itself.
    Rows(Box<dyn Detector>),
    /// It scores the rows of an entity in order of time, and keeps a state.
    Sequence(Box<dyn DynSequence>),
}

impl Model {
    /// Reads a model of a kind from the bytes of its safetensors file; an invalid file is refused.
    pub fn load(kind: &str, bytes: &[u8]) -> Result<Self, StepError> {
        let reader = Reader::of(detector::known(kind)?);
        let mut tensors = Tensors::decode(kind, bytes)?;
        let model = match reader {
            Reader::Rows(read) => Self::Rows(read(&mut tensors)?),
            Reader::Sequence(reader) => Self::Sequence((reader.model)(&mut tensors)?),
        };
        tensors.finish()?;
        Ok(model)
    }

    /// Returns the bytes of the model's safetensors file; the same model gives the same bytes.
    pub fn save(&self) -> Result<Vec<u8>, StepError> {
        match self {
            Self::Rows(detector) => detector::save(&**detector),
            Self::Sequence(model) => model.tensors().encode(model.kind()),
        }
    }

    /// Returns the kind of model, as the document names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rows(detector) => detector.kind(),
            Self::Sequence(model) => model.kind(),
        }
    }

    /// Returns how many columns a row must have.
    pub fn columns(&self) -> usize {
        match self {
            Self::Rows(detector) => detector.columns(),
            Self::Sequence(model) => model.columns(),
        }
    }

    /// Returns whether the score spans orders of magnitude, so that its logarithm is what compares
    /// and averages well.
    pub fn is_ratio_scaled(&self) -> bool {
        match self {
            Self::Rows(detector) => detector.is_ratio_scaled(),
            Self::Sequence(model) => model.is_ratio_scaled(),
        }
    }
}
