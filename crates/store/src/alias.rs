//! The record of an alias, and a change of an alias.

use contract::artifact::parse_json;
use contract::{OTHER_VERSION_HINT, StepError, Timestamp};
use serde::{Deserialize, Serialize};

/// `aliases/<alias>.json`, and each entry of its history: the version of an alias, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRecord {
    /// Version of this format.
    pub format: u32,
    /// The version that it points at.
    pub version: String,
    /// Time of the change.
    pub since: Timestamp,
    /// Name of the step or the person that made the change.
    pub by: String,
    /// Reason for the change, in one sentence.
    pub why: String,
    /// Target of a rollback: the previous version, and after a rollback the one before that.
    pub previous: Option<String>,
    /// Number of this change, from 1. With it, no two records of an alias have the same bytes, so
    /// compare-and-set has no ABA problem.
    pub change: u64,
    /// Tag of the alias object it was read from; empty in history.
    #[serde(skip)]
    pub etag: String,
}

impl AliasRecord {
    /// Format version that this build writes.
    pub const FORMAT: u32 = 1;

    /// Parses a record; `key` appears in the error. A record of another format is refused.
    pub(crate) fn parse(key: &str, bytes: &[u8]) -> Result<Self, StepError> {
        let record: Self = parse_json(key, bytes).map_err(|error| {
            error.hint(
                "remove it: versions and history stay, and `lynceus models promote` makes it anew",
            )
        })?;
        if record.format == Self::FORMAT {
            return Ok(record);
        }
        Err(StepError::refused(format!(
            "`{key}` has format {}, this version reads format {}",
            record.format,
            Self::FORMAT
        ))
        .hint(OTHER_VERSION_HINT))
    }
}

/// A change of an alias.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The alias.
    pub alias: &'a str,
    /// The new version; it must be registered.
    pub version: &'a str,
    /// Time of the change.
    pub now: Timestamp,
    /// Name of the step or the person that makes the change.
    pub by: &'a str,
    /// Reason for the change, in one sentence.
    pub why: &'a str,
}
