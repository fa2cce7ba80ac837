//! Mirrors trainings into `MLflow`, and sends their lineage to `OpenLineage`.
//!
//! What is mirrored is read from a run's folder (`content`), so that a run of long ago is mirrored
//! as well as one that has just ended. Lynceus' own registry stays the truth, and no run waits for,
//! or fails with, a server that is away: [`sync`] mirrors what is missing the next time.

mod content;
mod mlflow;
mod openlineage;
mod rest;
mod sync;

pub use content::{Content, Dataset, Feature, Logged, Metric};
pub use openlineage::events;
pub use sync::{Done, Sync, sync};
