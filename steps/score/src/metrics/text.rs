//! The Prometheus text format, for files that `node_exporter`'s textfile collector reads.

use super::{Kind, METRICS, Sample};

/// Writes samples with their help and type; times are left out, which the collector does not take.
pub(super) fn write(samples: &[Sample]) -> String {
    let mut text = String::new();
    for metric in METRICS {
        let is_of = |sample: &&Sample| {
            sample.labels.get("__name__").is_some_and(|name| name == metric.name)
        };
        let mut of_metric = samples.iter().filter(is_of).peekable();
        if of_metric.peek().is_none() {
            continue;
        }
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        text.push_str(&format!("# HELP {0} {1}\n# TYPE {0} {kind}\n", metric.name, metric.help));
        for sample in of_metric {
            let labels = sample.labels.iter().filter(|(name, _)| **name != "__name__");
            let labels: Vec<String> =
                labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            text.push_str(&format!("{}{{{}}} {}\n", metric.name, labels.join(","), sample.value));
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
