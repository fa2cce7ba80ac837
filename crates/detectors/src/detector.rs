//! The interface of detectors, and how they are written to and read from files.

use std::fmt::Debug;

use contract::{DetectorKind, StepError};
use ndarray::{ArrayView1, ArrayView2};

use crate::sequence::SequenceReader;
use crate::{Model, Tensors};

/// A fitted model that gives each row a score.
///
/// Rows are not scaled: each detector has its own scaler. Gaps and infinities are allowed.
pub trait Detector: Send + Sync + Debug {
    /// Returns the kind of model, as the document names it.
    fn kind(&self) -> &'static str;

    /// Returns how many columns a row must have.
    fn columns(&self) -> usize;

    /// Returns a finite score for each row of shape (rows, columns); higher is more anomalous.
    ///
    /// A row's score depends on that row alone, to the last bit: not on its neighbours, their
    /// order, or the number of threads.
    ///
    /// # Panics
    /// If the rows do not have [`Detector::columns`] columns.
    fn decision(&self, rows: ArrayView2<'_, f64>, threads: usize) -> Vec<f64>;

    /// Returns each column's share of a row's score: not negative, summing to 1, or all 0 if no
    /// column is unusual. Each detector documents its computation.
    ///
    /// # Panics
    /// If the row does not have [`Detector::columns`] columns.
    fn attribution(&self, row: ArrayView1<'_, f64>) -> Vec<f64>;

    /// Returns the fitted parameters.
    fn tensors(&self) -> Tensors;

    /// Returns whether the score spans orders of magnitude, so that its logarithm is what compares
    /// and averages well.
    fn is_ratio_scaled(&self) -> bool;
}

/// How models of a kind are read from their tensors.
pub enum Reader {
    /// They score each row by itself.
    Rows(fn(&mut Tensors) -> Result<Box<dyn Detector>, StepError>),
    /// They score rows in the order of time.
    Sequence(SequenceReader),
}

/// Declares [`Reader::of`].
macro_rules! readers {
    ($($(#[$doc:meta])* $module:ident: $kind:ident($shape:ident),)*) => {
        impl Reader {
            /// Returns the reader of a kind: the constant of its module.
            pub const fn of(kind: DetectorKind) -> Self {
                match kind {
                    $(DetectorKind::$kind => crate::$module::READER,)*
                }
            }
        }
    };
}

contract::detectors!(readers);

impl Reader {
    /// Returns the readers of all kinds that score rows in the order of time.
    pub fn sequences() -> impl Iterator<Item = SequenceReader> {
        DetectorKind::ALL.iter().filter_map(|kind| match Self::of(*kind) {
            Self::Sequence(reader) => Some(reader),
            Self::Rows(_) => None,
        })
    }
}

/// Reads a detector of a kind from the bytes of its safetensors file; anything off is refused, and so
/// is a kind that scores rows in the order of time: [`Model::load`] reads it.
pub fn load(kind: &str, bytes: &[u8]) -> Result<Box<dyn Detector>, StepError> {
    match Model::load(kind, bytes)? {
        Model::Rows(detector) => Ok(detector),
        Model::Sequence(_) => Err(StepError::damaged(format!("`{kind}` cannot score single rows"))),
    }
}

/// Returns the kind of a name; another name is refused.
pub fn known(kind: &str) -> Result<DetectorKind, StepError> {
    DetectorKind::named(kind).ok_or_else(|| {
        let known: Vec<&str> = DetectorKind::names().collect();
        StepError::refused(format!("unknown kind of model `{kind}`"))
            .hint(format!("this version knows {}", known.join(", ")))
    })
}

/// Returns the bytes of a detector's safetensors file; the same detector gives the same bytes.
pub fn save(detector: &dyn Detector) -> Result<Vec<u8>, StepError> {
    detector.tensors().encode(detector.kind())
}

/// Turns contributions into shares; negative and non-finite ones count as 0.
pub fn shares(mut contributions: Vec<f64>) -> Vec<f64> {
    for value in &mut contributions {
        *value = if value.is_finite() { value.max(0.0) } else { 0.0 };
    }
    let total: f64 = contributions.iter().sum();
    if total > 0.0 && total.is_finite() {
        contributions.iter_mut().for_each(|value| *value /= total);
    } else {
        contributions.fill(0.0);
    }
    contributions
}
