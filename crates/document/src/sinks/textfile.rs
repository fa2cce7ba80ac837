//! The sink `textfile`: a file for the textfile collector of `node_exporter`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extension::{Extension, FileUse};
use crate::problem::{Problem, require};

/// A file in the Prometheus text format for the textfile collector of `node_exporter`, replaced by
/// each run with the last window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextfileSink {
    /// The file, relative to the document; its name must end in `.prom` for the collector to read it.
    pub path: PathBuf,
}

impl Extension for TextfileSink {
    fn name(&self) -> &'static str {
        "textfile"
    }

    fn check(&self) -> Result<(), Problem> {
        require(!self.path.as_os_str().is_empty(), "path", || "is empty".to_owned())
    }

    fn files_mut(&mut self) -> Vec<(FileUse, &mut PathBuf)> {
        vec![(FileUse::Written, &mut self.path)]
    }
}
