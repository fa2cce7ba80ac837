//! A pipeline with shards in a cluster: the outputs of each shard's pods are those of the local
//! runner.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use document::Changes;
use serde_json::Value;

use super::cluster::Cluster;
use super::{NOW, PROMETHEUS, codes, hashes, mirrored, text};
use crate::minio::is_off;
use crate::prometheus::Prometheus;
use crate::workspace::{Workspace, differences};

/// 2026-11-21T00:00:00Z in seconds.
const START: i64 = 1_795_219_200;
const HOSTS: i64 = 8;
const SCORED_AT: &str = "2026-11-21T08:37:35Z";
const LATER: &str = "2026-11-21T08:40:35Z";

const DOCUMENT: &str = "format: 1
name: hosts
step: 1m
range: 6h
sources:
  metrics:
    prometheus: {url: 'http://prometheus.monitoring:9090'}
    queries:
      - {name: requests, promql: host_requests, entity: host}
      - {name: errors, promql: host_errors, entity: host}
features: [raw]
models: {adaptive: {}, z_score: {}}
vote: {combine: votes, threshold: {quantile: {share: 0.99}}}
gate: {max_false_alarm_ratio: 0.5}
alerts: {channels: [stdout]}
shards: {count: 2}
";

/// Nine hours of two metrics of each host.
fn samples() -> Result<String> {
    let mut text = String::new();
    for (name, factor) in [("host_errors", 57), ("host_requests", 31)] {
        writeln!(text, "# TYPE {name} gauge")?;
        for host in 0..HOSTS {
            for minute in 0..540 {
                let value = ((minute * factor + host * 13) % 97) as f64 / 97.0;
                writeln!(text, "{name}{{host=\"h{host}\"}} {value} {}", START + 60 * minute)?;
            }
        }
    }
    writeln!(text, "# EOF")?;
    Ok(text)
}

fn manifests(folder: &Path) -> Result<Vec<Value>> {
    let file = folder.join("hosts.yaml");
    fs_err::write(&file, DOCUMENT)?;
    let document = document::read_with(&file, &Changes::default())?;
    let manifests = pipelines::argo::generate(&[document])?;
    text::objects(manifests.iter().map(|manifest| manifest.text.as_str()))
}

#[test]
fn shards_in_pods_leave_the_bytes_that_the_local_runner_leaves() -> Result<()> {
    if is_off() {
        return Ok(());
    }
    let prometheus = Prometheus::with(&samples()?, &[])?;
    let local = Workspace::new()?;
    let objects = manifests(local.path())?;
    let mut cluster = Cluster::start()?;
    cluster.names.push((PROMETHEUS.to_owned(), prometheus.url()));

    let (training, is_well) =
        cluster.submit(&objects, "lynceus-hosts-train", "uid-1", &[("now", NOW)])?;
    assert!(is_well, "{}: {:?}", training.message, training.ran);
    assert_eq!(codes(&training.ran, "collect"), [0], "once for all: {:?}", training.ran);
    assert_eq!(codes(&training.ran, "deploy"), [0], "one version of both");
    let (tick, is_well) =
        cluster.submit(&objects, "lynceus-hosts-score", "uid-2", &[("now", SCORED_AT)])?;
    assert!(is_well, "{}: {:?}", tick.message, tick.ran);
    assert_eq!(codes(&tick.ran, "score"), [0, 0]);

    let here = format!("sources.metrics.prometheus.url={}", prometheus.url());
    local.run(&["run", "hosts.yaml", "--set", &here, "--now", NOW])?;
    local.run(&["score", "hosts.yaml", "--set", &here, "--at", SCORED_AT])?;
    let bucket = mirrored(&cluster)?;
    for part in ["models/hosts/versions", "models/hosts/aliases", "scores", "state"] {
        let (here, there) = (local.store().join(part), bucket.path().join(part));
        assert_eq!(differences(&hashes(&here)?, &hashes(&there)?), [""; 0], "{part}");
        assert!(!hashes(&here)?.is_empty(), "{part}");
    }
    let page = fs_err::read_to_string(bucket.path().join("runs/hosts/uid-1/report/report.html"))?;
    assert!(page.contains("shard-1/select"), "the page names the tasks of both shards");
    let folder = tempfile::tempdir()?;
    let said = cluster.lynceus(folder.path(), &["runs", "show", "hosts", "uid-1"])?;
    assert!(said.contains("shard-0/train-adaptive"), "{said}");
    Ok(())
}

#[test]
fn pod_of_a_shard_that_fails_stops_no_other_and_is_named() -> Result<()> {
    if is_off() {
        return Ok(());
    }
    let prometheus = Prometheus::with(&samples()?, &[])?;
    let folder = tempfile::tempdir()?;
    let objects = manifests(folder.path())?;
    let mut cluster = Cluster::start()?;
    cluster.names.push((PROMETHEUS.to_owned(), prometheus.url()));
    for (from, uid, now) in
        [("lynceus-hosts-train", "uid-3", NOW), ("lynceus-hosts-score", "uid-4", SCORED_AT)]
    {
        let (workflow, is_well) = cluster.submit(&objects, from, uid, &[("now", now)])?;
        assert!(is_well, "{}: {:?}", workflow.message, workflow.ran);
    }
    let broken = folder.path().join("broken");
    fs_err::write(&broken, "no bundle")?;
    let bucket = mirrored(&cluster)?;
    let versions = fs_err::read_dir(bucket.path().join("models/hosts/versions"))?;
    let version = versions.last().context("a version")??.file_name().display().to_string();
    let key = format!("test/lynceus/models/hosts/versions/{version}/shard-1/bundle.json");
    let broken = broken.to_str().context("a path of text")?;
    cluster.server.client(&["--quiet", "cp", broken, &key])?;

    let (tick, is_well) =
        cluster.submit(&objects, "lynceus-hosts-score", "uid-5", &[("now", LATER)])?;
    assert!(!is_well);
    assert_eq!(codes(&tick.ran, "collect"), [0, 0], "{:?}", tick.ran);
    assert_eq!(codes(&tick.ran, "score"), [0, 3], "the other shard is scored: {:?}", tick.ran);
    let bucket = mirrored(&cluster)?;
    let windows = |shard: &str| -> Result<usize> {
        Ok(hashes(&bucket.path().join("scores/hosts").join(shard))?.len())
    };
    assert!(windows("shard=0-of-2")? > windows("shard=1-of-2")?);
    let note = |shard: &str| {
        bucket.path().join("state/hosts").join(shard).join("failed-tick.json").exists()
    };
    assert!(note("shard=1-of-2") && !note("shard=0-of-2"), "the failed one alone is noted");
    Ok(())
}
