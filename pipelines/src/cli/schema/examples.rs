//! Examples of fields of a document, for the reference page.

use serde_json::{Map, Value};

/// Nested types that an example writes out; deeper ones are shown in their own sections.
const DEPTH: usize = 2;
/// Characters of the longest default that serves as the example.
const LONGEST: usize = 60;

/// Examples of fields whose schema and type give none, as YAML: by `Type.field`, or by the field's
/// name.
const KNOWN: &[(&str, &str)] = &[
    ("AlertmanagerChannel.labels", "{team: platform}"),
    ("AlertmanagerChannel.url", "http://alertmanager.monitoring:9093"),
    ("AllowedValues.columns", "[state]"),
    ("AllowedValues.values", "[0, 1]"),
    ("Alerts.links", "{dashboard: 'https://grafana.example.com/d/lynceus?var-entity={entity}'}"),
    ("Alerts.repeat", "4h"),
    ("Autoencoder.layers", "[12, 6, 12]"),
    ("BasicAuth.username", "lynceus"),
    ("Allowed.class", "proxy"),
    ("Allowed.declared", "database"),
    ("Classify.classes", "{database: [postgres, mysql]}"),
    ("Difference.lag", "5m"),
    ("Document.classify", "{classes: {database: [postgres, mysql]}, models: {random_forest: {}}}"),
    ("Document.description", "the platform cluster in Brussels"),
    ("Document.name", "platform"),
    ("Document.profile", "past"),
    ("Document.profiles", "{past: {models: {mahalanobis: null, adaptive: {}}}}"),
    ("Document.range", "10d"),
    ("Document.step", "1m"),
    ("EmailChannel.from", "lynceus@example.com"),
    ("EmailChannel.host", "smtp.example.com"),
    ("EmailChannel.port", "587"),
    ("EmailChannel.to", "[on-call@example.com]"),
    ("EmailChannel.username", "lynceus"),
    ("Entity.labels", "[node, instance]"),
    ("Entity.names", "{10.1.2.3: node-1}"),
    ("Entity.texts", "{role: node_role}"),
    ("ExporterMetric.divide_by", "node_memory_MemTotal_bytes"),
    ("ExporterMetric.labels", "{mode: [idle], device: ['!lo']}"),
    ("ExporterMetric.metric", "node_network_receive_bytes_total"),
    ("ExporterMetric.name", "network_receive_bytes"),
    ("ExporterSource.endpoints", "['http://10.1.2.3:9100/metrics']"),
    ("ExporterSource.file", "endpoints.txt"),
    ("ExporterSource.service", "http://node-exporter.monitoring:9100/metrics"),
    ("FeaturesSource.columns", "[load_1m]"),
    ("FeaturesSource.group", "node_golden"),
    ("FeaturesSource.version", "3"),
    ("FileChannel.path", "alerts.jsonl"),
    ("FlowSettings.cluster", "[10.0.0.0/8]"),
    ("FlowSettings.services", "[10.96.0.0/12]"),
    ("ForwardFill.max_windows", "3"),
    ("HeaderAuth.name", "X-API-Key"),
    ("Heartbeat.url", "https://hc-ping.com"),
    ("InCluster.namespace", "monitoring"),
    ("InCluster.pod_labels", "{app.kubernetes.io/name: prometheus}"),
    ("InCluster.port", "9090"),
    ("InfluxdbColumn.field", "usage_idle"),
    ("InfluxdbColumn.measurement", "cpu"),
    ("InfluxdbColumn.name", "cpu_idle_percent"),
    ("InfluxdbColumn.parts", "[container_name]"),
    ("InfluxdbColumn.tags", "{cpu: [cpu-total]}"),
    ("InfluxdbSource.database", "telegraf"),
    ("InfluxdbSource.organization", "observability"),
    ("InfluxdbSource.retention_policy", "one_week"),
    ("InfluxdbSource.url", "http://influxdb.monitoring:8086"),
    ("KubernetesSource.context", "production"),
    ("KubernetesSource.kubeconfig", "kubeconfig.yaml"),
    ("KubernetesSource.namespaces", "[shop]"),
    ("KubernetesSource.selector", "app=web,tier!=test"),
    ("Labels.scenarios", "samples/scenarios.csv"),
    ("MaxSpan.max", "10m"),
    ("Mlflow.experiment", "lynceus"),
    ("Mlflow.model", "lynceus-platform"),
    ("Mlflow.url", "http://mlflow.mlops:5000"),
    ("NullShare.max", "0.2"),
    ("OneClassSvm.gamma", "0.05"),
    ("OpenLineage.url", "http://marquez:5000/api/v1/lineage"),
    ("OpenLineageFile.path", "lineage.jsonl"),
    ("Peers.group_by", "role"),
    ("Peers.groups", "[['control-*'], ['*']]"),
    ("Peers.window", "5m"),
    ("PostgresServer.ca_file", "secrets/ca.pem"),
    ("PostgresServer.server_name", "db.example.com"),
    ("PostgresServer.url", "postgresql://lynceus_reader@db.monitoring:5432/metrics"),
    ("PostgresSink.retention", "30d"),
    ("PostgresSink.table", "scores"),
    ("PostgresSource.columns", "[load, memory_bytes]"),
    ("PostgresSource.query", "SELECT at, node, load FROM nodes"),
    ("PostgresSource.table", "monitoring.nodes"),
    ("PostgresSource.time", "at"),
    ("PrometheusSource.max_points", "5000"),
    ("PrometheusSource.max_range", "1d"),
    ("PrometheusSource.max_samples", "500000"),
    ("Query.entity", "instance"),
    ("Query.name", "cpu_busy_ratio"),
    ("Query.or", "['sum(up)']"),
    ("Query.promql", "'sum(rate(http_requests_total[$rate_window]))'"),
    ("QuantileThreshold.share", "0.99"),
    ("RandomForest.split_columns", "5"),
    ("Range.max", "1"),
    ("Range.min", "0"),
    ("Ratio.denominator", "requests_per_second"),
    ("Ratio.name", "error_ratio"),
    ("Ratio.numerator", "errors_per_second"),
    ("RecordedColumn.name", "load_1m"),
    ("RecordedSource.pipeline", "node"),
    ("RecordedSource.source", "metrics"),
    ("RecordingSource.path", "samples/platform"),
    ("RemoteWriteSink.url", "https://mimir.example.com/api/v1/push"),
    ("Rolling.window", "5m"),
    ("RowCount.max", "100000"),
    ("RowCount.min", "100"),
    ("Sample.score_until", "2026-11-21T09:22:00Z"),
    ("Sample.train_until", "2026-11-21T08:36:00Z"),
    ("Shards.values", "[eu-a, eu-b]"),
    ("Silence.entity", "node-1"),
    ("Silence.from", "2026-11-21T08:00:00Z"),
    ("Silence.until", "2026-11-21T10:00:00Z"),
    ("Silence.why", "planned maintenance"),
    ("SlackChannel.webhook", "{file: secrets/slack}"),
    ("Source.label", "image"),
    ("Split.seed", "7"),
    ("TableSource.columns", "[requests, errors]"),
    ("TableSource.path", "rows.csv"),
    ("TableSource.start", "2026-11-21T00:00:00Z"),
    ("TableSource.test", "test.csv"),
    ("TelegramChannel.chat", "'-1001234567890'"),
    ("TelegramChannel.token", "{file: secrets/telegram}"),
    ("TelegramChannel.topic", "4"),
    ("Templates.text", "'{{ text }}, runbook: https://example.com/{{ pipeline }}'"),
    ("Templates.title", "'[prod] {{ title }}'"),
    ("TetragonSource.events", "[exit, setns]"),
    ("TetragonSource.node", "node-1"),
    ("TetragonSource.path", "/var/log/tetragon/tetragon.log"),
    ("TextfileSink.path", "/var/lib/node_exporter/lynceus.prom"),
    ("TrailingThreshold.history", "6h"),
    ("TrailingThreshold.share", "0.99"),
    ("TrailingThreshold.times", "6"),
    ("WebhookChannel.url", "https://hooks.example.com/lynceus"),
    ("auth", "{bearer_token: {file: secrets/token}}"),
    ("ca_file", "secrets/ca.pem"),
    ("client_identity_file", "secrets/client.pem"),
    ("columns", "['*', '!uptime_*']"),
    ("entity", "node"),
    ("env", "PASSWORD"),
    ("file", "secrets/password"),
    ("format", "1"),
    ("headers", "{X-Scope-OrgID: team-a}"),
    ("label", "label"),
    ("password", "{file: secrets/password}"),
    ("ping", "{file: secrets/heartbeat}"),
    ("proxy", "http://proxy.example.com:3128"),
    ("signing_key", "{file: secrets/signing-key}"),
    ("time", "time"),
    ("time_zone", "Europe/Brussels"),
    ("unit", "bytes"),
    ("url", "http://prometheus.monitoring:9090"),
    ("value", "{file: secrets/key}"),
];

