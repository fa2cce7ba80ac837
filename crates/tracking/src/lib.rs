//! Mirrors trainings into `MLflow`, and sends their lineage to `OpenLineage`.
//!
//! The content is read from a run's folder (`content`), so that old runs can be mirrored like new
//! ones. Lynceus' own registry remains the source of truth. An unreachable server neither delays
//! nor fails a run: the next [`sync`] mirrors the missing runs.

mod content;
mod mlflow;
mod openlineage;
mod rest;
mod sync;

pub use content::{Content, Dataset, Feature, Logged, Metric};
pub use openlineage::events;
pub use sync::{Done, Sync, sync};
