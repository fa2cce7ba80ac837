//! The channel `stdout`: the text of each message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Channel;
use crate::extension::Extension;

/// Standard output; it has no settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutChannel {}

impl Extension for StdoutChannel {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn is_lost_with_pod(&self) -> bool {
        true
    }
}

/// The channel of a document that sets none.
impl Default for Channel {
    fn default() -> Self {
        Self::Stdout(StdoutChannel {})
    }
}