/// Returns `field: VALUE` for a field of a type.
pub(super) fn example(
    owner: &str,
    field: &str,
    schema: &Value,
    types: &Map<String, Value>,
) -> String {
    format!("{field}: {}", of_field(owner, field, schema, Types { by_name: types, depth: DEPTH }))
}

/// The types of the schema, and how many levels of them an example may write out.
#[derive(Clone, Copy)]
struct Types<'a> {
    by_name: &'a Map<String, Value>,
    depth: usize,
}

impl Types<'_> {
    /// Returns the types for the fields of an object.
    fn nested(self) -> Self {
        Self { depth: self.depth.saturating_sub(1), ..self }
    }
}

fn of_field(owner: &str, field: &str, schema: &Value, types: Types<'_>) -> String {
    // Set with `#[schemars(example = ...)]`.
    if let Some(own) = schema["examples"].get(0) {
        return yaml(own);
    }
    let full = format!("{owner}.{field}");
    let known = |name: &str| KNOWN.iter().find(|(known, _)| *known == name);
    if let Some((_, text)) = known(&full) {
        return (*text).to_owned();
    }
    let default = schema.get("default").filter(|it| !it.is_null() && !is_empty(it)).map(yaml);
    if let Some(text) = default.filter(|text| text.len() <= LONGEST) {
        return text;
    }
    known(field).map_or_else(|| of_type(owner, schema, types), |(_, text)| (*text).to_owned())
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(Map::is_empty)
        || value.as_str().is_some_and(str::is_empty)
}

