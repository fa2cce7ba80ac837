//! The queries in `InfluxQL`; Flux and SQL have their own modules.

use std::collections::BTreeSet;

use contract::TimeRange;
use document::shards::Selection;
use document::sources::influxdb::{InfluxLanguage, InfluxdbSource};

use super::{Measurement, flux, sql};

/// Tag of Docker's measurements that names a container of Kubernetes, its pod and namespace.
pub(super) const CONTAINER_NAME: &str = "container_name";

/// A query, and the contents of its rows if the reply does not describe them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) text: String,
    pub(super) tags: Vec<String>,
    pub(super) fields: Vec<String>,
}

impl Question {
    fn list(text: String, column: &str) -> Self {
        Self { text, tags: Vec::new(), fields: vec![column.to_owned()] }
    }
}

/// Which rows of a source are queried.
pub(super) struct Scope<'a> {
    pub(super) settings: &'a InfluxdbSource,
    /// Tag whose value is the row's label.
    pub(super) label: Option<&'a str>,
    /// Values of a tag that rows must have.
    pub(super) selection: Option<&'a Selection>,
}

/// The rows of one measurement that are queried.
pub(super) struct Rows<'a> {
    pub(super) measurement: &'a str,
    pub(super) fields: &'a [String],
    pub(super) tags: &'a [String],
    pub(super) range: TimeRange,
    /// Values of a tag that rows must have.
    pub(super) selection: Option<&'a Selection>,
}

impl Rows<'_> {
    /// Returns the conditions of the selection, one for each value.
    pub(super) fn conditions(&self, write: impl Fn(&str, &str) -> String) -> Vec<String> {
        let selected = self.selection.iter();
        let values = selected.flat_map(|Selection { label, values }| {
            values.iter().map(move |value| (label.as_str(), value.as_str()))
        });
        values.map(|(label, value)| write(label, value)).collect()
    }
}

/// Asks for the raw rows of a measurement, a series for each set of the tags that are needed: two
/// collectors that write the same series with different additional tags are one series. SQL names
/// only existing columns of a measurement, which `known` lists.
pub(super) fn rows(
    scope: &Scope<'_>,
    measurement: &Measurement<'_>,
    range: TimeRange,
    known: impl Fn(&str) -> bool,
) -> Question {
    let Scope { settings, label, selection } = *scope;
    let fields: BTreeSet<&str> =
        measurement.columns.iter().map(|(_, column)| column.field.as_str()).collect();
    let mut tags: BTreeSet<&str> = settings.entity_tags.iter().map(String::as_str).collect();
    for (_, column) in &measurement.columns {
        tags.extend(column.parts.iter().map(String::as_str));
        tags.extend(column.tags.keys().map(String::as_str));
    }
    tags.extend(label);
    let of = |names: BTreeSet<&str>| -> Vec<String> {
        names.into_iter().filter(|name| known(name)).map(str::to_owned).collect()
    };
    let (fields, tags) = (of(fields), of(tags));
    // A measurement without the tag has no row of a shard that could be told from the others.
    let selection = selection.filter(|selection| known(&selection.label));
    let name = measurement.name;
    let rows = Rows { measurement: name, fields: &fields, tags: &tags, range, selection };
    let text = match settings.language {
        InfluxLanguage::Influxql => influxql(settings, &rows),
        InfluxLanguage::Flux => flux::rows(&settings.database, &rows),
        InfluxLanguage::Sql => sql::rows(&rows),
    };
    Question { text, tags, fields }
}

fn influxql(settings: &InfluxdbSource, rows: &Rows<'_>) -> String {
    let quoted = |names: &[String]| {
        names.iter().map(|name| identifier(name)).collect::<Vec<String>>().join(", ")
    };
    let value = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    let conditions =
        rows.conditions(|tag, text| format!("{} = '{}'", identifier(tag), value(text)));
    let selected = match conditions.as_slice() {
        [] => String::new(),
        conditions => format!(" AND ({})", conditions.join(" OR ")),
    };
    format!(
        "SELECT {} FROM {} WHERE time > {}ms AND time <= {}ms{selected} GROUP BY {}",
        quoted(rows.fields),
        source(settings, rows.measurement),
        rows.range.after.ms(),
        rows.range.until.ms(),
        quoted(rows.tags)
    )
}

