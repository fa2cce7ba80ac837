//! Do the manifests do the same in a cluster as `lynceus` does locally? Only the YAML is executed:
//! its DAG, its keys, its references, its retries; the users and the bucket are those of `minio/`.

mod apply;
mod clock;
mod cluster;
mod pod;
mod pods;
mod shards;
pub(crate) mod text;
mod workflow;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use contract::artifact::{files_below, sha256_path};
use document::Changes;
use serde_json::Value;

use crate::minio::is_off;
use crate::prometheus::Prometheus;
use crate::workspace::{Workspace, differences, pipelines};
use clock::{Clock, Tick};
use cluster::{Cluster, Ran};

const NOW: &str = "2026-11-21T08:36:00Z";
const SCORED_AT: &str = "2026-11-21T08:36:05Z";
/// A Prometheus by its name in the cluster.
const PROMETHEUS: &str = "http://prometheus.monitoring:9090";

/// A document that queries a Prometheus, for `--set`.
const LIVE: [&str; 2] = [
    "sources.metrics.prometheus.url=http://prometheus.monitoring:9090",
    "sources.metrics.recording=null",
];

/// Makes the manifests of the sample, with further fields set, and reads their text.
fn manifests(sets: &[&str]) -> anyhow::Result<Vec<Value>> {
    let sample = pipelines().join("samples/cluster.yaml");
    let changes = Changes { overlays: vec![&sample], sets: sets.to_vec() };
    let mut document = document::read_with(&pipelines().join("cluster.yaml"), &changes)?;
    document.sample = None;
    let manifests = argo::generate(&[document])?;
    text::objects(manifests.iter().map(|manifest| manifest.text.as_str()))
}

/// Files that depend on the process, and the document, which contains local paths.
const PROCESS: [&str; 5] =
    ["outcome.json", "log.jsonl", "deployment.json", "run.json", "document.yaml"];

/// Hashes of the files of a folder by name, without files that depend on the process.
fn hashes(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut hashes = BTreeMap::new();
    for file in files_below(folder)? {
        let name = file.rsplit('/').next().unwrap_or_default();
        if !PROCESS.contains(&name) {
            hashes.insert(file.clone(), sha256_path(&folder.join(&file))?);
        }
    }
    Ok(hashes)
}

/// A bucket's content, mirrored by `mc`.
fn mirrored(cluster: &Cluster) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let place = folder.path().display().to_string();
    cluster.server.client(&["mirror", "--quiet", "test/lynceus", &place])?;
    Ok(folder)
}

fn upload_sample(cluster: &Cluster) -> anyhow::Result<()> {
    let sample = format!("{}/", pipelines().join("samples/cluster").display());
    let inputs = "test/lynceus/inputs/cluster/samples/cluster/";
    cluster.server.client(&["--quiet", "cp", "--recursive", &sample, inputs]).map(drop)
}

fn codes<'a>(ran: &'a [Ran], step: &str) -> &'a [i32] {
    ran.iter().find(|(name, _)| name == step).map_or(&[], |(_, codes)| codes)
}

/// Checks that commands on another machine find the cluster's run in its bucket.
fn is_seen_from_outside(cluster: &Cluster, run: &Path, folder: &Path) -> anyhow::Result<()> {
    let page = fs_err::read_to_string(run.join("report/report.html"))?;
    assert!(page.contains("Run uid-1"), "the page names the run");
    let listed = cluster.lynceus(folder, &["runs", "list", "cluster"])?;
    assert!(listed.contains("uid-1  done    2026-11-21T08:36:00Z"), "{listed}");
    let why = cluster.lynceus(folder, &["explain", "cluster", "uid-1", "train-adaptive"])?;
    assert!(why.contains("flag      --model \"adaptive\"\n"), "{why}");
    assert!(why.contains("input     dataset "), "{why}");
    // Argo's logs are also below `runs/`, but belong to no pipeline.
    let logs = cluster.server.client(&["ls", "--recursive", "test/lynceus/runs/_logs/"])?;
    let logs = String::from_utf8(logs)?;
    assert!(logs.contains("workflow-uid-1/") && logs.contains("main.log"), "{logs}");
    let all = cluster.lynceus(folder, &["runs", "list"])?;
    assert!(all.contains("uid-1") && !all.contains("workflow-"), "{all}");
    let all = cluster.lynceus(folder, &["status", "--output", "json"])?;
    assert!(!all.contains("_logs") && !all.contains("workflow-"), "{all}");
    let report = cluster.lynceus(folder, &["report", "cluster", "--run", "uid-1"])?;
    assert!(report.trim().ends_with("uid-1/report.html"), "{report}");
    Ok(())
}