fn of_type(owner: &str, schema: &Value, types: Types<'_>) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let target = types.by_name.get(name).unwrap_or(&Value::Null);
        return match name {
            "Duration" => "10m".to_owned(),
            _ => of_type(name, target, types),
        };
    }
    for choices in ["oneOf", "anyOf"] {
        let mut choices = schema[choices].as_array().into_iter().flatten();
        if let Some(first) = choices.find(|choice| choice["type"] != "null") {
            return of_type(owner, first, types);
        }
    }
    if let Some(constant) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return yaml(constant);
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null"),
        kind => Some(kind),
    };
    match kind.and_then(Value::as_str) {
        Some("boolean") => "true".to_owned(),
        Some("integer") => "1".to_owned(),
        Some("number") => "0.5".to_owned(),
        Some("array") => format!("[{}]", of_type(owner, &schema["items"], types)),
        Some("object") => object(owner, schema, types),
        _ => String::new(),
    }
}

/// Returns an object with the fields that it needs, or with its first one.
fn object(owner: &str, schema: &Value, types: Types<'_>) -> String {
    if schema["additionalProperties"].is_object() {
        let value = of_type(owner, &schema["additionalProperties"], types);
        return format!("{{name: {value}}}");
    }
    let nothing = Map::new();
    let fields = schema["properties"].as_object().unwrap_or(&nothing);
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let is_required = |name: &String| required.iter().any(|it| it.as_str() == Some(name));
    let mut shown: Vec<(&String, &Value)> =
        fields.iter().filter(|(name, _)| is_required(name)).collect();
    if shown.is_empty() && types.depth > 0 {
        shown.extend(fields.iter().find(|(_, schema)| schema.get("default").is_some()));
    }
    let shown: Vec<String> = shown
        .into_iter()
        .map(|(name, schema)| {
            let value = of_field(owner, name, schema, types.nested());
            format!("{name}: {value}")
        })
        .collect();
    format!("{{{}}}", shown.join(", "))
}

/// Returns a value in YAML's flow style.
fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let is_plain = |c: char| c.is_alphanumeric() || "_-./ ".contains(c);
            let is_word =
                text.starts_with(|c: char| c.is_alphabetic()) && text.chars().all(is_plain);
            let is_span = text.starts_with(|c: char| c.is_ascii_digit())
                && text.ends_with(|c: char| c.is_ascii_lowercase());
            if is_word || is_span {
                text.clone()
            } else {
                format!("'{}'", text.replace('\'', "''"))
            }
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(yaml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}: {}", yaml(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn example_of_a_field_is_that_of_its_schema_if_it_has_one() {
        let schema = json!({"type": "string", "examples": ["lynceus.example.com"]});
        let shown = example("EmailChannel", "host", &schema, &Map::new());
        assert_eq!(shown, "host: lynceus.example.com");
    }

    #[test]
    fn every_field_of_the_schema_has_an_example() {
        let schema = document::schema();
        let types = schema["$defs"].as_object().unwrap();
        let mut without = Vec::new();
        let documented = types.iter().map(|(name, schema)| (name.as_str(), schema));
        for (owner, schema) in documented.chain([("Document", &schema)]) {
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                let shown = example(owner, field, schema, types);
                if shown.ends_with(": ") || shown.contains("[]") || shown.contains(": ,") {
                    without.push(format!("{owner}.{shown}"));
                }
            }
        }
        assert!(without.is_empty(), "KNOWN lacks examples: {without:#?}");
    }

    #[test]
    fn each_known_example_is_that_of_a_field() {
        let schema = document::schema();
        let types = schema["$defs"].as_object().unwrap();
        let all = types.iter().map(|(name, schema)| (name.as_str(), schema));
        let names: Vec<String> = all
            .chain([("Document", &schema)])
            .flat_map(|(owner, schema)| {
                let fields = schema["properties"].as_object().into_iter().flatten();
                fields.map(move |(field, _)| format!("{owner}.{field}"))
            })
            .collect();
        let is_there =
            |name: &str| names.iter().any(|it| it == name || it.ends_with(&format!(".{name}")));
        let stale: Vec<&str> = KNOWN
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| name.contains('.') && !is_there(name))
            .collect();
        assert!(stale.is_empty(), "KNOWN has examples of no field: {stale:?}");
    }
}
