//! The pipeline document: what a user edits to adapt Lynceus to a cluster.

pub mod document;
pub mod expectations;
pub mod features;
pub mod models;

pub use document::Document;
