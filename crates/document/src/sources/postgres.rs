//! The settings of the source `postgres`.

use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{SampleColumn, of_names};
use super::{Source, SourceKind};
use crate::extension::{Destination, Extension, FileUse};
use crate::postgres::PostgresServer;
use crate::problem::{Problem, problem, require};
use crate::secret::Secret;

/// A table or a query of a `PostgreSQL` database: one row for each time and entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresSource {
    /// The server and how to connect to it.
    pub server: PostgresServer,
    /// Name of the table or view, with its schema if it is not the user's: `monitoring.nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// A `SELECT` instead of a table, without a semicolon at its end. It becomes a subquery with
    /// range and order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Column with the time: a timestamp with or without time zone, or a whole number with
    /// `time_unit`.
    pub time: String,
    /// Unit of a time that is a whole number, counted since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_unit: Option<TimeUnit>,
    /// Time zone of times without one, from the IANA database; UTC by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Column with the name of the node, pod or flow source. Without it there is a single entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Column with the label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether a shard queries only rows whose column `shards.label` has one of its
    /// `shards.values`. Rows with other values are then not read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub narrow_to_shard: bool,
    /// Columns with the samples; empty means all other numeric columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Rows per page, 1 to 1000000. More rows need more memory and fewer requests.
    #[serde(default = "ten_thousand")]
    pub page_rows: u32,
}

fn ten_thousand() -> u32 {
    10_000
}

/// Unit of a time that is a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Microseconds since 1970.
    Microseconds,
}

impl Extension for PostgresSource {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn check(&self) -> Result<(), Problem> {
        self.server.check("server")?;
        require(self.table.is_some() != self.query.is_some(), "", || {
            "exactly one of `table` and `query` must be set".to_owned()
        })?;
        if let Some(query) = &self.query {
            let field = "query";
            require(!query.trim().is_empty(), field, || "is empty".to_owned())?;
            require(!query.trim_end().ends_with(';'), field, || {
                "must not end with a semicolon: it becomes a subquery".to_owned()
            })?;
        }
        if let Some(table) = &self.table {
            let parts: Vec<&str> = table.split('.').collect();
            let is_name = parts.len() <= 2 && parts.iter().all(|part| !part.is_empty());
            require(is_name, "table", || format!("`{table}` is neither TABLE nor SCHEMA.TABLE"))?;
        }
        let zone = self.time_zone.as_deref().unwrap_or("UTC");
        if contract::time::time_zone(zone).is_err() {
            return Err(problem("time_zone", format!("`{zone}` is not a time zone")).hint(
                "use a name of the IANA time zone database, such as Europe/Brussels or UTC",
            ));
        }
        self.check_columns()?;
        require((1..=1_000_000).contains(&self.page_rows), "page_rows", || {
            format!("`{}` is not between 1 and 1000000", self.page_rows)
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
}

impl SourceKind for PostgresSource {
    fn narrows_to_shard(&self) -> bool {
        self.narrow_to_shard
    }

    fn takes_texts(&self) -> bool {
        true
    }

    fn set_label(&mut self, label: &str) -> bool {
        self.label = Some(label.to_owned());
        true
    }

    fn has_label(&self) -> bool {
        self.label.is_some()
    }

    fn columns(&self, _: &Source, _: Span) -> Vec<SampleColumn> {
        of_names(&self.columns, self.entity.as_ref())
    }

    fn has_other_columns(&self) -> bool {
        self.columns.is_empty()
    }
}

impl PostgresSource {
    fn check_columns(&self) -> Result<(), Problem> {
        let keys = [("time", Some(&self.time)), ("entity", self.entity.as_ref())];
        let keys = keys.into_iter().chain([("label", self.label.as_ref())]);
        let mut known: Vec<(&str, &String)> = Vec::new();
        for (field, name) in keys.filter_map(|(field, name)| Some((field, name?))) {
            require(!name.is_empty(), field, || "is empty".to_owned())?;
            let other = known.iter().find(|(_, other)| *other == name);
            require(other.is_none(), field, || {
                format!("`{name}` is already the column of `{}`", other.map_or("", |(it, _)| it))
            })?;
            known.push((field, name));
        }
        for (index, name) in self.columns.iter().enumerate() {
            let path = format!("columns.{index}");
            require(!self.columns[..index].contains(name), &path, || {
                format!("`{name}` is named twice")
            })?;
            let reserved = ["time", "entity", "label"].contains(&name.as_str());
            require(!reserved, &path, || {
                format!("`{name}` is a reserved column name: give it another name in `query`")
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    fn said(settings: &str) -> String {
        let text = format!(
            "format: 1\nname: x\nstep: 1m\nrange: 1d\nfeatures: [raw]\nmodels: {{z_score: {{}}}}\n\
             vote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\nsources:\n  main:\n\
             \x20   postgres: {{server: {{url: 'postgresql://u@h/d'}}, {settings}}}\n"
        );
        crate::parse("x.yaml", &text).map_or_else(|error| error.message, |_| String::new())
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_at_their_fields() {
        assert_eq!(said("table: monitoring.nodes, time: at, entity: node, columns: [a]"), "");
        for (settings, expected) in [
            ("time: at", "exactly one of `table` and `query`"),
            ("time: at, table: a, query: SELECT 1", "exactly one of `table` and `query`"),
            ("time: at, query: 'SELECT 1;'", "postgres.query`: must not end with a semicolon"),
            ("time: at, table: a.b.c", "postgres.table`: `a.b.c` is neither"),
            ("time: at, table: a, entity: at", "`at` is already the column of `time`"),
            ("time: at, table: a, columns: [b, b]", "postgres.columns.1`: `b` is named twice"),
            ("time: at, table: a, columns: [label]", "is a reserved column name"),
            ("time: at, table: a, time_zone: Europe/Nowhere", "is not a time zone"),
            ("time: at, table: a, page_rows: 0", "not between 1 and 1000000"),
        ] {
            let message = said(settings);
            assert!(message.contains(expected), "{settings}: {message}");
        }
    }
}
