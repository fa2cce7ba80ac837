//! The sink `postgres`: a table with a row for each entity and window.

use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extension::{Destination, Extension, FileUse};
use crate::postgres::{PostgresServer, PostgresTable};
use crate::problem::{Problem, require};
use crate::secret::Secret;

/// A table of a `PostgreSQL` database with one row for each entity and window: score, verdict,
/// label and features. The sink creates the table, and adds columns when rows need them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "what is written is chosen piece by piece")]
#[serde(deny_unknown_fields)]
pub struct PostgresSink {
    /// The server and how to connect to it.
    pub server: PostgresServer,
    /// The schema, which must exist.
    #[serde(default = "lynceus")]
    pub schema: String,
    /// The table; by default the pipeline's name with `-` replaced by `_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Whether each entity gets a view of its rows, `<table>_<entity>`.
    #[serde(default = "yes")]
    pub views: bool,
    /// Whether the features are written beside the scores.
    #[serde(default = "yes")]
    pub features: bool,
    /// Whether each feature gets a column `<feature>_z` with its z-score: its distance from the mean
    /// of the reference rows of the model that scored the window, in their standard deviations.
    #[serde(default)]
    pub z_scores: bool,
    /// Whether `lynceus record` and `lynceus agent` also write the samples that they record, one
    /// column each.
    #[serde(default)]
    pub samples: bool,
    /// Days that are older than this, counted from the newest row of the table, are dropped; 1d or
    /// longer. By default all days are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,
}

fn lynceus() -> String {
    "lynceus".to_owned()
}

fn yes() -> bool {
    true
}

impl Extension for PostgresSink {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn check(&self) -> Result<(), Problem> {
        self.server.check("server")?;
        require(!self.schema.is_empty(), "schema", || "is empty".to_owned())?;
        let table = self.table.as_deref();
        // Names of partitions and views begin with the table's name.
        require(table.is_none_or(|it| (1..=40).contains(&it.len())), "table", || {
            "must have 1 to 40 bytes".to_owned()
        })?;
        let day = Span::from_seconds(86_400);
        require(self.retention.is_none_or(|keep| keep >= day), "retention", || {
            "must be 1d or longer".to_owned()
        })
    }

    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        self.server.secrets_mut()
    }

    fn files_mut(&mut self) -> Vec<(FileUse, &mut PathBuf)> {
        self.server.files_mut()
    }

    fn destinations(&self) -> Vec<Destination> {
        self.server.destinations()
    }

    fn samples(&self) -> Option<PostgresTable<'_>> {
        self.samples.then(|| self.target())
    }
}

impl PostgresSink {
    /// Returns the table that rows are loaded into.
    pub fn target(&self) -> PostgresTable<'_> {
        PostgresTable {
            server: &self.server,
            schema: &self.schema,
            table: self.table.as_deref(),
            views: self.views,
            retention: self.retention,
        }
    }
}
