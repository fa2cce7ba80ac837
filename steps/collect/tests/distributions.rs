//! The document `cluster` on a real Prometheus with the series that distributions of Kubernetes
//! have: each query without data is left out and reported, the others fill their columns.

mod support;

#[path = "../../../tests/support/prometheus.rs"]
mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use prometheus::Prometheus;
use support::Place;

/// Time between the beginnings of two distributions' samples, in seconds.
const SLOT: i64 = 6 * 3600;
/// Length of a distribution's samples, in seconds.
const LENGTH: i64 = 4 * 3600;
/// When the first one begins.
const BEGIN: i64 = 1_795_953_600;

#[derive(Debug, Default)]
struct Distribution {
    name: String,
    series: Vec<String>,
    absent: BTreeSet<String>,
}

fn distributions() -> Result<Vec<Distribution>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/distributions.txt");
    let text = fs_err::read_to_string(file)?;
    let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    let mut all: Vec<Distribution> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("set ") {
            name.clone_into(&mut current);
        } else if let Some(name) = line.strip_prefix("distribution ") {
            all.push(Distribution { name: name.to_owned(), ..Distribution::default() });
        } else if let Some(names) = line.strip_prefix("has ") {
            let distribution = all.last_mut().context("a distribution comes first")?;
            for name in names.split(' ') {
                distribution.series.extend(sets.get(name).context(name.to_owned())?.clone());
            }
        } else if let Some(names) = line.strip_prefix("finds nothing for") {
            let distribution = all.last_mut().context("a distribution comes first")?;
            distribution.absent = names.split_whitespace().map(str::to_owned).collect();
        } else {
            sets.entry(current.clone()).or_default().push(line.to_owned());
        }
    }
    Ok(all)
}

/// Writes the samples of all distributions, one after the other in time.
fn openmetrics(all: &[Distribution]) -> Result<String> {
    let mut by_metric: BTreeMap<&str, BTreeMap<&str, Vec<i64>>> = BTreeMap::new();
    for (slot, distribution) in (0..).zip(all) {
        for series in &distribution.series {
            let metric = series.split('{').next().unwrap_or(series);
            by_metric.entry(metric).or_default().entry(series).or_default().push(slot);
        }
    }
    let mut text = String::new();
    for (metric, series) in by_metric {
        writeln!(text, "# TYPE {metric} unknown")?;
        for (series, slots) in series {
            for slot in slots {
                for second in (0..LENGTH).step_by(60) {
                    let value = if metric.ends_with("_total") || metric.ends_with("_bucket") {
                        2 * second
                    } else {
                        5 + second % 7
                    };
                    writeln!(text, "{series} {value} {}", BEGIN + slot * SLOT + second)?;
                }
            }
        }
    }
    text.push_str("# EOF\n");
    Ok(text)
}

#[test]
fn document_cluster_finds_metrics_of_each_distribution() -> Result<()> {
    let all = distributions()?;
    let server = Prometheus::with(&openmetrics(&all)?, &[])?;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/cluster.yaml");
    let shipped = fs_err::read_to_string(shipped)?;
    let queries = shipped.matches("- name: ").count();
    let place = Place::new("")?;
    place.file("x.yaml", shipped.replace("http://localhost:9090", &server.url()))?;
    for (slot, distribution) in (0..).zip(&all) {
        let name = &distribution.name;
        let end = BEGIN + slot * SLOT + LENGTH - 60;
        let now = contract::Timestamp::from_ms(end * 1000).to_string();
        let samples = place.samples(&now, &["--range", "3h"]).context(name.clone())?;
        let outcome = place.outcome()?;
        let absent: BTreeSet<String> =
            serde_json::from_value(outcome["details"]["absent"].clone())?;
        assert_eq!(absent, distribution.absent, "{name}");
        assert_eq!(samples.table.columns.len() + absent.len(), queries, "{name}");
        // An outcome without warnings has no such field.
        let warned = outcome["warnings"].as_array().cloned().unwrap_or_default();
        let names = |query: &&String| {
            warned.iter().any(|warning| warning.to_string().contains(&format!("`{query}`")))
        };
        assert_eq!(absent.iter().filter(names).count(), absent.len(), "{name}: each is named");
        for column in &samples.table.columns {
            let missing = column.values.iter().filter(|value| value.is_nan()).count();
            assert!(missing * 20 < column.values.len(), "{name}: {} {missing}", column.name);
        }
    }
    Ok(())
}
