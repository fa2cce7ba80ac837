//! How kinds of detectors are fitted: each by the constant `FITTER` of its module.

use contract::trial::Trial;
use contract::{DetectorKind, FeatureContract, Outcome};
use linfa::dataset::DatasetBase;
use ndarray::Array2;
use serde_json::Value;

use crate::fit::labelled::Labelled;
use crate::fit::parts::Rows;
use crate::fit::space::Space;
use crate::fit::{FitError, FittedClasses};
use crate::settings::Models;
use crate::{Detector, Model, Sequence, Training};

/// How a kind is fitted.
pub enum Fitter {
    /// On normal rows; a search draws its parameters.
    Rows {
        /// Fits a model.
        fit: FitRows,
        /// Draws the parameters that a search tries.
        draw: fn(&mut Space<'_>),
    },
    /// On the rows of each entity in the order of time.
    Sequence(FitSequence),
    /// On labelled rows.
    Classes(FitClasses),
}

/// Fits a model on normal rows.
pub type FitRows =
    fn(&Job<'_>, &DatasetBase<Array2<f64>, ()>, &mut Outcome) -> Result<Fitted, FitError>;

/// Fits a model on the rows of each entity in the order of time, whose columns are the features. The
/// threads are rayon's current ones.
pub type FitSequence =
    fn(&Models, &dyn Rows, &FeatureContract, &mut Outcome) -> Result<Fitted, FitError>;

/// Fits a model on labelled rows.
pub type FitClasses = fn(&ClassesJob<'_>, &mut Outcome) -> Result<FittedClasses, FitError>;

/// Declares [`Fitter::of`].
macro_rules! fitters {
    ($($(#[$doc:meta])* $module:ident: $kind:ident($shape:ident),)*) => {
        impl Fitter {
            /// Returns how a kind is fitted: the constant of its module.
            pub const fn of(kind: DetectorKind) -> Self {
                match kind {
                    $(DetectorKind::$kind => crate::$module::fit::FITTER,)*
                }
            }
        }
    };
}

contract::detectors!(fitters);

/// What a fit uses besides rows and parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// Seed of the random numbers.
    pub seed: u64,
    /// Number of threads; the model does not depend on it.
    pub threads: usize,
}

/// Inputs of a fit, besides its rows.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The settings.
    pub models: &'a Models,
    /// Seed and threads.
    pub options: FitOptions,
    /// Returns the rows of the validation part that are known, or taken, to be normal, of shape
    /// (rows, features).
    pub validation: &'a (dyn Fn() -> Array2<f64> + Sync),
}

/// Inputs of the fit of a model of labelled rows.
pub struct ClassesJob<'a> {
    /// The settings.
    pub models: &'a Models,
    /// Seed and threads.
    pub options: FitOptions,
    /// The rows.
    pub labelled: &'a Labelled,
}

/// A fitted model, its parameters with the names of the document, and the scores of its fitted
/// rows.
pub struct Fitted {
    /// The model.
    pub model: Model,
    /// The parameters, with the names of the document.
    pub parameters: Value,
    /// Serialised training results of a model that scores rows in the order of time.
    pub training: Option<Vec<u8>>,
    /// Trials of the search that found the parameters.
    pub trials: Vec<Trial>,
}

impl Fitted {
    /// Takes a model that scores each row independently.
    pub fn rows(model: impl Detector + 'static, parameters: Value) -> Self {
        Self { model: Model::Rows(Box::new(model)), parameters, training: None, trials: Vec::new() }
    }

    /// Takes a model that scores rows in the order of time, and its training results.
    pub fn sequence<S: Sequence>(
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
