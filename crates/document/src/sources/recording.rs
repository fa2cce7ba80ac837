//! The settings of the source `recording`.

use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{SampleColumn, of_queries};
use super::{Source, SourceKind};
use crate::extension::Extension;

/// A folder with recorded replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordingSource {
    /// The folder, relative to the document: `<query name>.json` or `.json.gz` for each query.
    pub path: PathBuf,
}

impl Extension for RecordingSource {
    fn name(&self) -> &'static str {
        "recording"
    }
}

impl SourceKind for RecordingSource {
    fn takes_queries(&self) -> bool {
        true
    }

    fn columns(&self, source: &Source, rate_window: Span) -> Vec<SampleColumn> {
        of_queries(source, rate_window)
    }

    fn data(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }
}
