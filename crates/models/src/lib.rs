//! Use of models: detectors, scalers, calibration, the vote, thresholds, bundles.
//!
//! Fitting is in `steps/train`, so that a scorer links no training code. A detector gives each row
//! a *decision* score (higher is more anomalous, in its own unit); the [`mod@reference`] part of
//! the training data turns it into a *calibrated* score (share of reference rows below); the
//! [`vote`] of all members against their [`threshold`]s is the verdict. A [`Bundle`] contains all
//! of that; it is read from a folder and verified by hash.

pub mod adaptive;
pub mod alarm;
mod any_bundle;
pub mod assemble;
pub mod autoencoder;
mod blocks;
pub mod bundle;
pub mod candidate;
mod class_model;
pub mod class_trees;
pub mod classify;
mod decision_tree;
pub mod detector;
pub mod diagnosed;
pub mod diagnosis;
mod explain;
pub mod gradient_boosting;
pub mod isolation_forest;
pub mod mahalanobis;
pub mod matrix;
pub mod measure;
pub mod model;
pub mod one_class_svm;
pub mod quality;
mod random_forest;
mod recent;
pub mod reference;
pub mod scaler;
mod scoring;
pub mod sequence;
pub mod threshold;
pub mod vote;
pub mod z_score;

pub use any_bundle::AnyBundle;
pub use assemble::{CalibrationRows, Recipe, assemble, assemble_sampled, rank};
pub use bundle::Bundle;
pub use candidate::Candidate;
pub use class_trees::ClassTrees;
pub use contract::Tensors;
pub use detector::{Detector, load, save};
pub use diagnosis::Diagnosis;
pub use matrix::matrix;
pub use model::Model;
pub use reference::{Reference, Sketch};
pub use scaler::{Scaler, Scaling};
pub use scoring::{ScoreOptions, ScoreState};
pub use sequence::{Sequence, Training};
