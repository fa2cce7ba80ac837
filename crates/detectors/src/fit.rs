//! Fitting: what the kinds share. How a kind is fitted is in the module `fit` of the kind.
//!
//! Only the feature `fit` of this crate compiles it, with candle and linfa, so that a program that
//! scores links no training code. Every fitter follows linfa: parameters are checked by
//! [`linfa::ParamGuard`], checked parameters implement [`linfa::traits::Fit`].

pub(crate) mod bins;
pub(crate) mod class_tree;
pub mod cross_validation;
mod error;
mod fitter;
pub mod labelled;
mod params;
pub mod parts;
pub mod rows;
pub mod space;
pub(crate) mod supervised;

use contract::Outcome;
use serde_json::Value;

pub use error::FitError;
pub use fitter::{ClassesJob, FitClasses, FitOptions, FitRows, FitSequence, Fitted, Fitter, Job};
pub use params::{Params, ValidParams};
pub use supervised::FittedClasses;

/// Warns of features that have no value in any training row.
pub fn warn_of_empty(empty: &[&str], outcome: &mut Outcome) {
    if !empty.is_empty() {
        outcome.warn(format!(
            "no training row has a value of `{}`: later values of it are ignored",
            empty.join("`, `")
        ));
    }
}

/// Returns the parameters with the names of the document.
pub fn parameters<S: serde::Serialize>(settings: &S) -> Value {
    serde_json::to_value(settings).unwrap_or(Value::Null)
}