#[test]
fn emulated_argo_run_gives_the_bytes_of_the_local_runner() -> anyhow::Result<()> {
    if is_off() {
        return Ok(());
    }
    let prometheus = Prometheus::recorded()?;
    let mut cluster = Cluster::start()?;
    cluster.names.push((PROMETHEUS.to_owned(), prometheus.url()));
    // A store that is unreachable for a short time is the most common failure.
    cluster.cut_off = Some("deploy");
    upload_sample(&cluster)?;

    let objects = manifests(&[])?;
    let (training, is_well) =
        cluster.submit(&objects, "lynceus-cluster-train", "uid-1", &[("now", NOW)])?;
    assert!(is_well, "{:?}", training.ran);
    // One model: all tasks share a pod, which is tried again as a whole.
    assert_eq!(codes(&training.ran, "collect"), [0, 0]);
    assert_eq!(codes(&training.ran, "deploy"), [4, 0], "tried again, as the expression says");
    assert_eq!(codes(&training.ran, "report"), [0], "what comes last");
    // Only the failed attempt has a log; everything else must be in the store.
    let left = training.left()?;
    assert!(matches!(left.as_slice(), [pod] if pod.contains("deploy")), "{left:?}");

    let local = Workspace::new()?;
    let sample = pipelines().join("samples/cluster.yaml").display().to_string();
    local.run(&["run", "cluster", "--overlay", &sample, "--now", NOW])?;
    let bucket = mirrored(&cluster)?;
    let same = |part: &str| -> anyhow::Result<()> {
        let (here, there) =
            (hashes(&local.store().join(part))?, hashes(&bucket.path().join(part))?);
        assert_eq!(differences(&here, &there), [""; 0], "{part}");
        assert!(!here.is_empty(), "{part}");
        Ok(())
    };
    same("models")?;
    let runs =
        fs_err::read_dir(local.store().join("runs/cluster"))?.collect::<Result<Vec<_>, _>>()?;
    let [run] = runs.as_slice() else { anyhow::bail!("one run") };
    let there = bucket.path().join("runs/cluster/uid-1");
    assert!(there.join("report/report.html").is_file(), "the page of the run");
    is_seen_from_outside(&cluster, &there, local.path())?;
    // The local program makes the report only on request.
    fs_err::remove_dir_all(there.join("report"))?;
    let (here, there) = (hashes(&run.path())?, hashes(&there)?);
    let artifacts = there.iter().filter(|(name, sha256)| here.get(*name) == Some(sha256)).count();
    assert_eq!(artifacts, there.len(), "{:?}", differences(&here, &there));
    assert!(artifacts > 8, "{there:?}");

    let objects = manifests(&LIVE)?;
    let (scoring, is_well) =
        cluster.submit(&objects, "lynceus-cluster-score", "uid-2", &[("now", SCORED_AT)])?;
    assert!(is_well, "{:?}", scoring.ran);
    let order: Vec<&str> = scoring.ran.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(order, ["collect", "feature", "score", "alert"]);
    assert_eq!(scoring.skipped, ["alert"], "after a good end nothing comes last");
    let here = format!("sources.metrics.prometheus.url={}", prometheus.url());
    let tick = ["score", "cluster", "--overlay", &sample, "--set", &here, "--set", LIVE[1]];
    local.run(&[tick.as_slice(), &["--at", SCORED_AT]].concat())?;
    let bucket = mirrored(&cluster)?;
    for part in ["scores", "state"] {
        let (here, there) = (local.store().join(part), bucket.path().join(part));
        assert_eq!(differences(&hashes(&here)?, &hashes(&there)?), [""; 0], "{part}");
    }
    assert_eq!(hashes(&bucket.path().join("scores"))?.len(), 1, "one window");
    Ok(())
}