/// Asks for the measurements; returns the column of the reply that names them, too.
pub(super) fn measurements(settings: &InfluxdbSource) -> (Question, &'static str) {
    let (text, column) = match settings.language {
        InfluxLanguage::Influxql => ("SHOW MEASUREMENTS".to_owned(), "name"),
        InfluxLanguage::Flux => (flux::measurements(&settings.database), "_value"),
        InfluxLanguage::Sql => (sql::measurements(), "table_name"),
    };
    (Question::list(text, column), column)
}

/// Asks for the fields of a measurement, in SQL for its tags, too; returns the column of the reply that
/// names them, too.
pub(super) fn fields(settings: &InfluxdbSource, measurement: &str) -> (Question, &'static str) {
    let (text, column) = match settings.language {
        InfluxLanguage::Influxql => {
            (format!("SHOW FIELD KEYS FROM {}", identifier(measurement)), "fieldKey")
        }
        InfluxLanguage::Flux => (flux::fields(&settings.database, measurement), "_value"),
        InfluxLanguage::Sql => (sql::fields(measurement), "column_name"),
    };
    (Question::list(text, column), column)
}

/// Asks for the time of the oldest or the newest row of a measurement.
pub(super) fn end(
    settings: &InfluxdbSource,
    measurement: &str,
    field: &str,
    is_newest: bool,
) -> Question {
    let text = match settings.language {
        InfluxLanguage::Influxql => {
            let order = if is_newest { "DESC" } else { "ASC" };
            let (field, source) = (identifier(field), source(settings, measurement));
            format!("SELECT {field} FROM {source} ORDER BY time {order} LIMIT 1")
        }
        InfluxLanguage::Flux => flux::end(&settings.database, measurement, is_newest),
        InfluxLanguage::Sql => sql::end(measurement, is_newest),
    };
    Question { text, tags: Vec::new(), fields: Vec::new() }
}

/// Asks how long rows are kept; `None` if the language cannot ask.
pub(super) fn retention(settings: &InfluxdbSource) -> Option<Question> {
    let text = match settings.language {
        InfluxLanguage::Influxql => {
            format!("SHOW RETENTION POLICIES ON {}", identifier(&settings.database))
        }
        InfluxLanguage::Flux => flux::retention(&settings.database),
        InfluxLanguage::Sql => return None,
    };
    Some(Question { text, tags: Vec::new(), fields: Vec::new() })
}

/// Writes a measurement for the `FROM` clause.
pub(super) fn source(settings: &InfluxdbSource, measurement: &str) -> String {
    let name = identifier(measurement);
    match &settings.retention_policy {
        Some(policy) => {
            format!("{}.{}.{name}", identifier(&settings.database), identifier(policy))
        }
        None => name,
    }
}

/// Quotes a name.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use contract::Timestamp;
    use document::sources::influxdb::InfluxdbColumn;

    use super::*;

    #[test]
    fn names_are_quoted_and_only_needed_tags_are_grouped_by() {
        let settings: InfluxdbSource = serde_json::from_value(serde_json::json!({
            "database": "my \"db\"", "retention_policy": "two\\days",
            "entity_tags": ["pod_name"],
        }))
        .unwrap();
        let column = |field: &str| InfluxdbColumn {
            measurement: "m\"; DROP".to_owned(),
            field: field.to_owned(),
            parts: vec!["volume_name".to_owned()],
            tags: [("device".to_owned(), vec!["*".to_owned()])].into(),
            ..InfluxdbColumn::default()
        };
        let (one, two) = (column("b"), column("a"));
        let measurement =
            Measurement { name: "m\"; DROP", columns: vec![(0, &one), (1, &two), (2, &one)] };
        let range = TimeRange { after: Timestamp::from_ms(1000), until: Timestamp::from_ms(2500) };
        let scope = Scope { settings: &settings, label: Some("image"), selection: None };
        assert_eq!(
            rows(&scope, &measurement, range, |_| true).text,
            r#"SELECT "a", "b" FROM "my \"db\""."two\\days"."m\"; DROP" WHERE time > 1000ms AND time <= 2500ms GROUP BY "device", "image", "pod_name", "volume_name""#
        );
        let values = ["it's".to_owned(), "b\\".to_owned()].to_vec();
        let selection = Selection { label: "zone".to_owned(), values };
        let scope = Scope { selection: Some(&selection), ..scope };
        let text = rows(&scope, &measurement, range, |_| true).text;
        assert!(text.contains(r#" AND ("zone" = 'it\'s' OR "zone" = 'b\\') GROUP BY"#), "{text}");
        let text = rows(&scope, &measurement, range, |name| name != "zone").text;
        assert!(!text.contains("zone"), "{text}");
    }
}
