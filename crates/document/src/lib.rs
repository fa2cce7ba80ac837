//! The pipeline document: what a user edits to adapt Lynceus to a cluster.
//!
//! [`read_with`] reads a YAML file, lays its profile, overlays and single fields over it, and
//! gives back typed sections. Whatever does not fit is refused with file, line, column and field.

pub mod alerts;
mod check;
mod deserialize;
pub mod document;
pub mod expectations;
pub mod features;
pub mod models;
mod node;
mod paths;
mod read;
pub mod scoring;
pub mod sections;
pub mod template;

pub use deserialize::closest;
pub use document::Document;
pub use read::{Changes, parse, read, read_with, write};

/// Returns the JSON Schema of a document, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}
