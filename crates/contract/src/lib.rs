//! What a step is: its flags, its outcome, its exit code, and the small types that steps exchange.
//!
//! A step is a program: it reads named input paths, writes named output paths, and ends with a
//! documented exit code. It runs the same way for a person, the local runner and Argo.
//! [`step::main`] implements this.

pub mod alerts;
pub mod artifact;
pub mod bundle;
pub mod catalog;
pub mod classify;
pub mod coverage;
pub mod deadline;
pub mod decimal;
pub mod deployment;
pub mod detector;
pub mod error;
pub mod features;
pub mod least;
pub mod message;
pub mod outcome;
pub mod resources;
pub mod rules;
pub mod run;
pub mod score;
pub mod shard;
pub mod step;
pub mod steps;
pub mod tensors;
pub mod time;
pub mod trial;
pub mod units;
pub mod validation;

pub use artifact::{read_json, write_json};
pub use decimal::Decimal;
pub use detector::DetectorKind;
pub use error::{
    DAMAGED_HINT, ErrorKind, OTHER_VERSION_HINT, SYSTEM_HINT, StepError, system_words,
};
pub use features::{FeatureColumn, FeatureContract};
pub use outcome::Outcome;
pub use shard::{Division, Shard, ShardCount, ShardNumber};
pub use step::{Stage, StepArgs};
pub use tensors::Tensors;
pub use time::{Span, TimeRange, Timestamp};

/// Version of every step in this build; part of each cache key and of each outcome.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
