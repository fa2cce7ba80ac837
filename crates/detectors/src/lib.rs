//! The kinds of detectors: each has its own folder, with everything that is special about it.
//!
//! | file of a kind | content |
//! |---|---|
//! | `mod.rs` | use: the detector, its scores, and how it is read from a file |
//! | `settings.rs` | the settings in a document, their ranges, and whether they support a search |
//! | `fit.rs` | fitting, which only the feature `fit` compiles |
//!
//! The other modules are what kinds share: `fit` for fitting, [`ranges`] and [`search`] for
//! settings, the rest for use. A detector gives each row a *decision* score (higher is more
//! anomalous, in its own unit); the crate `models` calibrates it and makes verdicts of it.

pub mod adaptive;
pub mod autoencoder;
pub mod decision_tree;
pub mod gradient_boosting;
pub mod isolation_forest;
pub mod mahalanobis;
pub mod one_class_svm;
pub mod random_forest;
pub mod z_score;

mod blocks;
mod class_model;
pub mod class_trees;
pub mod detector;
pub mod diagnosis;
#[cfg(feature = "fit")]
pub mod fit;
pub mod model;
pub mod numbers;
pub mod ranges;
pub mod scaler;
pub mod search;
pub mod sequence;
pub mod settings;

pub use class_trees::ClassTrees;
pub use contract::Tensors;
pub use detector::{Detector, load, save};
pub use diagnosis::Diagnosis;
pub use model::Model;
pub use scaler::{Scaler, Scaling};
pub use sequence::{Sequence, Training};
