//! The settings of the source `influxdb`.

mod telegraf;

use std::collections::BTreeMap;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnValues, SampleColumn};
use super::{Source, SourceKind, check_column};
use crate::http::{Http, HttpSettings};
use crate::problem::{Problem, problem, require};

/// Query language of an `InfluxDB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InfluxLanguage {
    /// `InfluxQL` over `/query`: 1.x, 2.x with a DBRP mapping of the bucket, 3.x.
    #[default]
    Influxql,
    /// Flux over `/api/v2/query`: 2.x.
    Flux,
    /// SQL over `/api/v3/query_sql`: 3.x.
    Sql,
}

/// An `InfluxDB`. Its `url` is the base, without `/query` or `/api`. For a token of 2.x set
/// `auth.header`: `Authorization`, with the value `Token TOKEN`. For 3.x `auth.bearer_token` works,
/// too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InfluxdbSource {
    /// Name of the database; with `flux` name of the bucket.
    pub database: String,
    /// Query language.
    #[serde(default, skip_serializing_if = "InfluxdbSource::is_default_language")]
    pub language: InfluxLanguage,
    /// Name or id of the organization that owns the bucket; `flux` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Retention policy whose measurements are read; the default is the database's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_policy: Option<String>,
    /// Tags whose values, joined with `/`, name the entity.
    #[serde(default = "pod_tags")]
    pub entity_tags: Vec<String>,
    /// Whether a shard queries only rows whose tag `shards.label` has one of its
    /// `shards.values`. Rows with other values are then not read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub narrow_to_shard: bool,
    /// The columns; by default the measurements of pods that Telegraf's inputs `kubernetes` and
    /// `docker` write.
    #[serde(default = "telegraf::columns")]
    pub columns: Vec<InfluxdbColumn>,
}

/// A column that is computed from one field of a measurement.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InfluxdbColumn {
    /// Name of the column: lower-case letters, digits and `_`.
    pub name: String,
    /// Unit of its values.
    #[serde(default)]
    pub unit: String,
    /// Name of the measurement.
    pub measurement: String,
    /// Name of the field.
    pub field: String,
    /// Whether the field is a counter. Then the column has its increase per second over the
    /// document's `rate_window`, with resets handled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counter: bool,
    /// Tags that distinguish parts of an entity, such as a pod's containers or volumes. The column
    /// has the sum of the parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// Tags that a series must have to count: `*` matches all values, `name*` those that begin with
    /// `name`, and a leading `!` excludes values. A series without the tag has an empty value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Vec<String>>,
    /// Whether 0 means a missing value, because Telegraf writes 0 if the kubelet reports no value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zero_is_gap: bool,
    /// Whether a training is refused if the field has no value. Otherwise the column is left out of
    /// the training and of the model, with a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

impl InfluxdbSource {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default_language(language: &InfluxLanguage) -> bool {
        *language == InfluxLanguage::Influxql
    }

    /// Checks that the settings fit the language.
    fn check_language(&self) -> Result<(), Problem> {
        let is_influxql = self.language == InfluxLanguage::Influxql;
        require(is_influxql || self.retention_policy.is_none(), "retention_policy", || {
            "is for `language: influxql`".to_owned()
        })?;
        match (self.language, &self.organization) {
            (InfluxLanguage::Flux, None) => Err(problem("organization", "is missing")
                .hint("`language: flux` needs the organization that owns the bucket")),
            (InfluxLanguage::Influxql | InfluxLanguage::Sql, Some(_)) => {
                Err(problem("organization", "is for `language: flux`"))
            }
            (_, organization) => organization
                .as_ref()
                .map_or(Ok(()), |organization| check_identifier(organization, "organization")),
        }
    }
}

fn pod_tags() -> Vec<String> {
    ["namespace", "pod_name"].map(str::to_owned).to_vec()
}

impl InfluxdbColumn {
    fn formula(&self) -> String {
        let tags: Vec<String> = self
            .tags
            .iter()
            .map(|(tag, patterns)| format!("{tag}={}", patterns.join("|")))
            .collect();
        let series = match tags.as_slice() {
            [] => format!("{}.{}", self.measurement, self.field),
            _ => format!("{}.{}{{{}}}", self.measurement, self.field, tags.join(", ")),
        };
        if self.counter { format!("sum(rate({series}))") } else { format!("sum({series})") }
    }

