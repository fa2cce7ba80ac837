//! The settings of the source `table`.

use std::path::PathBuf;

use contract::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::SampleColumn;
use super::{Source, SourceKind};
use crate::check::{Problem, require};

/// A table in a file: CSV (plain or gzip) or Parquet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSource {
    /// The file, relative to the document. `.parquet` is read as Parquet, anything else as CSV.
    pub path: PathBuf,
    /// What separates columns; one character, `\t` for a tab.
    #[serde(default = "comma")]
    pub delimiter: String,
    /// Column with the time; without one, rows are taken to be `step` apart from `start` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// How the time column is written.
    #[serde(default)]
    pub time_format: TimeFormat,
    /// Time of the first row, where there is no time column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub start: Option<Timestamp>,
    /// Column that names the node, pod or flow source; without one there is a single entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Column with the label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Columns to take as samples; empty means every other column that holds only numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

fn comma() -> String {
    ",".to_owned()
}

/// How a time column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// `2026-11-21T08:36:07Z`, or a Parquet timestamp.
    #[default]
    Rfc3339,
    /// Seconds since 1970, whole or with a fraction.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
}

impl SourceKind for TableSource {
    fn check(&self, path: &str, _: &Source) -> Result<(), Problem> {
        let delimiter = self.delimiter.replace("\\t", "\t");
        // A quote holds a text together, and a line end separates rows.
        let is_taken = ["\"", "\n", "\r"].contains(&delimiter.as_str());
        require(delimiter.len() == 1 && !is_taken, &format!("{path}.delimiter"), || {
            let delimiter = self.delimiter.escape_debug();
            format!("`{delimiter}` is not one plain character that may separate columns")
        })?;
        require(self.time.is_some() || self.start.is_some(), path, || {
            "without a `time` column the table needs a `start`".to_owned()
        })
    }

    fn columns(&self, _: &Source, _: Span) -> Vec<SampleColumn> {
        let of = |name: &String| SampleColumn {
            name: name.clone(),
            unit: String::new(),
            formula: "sample".to_owned(),
            is_promql: false,
            entity: self.entity.clone(),
        };
        self.columns.iter().map(of).collect()
    }

    fn has_other_columns(&self) -> bool {
        self.columns.is_empty()
    }

    fn data(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }
}