#[test]
fn refused_data_is_not_retried_and_findings_are_kept() -> anyhow::Result<()> {
    if is_off() {
        return Ok(());
    }
    let cluster = Cluster::start()?;
    upload_sample(&cluster)?;
    let told = ["alerts.channels=[stdout]", "alerts.training=[refused]"];
    let refused = "expectations=[{row_count: {min: 100000}}]";
    let objects = manifests(&[refused, told[0], told[1]])?;
    let (training, is_well) = cluster.submit(
        &objects,
        "lynceus-cluster-train",
        "uid-3",
        &[("now", NOW), ("range", "20m")],
    )?;
    assert!(!is_well);
    assert_eq!(codes(&training.ran, "validate"), [3], "{:?}", training.ran);
    assert_eq!(training.message, "", "a graph that fails has no message of its own");
    assert!(codes(&training.ran, "deploy").is_empty(), "{:?}", training.ran);
    assert_eq!(codes(&training.ran, "report"), [0], "a run that was refused has a page as well");
    assert_eq!(codes(&training.ran, "alert"), [0], "and an alert is sent");
    let bucket = mirrored(&cluster)?;
    let found = bucket.path().join("runs/cluster/uid-3/validate/validation.json");
    let found = fs_err::read_to_string(found).context("the findings")?;
    assert!(found.contains("row_count"), "{found}");
    let collected = bucket.path().join("runs/cluster/uid-3/collect/outcome.json");
    let collected: Value = contract::read_json(&collected)?;
    assert_eq!(collected["counts"]["rows"], 240, "20 minutes of 5 s, as submitted: {collected}");
    assert!(!bucket.path().join("models").exists());
    let messages = bucket.path().join("runs/cluster/uid-3/alert/messages.json");
    let messages = fs_err::read_to_string(messages)?;
    assert!(messages.contains("row_count"), "{messages}");
    Ok(())
}

#[test]
fn submit_parameter_selects_models_to_train() -> anyhow::Result<()> {
    if is_off() {
        return Ok(());
    }
    let cluster = Cluster::start()?;
    upload_sample(&cluster)?;
    let two = ["models.z_score={}", "models.isolation_forest={trees: 10}", "models.adaptive=null"];
    let objects = manifests(&two)?;
    let submit = |uid, models| {
        let given = [("now", NOW), ("models", models)];
        cluster.submit(&objects, "lynceus-cluster-train", uid, &given)
    };
    let (training, is_well) = submit("uid-4", "z_score")?;
    assert!(is_well, "{:?}", training.ran);
    assert_eq!(training.skipped, ["train-isolation-forest"]);
    let bucket = mirrored(&cluster)?;
    let bundle = bucket.path().join("runs/cluster/uid-4/select/bundle/bundle.json");
    let bundle: Value = contract::read_json(&bundle)?;
    let members = bundle["members"].as_array().context("members")?;
    let kinds: Vec<&str> = members.iter().filter_map(|member| member["kind"].as_str()).collect();
    assert_eq!(kinds, ["z_score"]);

    let (training, is_well) = submit("uid-5", "zscore")?;
    assert!(!is_well);
    assert_eq!(codes(&training.ran, "select"), [2], "no such model: {:?}", training.ran);
    Ok(())
}

