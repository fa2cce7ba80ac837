//! The feature catalogue: formats of its files.
//!
//! A feature group is a named table of features by time and entity. A version of it has one feature
//! contract, which never changes. Its rows are parts, one per day, which are written once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{FeatureContract, Timestamp};

/// Shares at which the quantiles of [`ColumnStatistics`] stand.
pub const QUANTILE_LEVELS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/// Returns whether a text is a valid name of a group: a lower-case letter, then lower-case letters,
/// digits, `_`.
pub fn is_group(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 100
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Which run computed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The pipeline.
    pub pipeline: String,
    /// The run's name.
    pub run: String,
    /// Evaluation time of the run.
    pub now: Timestamp,
    /// SHA-256 of the document it ran.
    pub document_sha256: String,
}

/// A version of a group: `group.json`, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupVersion {
    /// Version of this format.
    pub format: u32,
    /// The group's name.
    pub group: String,
    /// The version, from 1.
    pub version: u32,
    /// What the features mean; the step of the rows, in time.
    pub contract: FeatureContract,
    /// SHA-256 of the contract.
    pub contract_sha256: String,
    /// Whether rows have labels.
    pub labelled: bool,
    /// Purpose of the group, in one sentence; may be empty.
    #[serde(default)]
    pub description: String,
    /// Contact for the group; may be empty.
    #[serde(default)]
    pub owner: String,
    /// Tags for searching.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Why this version was started: its first difference from the previous version, or the reason
    /// that a person gave.
    pub why: String,
    /// The run with its first rows.
    pub origin: Origin,
}

impl GroupVersion {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
}

/// A day of a group's rows: `part.json`, written once, after the rows and their statistics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Version of this format.
    pub format: u32,
    /// The day in UTC, `YYYY-MM-DD`: a row belongs to the day of its `time`.
    pub date: String,
    /// SHA-256 of the Parquet file.
    pub sha256: String,
    /// Size of the Parquet file, in bytes.
    pub size_bytes: u64,
    /// Number of rows.
    pub rows: u64,
    /// Number of entities.
    pub entities: u64,
    /// Earliest time.
    pub first: Timestamp,
    /// Latest time.
    pub last: Timestamp,
    /// Whether the rows of the run cover the day from its first to its last step.
    pub is_whole: bool,
    /// The run that computed it; absent if another run completed a killed publication.
    pub origin: Option<Origin>,
}

impl Part {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
}

/// Statistics of the rows of a day: `statistics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartStatistics {
    /// Version of this format.
    pub format: u32,
    /// Number of rows.
    pub rows: u64,
    /// The features, in the contract's order.
    pub columns: Vec<ColumnStatistics>,
}

impl PartStatistics {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
}

/// The values of a feature over some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// The feature.
    pub name: String,
    /// Rows with a value.
    pub count: u64,
    /// Rows without one.
    pub nulls: u64,
    /// Smallest value; nothing without any.
    pub min: Option<f64>,
    /// Largest value; nothing without any.
    pub max: Option<f64>,
    /// Mean; nothing without any value.
    pub mean: Option<f64>,
    /// Quantiles at [`QUANTILE_LEVELS`]; empty without any value.
    pub quantiles: Vec<f64>,
}

/// A part that a training reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The group.
    pub group: String,
    /// Its version.
    pub version: u32,
    /// The day, `YYYY-MM-DD`.
    pub date: String,
    /// SHA-256 of the Parquet file.
    pub sha256: String,
    /// Number of rows.
    pub rows: u64,
}

/// The parts that a run reads, by the name of the source: `pins.json` in the run's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// Version of this format.
    pub format: u32,
    /// The parts of each source, in order of their days.
    pub sources: BTreeMap<String, Vec<Pin>>,
}

impl Pins {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the file in a run's folder.
    pub const FILE: &str = "pins.json";
    /// Name of the detail in the outcome of `collect` with the parts that it read.
    pub const DETAIL: &str = "feature_parts";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_name_is_lower_case_letters_digits_and_underscores() {
        for name in ["a", "node_golden", "flows2"] {
            assert!(is_group(name), "{name}");
        }
        for name in ["", "_check", "2a", "Node", "a-b", "a/b", "..", "caf\u{e9}"] {
            assert!(!is_group(name), "{name}");
        }
        assert!(!is_group(&"a".repeat(101)));
    }
}
