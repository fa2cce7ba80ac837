//! Use of models: calibration, the vote, thresholds, bundles.
//!
//! The kinds of detectors are in the crate [`detectors`]. A detector gives each row a *decision*
//! score (higher is more anomalous, in its own unit); the [`mod@reference`] part of the training
//! data turns it into a *calibrated* score (share of reference rows below); the [`vote`] of all
//! members against their [`threshold`]s is the verdict. A [`Bundle`] contains all of that; it is
//! read from a folder and verified by hash.

pub mod alarm;
mod any_bundle;
pub mod assemble;
pub mod bundle;
pub mod candidate;
pub mod classify;
pub mod diagnosed;
mod explain;
pub mod matrix;
pub mod measure;
pub mod quality;
mod recent;
pub mod reference;
mod scoring;
pub mod threshold;
pub mod vote;

pub use any_bundle::AnyBundle;
pub use assemble::{CalibrationRows, Recipe, assemble, assemble_sampled, rank};
pub use bundle::Bundle;
pub use candidate::Candidate;
pub use detectors::{
    ClassTrees, Detector, Diagnosis, Model, Scaler, Scaling, Sequence, Tensors, Training,
    diagnosis, load, save,
};
pub use matrix::matrix;
pub use reference::{Reference, Sketch};
pub use scoring::{ScoreOptions, ScoreState};
