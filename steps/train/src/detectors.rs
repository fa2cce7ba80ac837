//! How kinds of detectors are fitted: each by the constant `FITTER` of its module.

use contract::trial::Trial;
use contract::{DetectorKind, Outcome};
use document::models::Models;
use frames::FeatureTable;
use linfa::dataset::DatasetBase;
use models::{Detector, Model, Sequence, Training};
use ndarray::Array2;
use serde_json::Value;

use crate::labelled::Labelled;
use crate::parts::Files;
use crate::search::space::Space;
use crate::{FitError, supervised};

/// How a kind is fitted.
pub(crate) enum Fitter {
    /// On normal rows; a search draws its parameters.
    Rows { fit: FitRows, draw: fn(&mut Space<'_>) },
    /// On the rows of each entity in the order of time.
    Sequence(FitSequence),
    /// On labelled rows.
    Classes(FitClasses),
}

/// Fits a model on normal rows.
pub(crate) type FitRows =
    fn(&Job<'_>, &DatasetBase<Array2<f64>, ()>, &mut Outcome) -> Result<Fitted, FitError>;

/// Fits a model on the rows of each entity in the order of time. The threads are rayon's current ones.
pub(crate) type FitSequence = fn(&Models, &Files<'_>, &mut Outcome) -> Result<Fitted, FitError>;

/// Fits a model on labelled rows.
pub(crate) type FitClasses =
    fn(&ClassesJob<'_>, &mut Outcome) -> Result<supervised::Fitted, FitError>;

/// Declares [`Fitter::of`].
macro_rules! fitters {
    ($($(#[$doc:meta])* $module:ident: $kind:ident($shape:ident),)*) => {
        impl Fitter {
            /// Returns how a kind is fitted: the constant of its module.
            pub(crate) const fn of(kind: DetectorKind) -> Self {
                match kind {
                    $(DetectorKind::$kind => crate::$module::FITTER,)*
                }
            }
        }
    };
}

contract::detectors!(fitters);

/// What a fit uses besides rows and parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FitOptions {
    /// Seed of the random numbers.
    pub(crate) seed: u64,
    /// Number of threads; the model does not depend on it.
    pub(crate) threads: usize,
}

/// Inputs of a fit, besides its rows.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) models: &'a Models,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) validation: &'a FeatureTable,
    /// Rows of the validation part that are known, or taken, to be normal.
    pub(crate) normal: &'a [usize],
}

/// Inputs of the fit of a model of labelled rows.
pub(crate) struct ClassesJob<'a> {
    pub(crate) models: &'a Models,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) labelled: &'a Labelled,
}

/// A fitted model, its parameters with the names of the document, and the scores of its fitted
/// rows.
pub(crate) struct Fitted {
    pub(crate) model: Model,
    pub(crate) parameters: Value,
    /// Serialised training results of a model that scores rows in the order of time.
    pub(crate) training: Option<Vec<u8>>,
    /// Trials of the search that found the parameters.
    pub(crate) trials: Vec<Trial>,
}

impl Fitted {
    /// Takes a model that scores each row independently.
    pub(crate) fn rows(model: impl Detector + 'static, parameters: Value) -> Self {
        Self { model: Model::Rows(Box::new(model)), parameters, training: None, trials: Vec::new() }
    }

    /// Takes a model that scores rows in the order of time, and its training results.
    pub(crate) fn sequence<S: Sequence>(
        model: S,
        training: &Training<S::Memory>,
        parameters: Value,
    ) -> Result<Self, FitError> {
        let training = Some(training.to_bytes().map_err(FitError::Model)?);
        let model = Model::Sequence(Box::new(model));
        Ok(Self { model, parameters, training, trials: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use contract::detector::Shape;

    use super::*;

    #[test]
    fn kinds_are_fitted_as_their_shapes_say() {
        for kind in DetectorKind::ALL {
            let shape = match Fitter::of(*kind) {
                Fitter::Rows { .. } => Shape::Rows,
                Fitter::Sequence(_) => Shape::Sequence,
                Fitter::Classes(_) => Shape::Classes,
            };
            assert_eq!(shape, kind.shape(), "{}", kind.name());
        }
    }
}
