//! The channel `file`: a line of JSON for each message.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extension::{Extension, FileUse};
use crate::problem::{Problem, require};

/// A file of JSON lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileChannel {
    /// The file; it is created if it does not exist.
    pub path: PathBuf,
}

impl Extension for FileChannel {
    fn name(&self) -> &'static str {
        "file"
    }

    fn check(&self) -> Result<(), Problem> {
        require(!self.path.as_os_str().is_empty(), "path", || "is empty".to_owned())
    }

    fn files_mut(&mut self) -> Vec<(FileUse, &mut PathBuf)> {
        vec![(FileUse::Written, &mut self.path)]
    }
}
