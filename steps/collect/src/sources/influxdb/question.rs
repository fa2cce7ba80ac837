//! The queries, in `InfluxQL`.

use std::collections::BTreeSet;

use contract::Timestamp;
use document::sources::InfluxdbSource;

use super::Measurement;

/// Tag of Docker's measurements that names a container of Kubernetes, its pod and namespace.
pub(super) const CONTAINER_NAME: &str = "container_name";

/// Asks for the raw rows of a measurement in `(after, end]`, a series for each set of the tags that
/// are needed: two collectors that write the same series with tags of their own are one series.
pub(super) fn rows(
    settings: &InfluxdbSource,
    measurement: &Measurement<'_>,
    label: Option<&str>,
    (after, end): (Timestamp, Timestamp),
) -> String {
    let fields: BTreeSet<&str> =
        measurement.columns.iter().map(|(_, column)| column.field.as_str()).collect();
    let fields: Vec<String> = fields.into_iter().map(identifier).collect();
    let mut tags: BTreeSet<&str> = settings.entity_tags.iter().map(String::as_str).collect();
    for (_, column) in &measurement.columns {
        tags.extend(column.parts.iter().map(String::as_str));
        tags.extend(column.tags.keys().map(String::as_str));
    }
    tags.extend(label);
    let tags: Vec<String> = tags.into_iter().map(identifier).collect();
    format!(
        "SELECT {} FROM {} WHERE time > {}ms AND time <= {}ms GROUP BY {}",
        fields.join(", "),
        source(settings, measurement.name),
        after.ms(),
        end.ms(),
        tags.join(", ")
    )
}

/// Writes a measurement as it stands behind `FROM`.
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
    use document::sources::InfluxdbColumn;

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
        let time = Timestamp::from_ms;
        assert_eq!(
            rows(&settings, &measurement, Some("image"), (time(1000), time(2500))),
            r#"SELECT "a", "b" FROM "my \"db\""."two\\days"."m\"; DROP" WHERE time > 1000ms AND time <= 2500ms GROUP BY "device", "image", "pod_name", "volume_name""#
        );
    }
}