    fn check(&self, path: &str) -> Result<(), Problem> {
        check_column(&self.name, &format!("{path}.name"))?;
        check_identifier(&self.measurement, &format!("{path}.measurement"))?;
        check_identifier(&self.field, &format!("{path}.field"))?;
        for (index, tag) in self.parts.iter().enumerate() {
            check_identifier(tag, &format!("{path}.parts.{index}"))?;
        }
        self.tags.keys().try_for_each(|tag| check_identifier(tag, &format!("{path}.tags")))
    }
}

/// Checks a name that is used in a query: the query quotes it, so it must be a single line.
fn check_identifier(name: &str, path: &str) -> Result<(), Problem> {
    require(!name.trim().is_empty(), path, || "is empty".to_owned())?;
    require(!name.chars().any(char::is_control), path, || {
        format!("`{}` contains a control character", name.escape_debug())
    })
}

impl HttpSettings for InfluxdbSource {
    const NAME: &'static str = "influxdb";
    const TIMEOUT: Span = Span::from_seconds(30);
    const RETRIES: u8 = 5;

    fn check(&self) -> Result<(), Problem> {
        check_identifier(&self.database, "database")?;
        if let Some(policy) = &self.retention_policy {
            check_identifier(policy, "retention_policy")?;
        }
        self.check_language()?;
        if self.entity_tags.is_empty() {
            return Err(problem("entity_tags", "is empty")
                .hint("name the tags of an entity, as in [namespace, pod_name]"));
        }
        for (index, tag) in self.entity_tags.iter().enumerate() {
            check_identifier(tag, &format!("entity_tags.{index}"))?;
        }
        require(!self.columns.is_empty(), "columns", || "is empty".to_owned())?;
        for (index, column) in self.columns.iter().enumerate() {
            let field = format!("columns.{index}");
            column.check(&field)?;
            let twice = self.columns[..index].iter().any(|other| other.name == column.name);
            require(!twice, &format!("{field}.name"), || {
                format!("two columns are named `{}`", column.name)
            })?;
        }
        Ok(())
    }
}

impl SourceKind for Http<InfluxdbSource> {
    fn narrows_to_shard(&self) -> bool {
        self.own.narrow_to_shard
    }

    fn takes_label(&self) -> bool {
        true
    }

    fn columns(&self, _: &Source, _: Span) -> Vec<SampleColumn> {
        let of = |column: &InfluxdbColumn| SampleColumn {
            name: column.name.clone(),
            unit: column.unit.clone(),
            formula: column.formula(),
            is_promql: false,
            is_asked: true,
            is_required: column.required,
            values: ColumnValues::Numbers,
            entity: Some(self.own.entity_tags.join("/")),
        };
        self.own.columns.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(json: &str) -> Http<InfluxdbSource> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn telegraf_columns_are_the_default_and_pass_their_own_check() {
        let source = source(r#"{"url": "http://influxdb:8086", "database": "telegraf"}"#);
        source.own.check().unwrap();
        let columns = source.columns(&Source::default(), Span::from_seconds(60));
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "memory_usage_bytes",
                "cpu_usage_nanocores",
                "logs_used_bytes",
                "rootfs_used_bytes",
                "volume_used_bytes",
                "network_receive_bytes_per_second",
                "network_transmit_bytes_per_second",
                "fs_read_bytes_per_second",
                "fs_write_bytes_per_second",
            ]
        );
        assert_eq!(columns[5].formula, "sum(rate(kubernetes_pod_network.rx_bytes))");
        assert_eq!(
            columns[7].formula,
            "sum(rate(docker_container_blkio.io_service_bytes_recursive_read{device=total}))"
        );
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let base = r#""url": "http://i:8086", "database": "t""#;
        for (text, expected) in [
            (r#"{"url": "http://i", "database": ""}"#.to_owned(), "database"),
            (format!(r#"{{{base}, "entity_tags": []}}"#), "entity_tags"),
            (format!(r#"{{{base}, "language": "flux"}}"#), "organization"),
            (format!(r#"{{{base}, "language": "sql", "organization": "o"}}"#), "organization"),
            (
                format!(r#"{{{base}, "language": "sql", "retention_policy": "p"}}"#),
                "retention_policy",
            ),
            (format!(r#"{{{base}, "columns": []}}"#), "columns"),
            (
                format!(
                    r#"{{{base}, "columns": [{{"name": "a", "measurement": "m\n", "field": "f"}}]}}"#
                ),
                "columns.0.measurement",
            ),
        ] {
            let problem = source(&text).own.check().unwrap_err();
            assert_eq!(problem.path.join("."), expected, "{text}");
        }
    }
}
