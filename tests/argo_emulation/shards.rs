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
";

/// The section of a fixed number of shards, and of an open one.
const TWO: &str = "shards: {count: 2}\n";
const AUTO: &str = "shards: {count: auto}\n";

/// Two metrics of each host from a minute on until nine hours after the start.
fn samples(hosts: i64, from: i64) -> Result<String> {
    let mut text = String::new();
    for (name, factor) in [("host_errors", 57), ("host_requests", 31)] {
        writeln!(text, "# TYPE {name} gauge")?;
        for host in 0..hosts {
            for minute in from..540 {
                let value = ((minute * factor + host * 13) % 97) as f64 / 97.0;
                writeln!(text, "{name}{{host=\"h{host}\"}} {value} {}", START + 60 * minute)?;
            }
        }
    }
    writeln!(text, "# EOF")?;
    Ok(text)
}

fn manifests(folder: &Path, shards: &str) -> Result<Vec<Value>> {
    let file = folder.join("hosts.yaml");
    fs_err::write(&file, format!("{DOCUMENT}{shards}"))?;
    let document = document::read_with(&file, &Changes::default())?;
    let manifests = argo::generate(&[document])?;
    text::objects(manifests.iter().map(|manifest| manifest.text.as_str()))
}

#[test]
fn shards_in_pods_leave_the_bytes_that_the_local_runner_leaves() -> Result<()> {
    if is_off() {
        return Ok(());
    }
    let prometheus = Prometheus::with(&samples(HOSTS, 0)?, &[])?;
    let local = Workspace::new()?;
    let objects = manifests(local.path(), TWO)?;
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
    let prometheus = Prometheus::with(&samples(HOSTS, 0)?, &[])?;
    let folder = tempfile::tempdir()?;
    let objects = manifests(folder.path(), TWO)?;
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

/// Trains and scores with an open number of shards, in pods and locally, and compares what both
/// leave. Returns the cluster, its objects and the tick.
fn trained_with_an_open_number(
    prometheus: &Prometheus,
    local: &Workspace,
) -> Result<(Cluster, Vec<Value>, Vec<i32>)> {
    let mut objects = manifests(local.path(), AUTO)?;
    // The range is shorter, so that many hosts are trained quickly.
    let short = |text: String| text.replace("range: 6h", "range: 2h");
    let document = text::find(&objects, "ConfigMap", "lynceus-hosts-document")?["data"].clone();
    for object in &mut objects {
        if object["data"] == document {
            let content = object["data"]["document.yaml"].as_str().unwrap_or_default();
            object["data"]["document.yaml"] = short(content.to_owned()).into();
        }
    }
    let file = local.path().join("hosts.yaml");
    fs_err::write(&file, short(fs_err::read_to_string(&file)?))?;
    let mut cluster = Cluster::start()?;
    cluster.names.push((PROMETHEUS.to_owned(), prometheus.url()));

    let given = [("now", NOW), ("range", "2h")];
    let (training, is_well) = cluster.submit(&objects, "lynceus-hosts-train", "uid-1", &given)?;
    assert!(is_well, "{}: {:?}", training.message, training.ran);
    assert_eq!(codes(&training.ran, "collect"), [0], "once for all: {:?}", training.ran);
    let (tick, is_well) =
        cluster.submit(&objects, "lynceus-hosts-score", "uid-2", &[("now", SCORED_AT)])?;
    assert!(is_well, "{}: {:?}", tick.message, tick.ran);
    assert_eq!(codes(&tick.ran, "collect"), [0], "the source is asked once: {:?}", tick.ran);
    let scored = codes(&tick.ran, "score").to_vec();

    let here = format!("sources.metrics.prometheus.url={}", prometheus.url());
    local.run(&["run", "hosts.yaml", "--set", &here, "--now", NOW])?;
    local.run(&["score", "hosts.yaml", "--set", &here, "--at", SCORED_AT])?;
    let bucket = mirrored(&cluster)?;
    for part in ["models/hosts/versions", "models/hosts/aliases", "scores", "state"] {
        let (here, there) = (local.store().join(part), bucket.path().join(part));
        assert_eq!(differences(&hashes(&here)?, &hashes(&there)?), [""; 0], "{part}");
        assert!(!hashes(&here)?.is_empty(), "{part}");
    }
    Ok((cluster, objects, scored))
}

#[test]
fn open_number_of_shards_is_the_one_that_the_entities_need() -> Result<()> {
    if is_off() {
        return Ok(());
    }
    let prometheus = Prometheus::with(&samples(260, 400)?, &[])?;
    let local = Workspace::new()?;
    let (mut cluster, objects, scored) = trained_with_an_open_number(&prometheus, &local)?;
    assert_eq!(scored, [0, 0], "two shards for 260 hosts");
    let keys = ["runs/hosts/tick/collect/samples/shard-1.parquet", "runs/hosts/uid-1/shard-1/"];
    for key in keys {
        assert!(cluster.holds(key)?, "{key}");
    }
    // A source that does not answer stops all shards, and every shard says so.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    cluster.names.insert(0, (PROMETHEUS.to_owned(), format!("http://{closed}")));
    let (tick, is_well) =
        cluster.submit(&objects, "lynceus-hosts-score", "uid-3", &[("now", LATER)])?;
    assert!(!is_well);
    assert_eq!(codes(&tick.ran, "collect"), [4], "{:?}", tick.ran);
    assert_eq!(codes(&tick.ran, "score"), [0; 0], "{:?}", tick.ran);
    let bucket = mirrored(&cluster)?;
    for shard in ["shard=0-of-2", "shard=1-of-2"] {
        let note = bucket.path().join("state/hosts").join(shard).join("failed-tick.json");
        assert!(fs_err::read_to_string(note)?.contains("collect"), "{shard}");
    }
    Ok(())
}

#[test]
fn open_number_of_one_shard_leaves_the_keys_of_a_pipeline_without_shards() -> Result<()> {
    if is_off() {
        return Ok(());
    }
    let prometheus = Prometheus::with(&samples(HOSTS, 400)?, &[])?;
    let local = Workspace::new()?;
    let (cluster, _, scored) = trained_with_an_open_number(&prometheus, &local)?;
    assert_eq!(scored, [0]);
    assert!(!cluster.holds("state/hosts/shard=0-of-1/")?);
    Ok(())
}