#[test]
fn tick_with_unreachable_source_still_alerts_with_cause() -> anyhow::Result<()> {
    if is_off() {
        return Ok(());
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut cluster = Cluster::start()?;
    cluster.names.push((PROMETHEUS.to_owned(), format!("http://{closed}")));
    upload_sample(&cluster)?;
    let objects = manifests(&[])?;
    let (_, is_well) =
        cluster.submit(&objects, "lynceus-cluster-train", "uid-6", &[("now", NOW)])?;
    assert!(is_well);
    let objects = manifests(&LIVE)?;
    let (tick, is_well) = cluster.submit(&objects, "lynceus-cluster-score", "uid-7", &[])?;
    assert!(!is_well);
    assert_eq!(codes(&tick.ran, "collect"), [4], "{:?}", tick.ran);
    assert!(codes(&tick.ran, "score").is_empty(), "{:?}", tick.ran);
    assert_eq!(codes(&tick.ran, "alert"), [0], "{:?}", tick.ran);
    assert_eq!(tick.left()?.len(), 1, "the pod that failed: {:?}", tick.pods);
    let reason = format!("{closed}");
    assert!(tick.message.starts_with("1-collect: Error (exit code 4): "), "{}", tick.message);
    assert!(tick.message.contains(&reason), "{}", tick.message);
    let bucket = mirrored(&cluster)?;
    let note: Value = contract::read_json(&bucket.path().join("state/cluster/failed-tick.json"))?;
    assert_eq!(note["step"], "collect");
    assert_eq!(note["at"], workflow::SCHEDULED);
    assert!(note["why"].as_str().is_some_and(|why| why.contains(&reason)), "{note}");
    Ok(())
}

#[test]
fn windows_of_ticks_that_forbid_skipped_are_scored_once_by_the_next_one() -> anyhow::Result<()> {
    if is_off() {
        return Ok(());
    }
    let prometheus = Prometheus::recorded()?;
    let mut cluster = Cluster::start()?;
    cluster.names.push((PROMETHEUS.to_owned(), prometheus.url()));
    upload_sample(&cluster)?;
    let objects = manifests(&[])?;
    let (_, is_well) =
        cluster.submit(&objects, "lynceus-cluster-train", "uid-8", &[("now", NOW)])?;
    assert!(is_well);
    let objects = manifests(&LIVE)?;
    let cron = text::find(&objects, "CronWorkflow", "lynceus-cluster-score")?;
    let mut clock = Clock::new(cron);
    let mut started = Vec::new();
    // The first tick takes 130 s, the others 10 s each.
    for (minute, lasts) in (0..4).zip([130, 10, 10, 10]) {
        if clock.tick(minute * 60, minute * 60, lasts)? == Tick::Started {
            started.push(minute);
            let uid = ["tick-0", "tick-1", "tick-2", "tick-3"][usize::try_from(minute)?];
            let now = format!("2026-11-21T08:{}:05Z", 31 + minute);
            let given = [("now", now.as_str())];
            let (tick, is_well) = cluster.submit(&objects, "lynceus-cluster-score", uid, &given)?;
            assert!(is_well, "{}: {:?}", tick.message, tick.ran);
            assert_eq!(tick.left()?, [""; 0], "nothing is left of a tick that ended well");
        }
    }
    assert_eq!(started, [0, 3], "two ticks were skipped");
    let folder = tempfile::tempdir()?;
    let rows = cluster.lynceus(folder.path(), &["scores", "cluster", "--output", "csv"])?;
    let times: Vec<&str> = rows.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
    // Windows of 5 s, from the first tick to the last: those of the skipped ticks as well.
    let first: contract::Timestamp = "2026-11-21T08:31:05Z".parse().map_err(anyhow::Error::msg)?;
    let expected: Vec<String> =
        (0..37).map(|nth| (first + contract::Span::from_seconds(5 * nth)).to_string()).collect();
    assert_eq!(times, expected);
    Ok(())
}
