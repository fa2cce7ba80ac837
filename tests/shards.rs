//! A pipeline whose entities are divided into shards.

mod label;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, ensure};
use contract::artifact::{files_below, sha256_path};
use contract::{Shard, read_json};
use serde_json::Value;

use crate::hosts;
use crate::workspace::{Workspace, differences};

/// Minutes for training, and number of hosts.
const TRAINED: i64 = 400;
const HOSTS: i64 = 8;
/// What `train` and `score` take as the current time.
const NOW: &str = "2026-11-21T06:40:00Z";
const SCORED_AT: &str = "2026-11-21T06:50:30Z";

/// A workspace with the rows of the selected hosts, in this number of shards.
fn with(shards: u32, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Workspace> {
    let workspace = Workspace::new()?;
    let rows = hosts::table(0..TRAINED + 60, HOSTS, |_| true);
    let is_wanted = |line: &&str| {
        let host = line.split(',').nth(1).unwrap_or_default();
        host == "host" || wanted(host)
    };
    let mut rows = rows.lines().filter(is_wanted).collect::<Vec<_>>().join("\n");
    rows.push('\n');
    fs_err::write(workspace.path().join("rows.csv"), rows)?;
    let models = "models: {adaptive: {}, isolation_forest: {trees: 20}}";
    let mut document = hosts::DOCUMENT.replace("models: {z_score: {}}", models);
    ensure!(document.contains(models), "the document has other models");
    document.push_str("alerts: {for: 1, channels: [stdout]}\n");
    if shards > 1 {
        document.push_str(&format!("shards: {{count: {shards}}}\n"));
    }
    fs_err::write(workspace.path().join("hosts.yaml"), document)?;
    Ok(workspace)
}

fn train(workspace: &Workspace) -> anyhow::Result<()> {
    workspace.run(&["run", "hosts.yaml", "--now", NOW]).map(drop)
}

fn score(workspace: &Workspace) -> anyhow::Result<Value> {
    workspace.json(&["score", "hosts.yaml", "--since", NOW, "--at", SCORED_AT])
}

/// Two shards that are trained and scored.
fn scored() -> anyhow::Result<Workspace> {
    let workspace = with(2, |_| true)?;
    train(&workspace)?;
    score(&workspace)?;
    Ok(workspace)
}

/// Returns the score objects below a folder by name, without the version that made them.
fn windows(folder: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut windows = BTreeMap::new();
    for file in files_below(folder)? {
        let mut window: Value = read_json(&folder.join(&file))?;
        window["version"].take();
        windows.insert(file, window);
    }
    ensure!(!windows.is_empty(), "no window in {}", folder.display());
    Ok(windows)
}

/// Returns the only folder in a folder.
fn only(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let mut entries = fs_err::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(entries.len() == 1, "{} has {} entries", folder.display(), entries.len());
    Ok(entries.remove(0).path())
}

fn hashes(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let hash = |file: String| Ok((file.clone(), sha256_path(&folder.join(&file))?));
    files_below(folder)?.into_iter().map(hash).collect()
}

#[test]
fn shard_has_the_models_and_scores_of_a_pipeline_with_its_entities_alone() -> anyhow::Result<()> {
    let whole = scored()?;
    let version = only(&whole.store().join("models/hosts/versions"))?;
    for shard in Shard::all(2) {
        let alone = with(1, |host| shard.holds(host))?;
        train(&alone)?;
        score(&alone)?;
        let own = only(&alone.store().join("models/hosts/versions"))?;
        let (here, there) = (hashes(&own)?, hashes(&version.join(shard.part()))?);
        assert_eq!(differences(&here, &there), [""; 0], "shard {shard}");
        assert!(here.contains_key("bundle.json") && here.len() > 2, "{here:?}");
        let here = windows(&alone.store().join("scores/hosts"))?;
        let there = windows(&whole.store().join("scores/hosts").join(shard.folder()))?;
        assert_eq!(here, there, "shard {shard}");
    }
    Ok(())
}

#[test]
fn shards_side_by_side_leave_the_bytes_of_shards_one_after_another() -> anyhow::Result<()> {
    let promised = |jobs: &str| -> anyhow::Result<BTreeMap<String, String>> {
        let workspace = with(2, |_| true)?;
        workspace.run(&["run", "hosts.yaml", "--now", NOW, "--jobs", jobs])?;
        let tick = ["score", "hosts.yaml", "--since", NOW, "--at", SCORED_AT, "--jobs", jobs];
        workspace.run(&tick)?;
        let mut promised = workspace.promised()?;
        // The document contains a path of the workspace, whose folder differs each time.
        promised.retain(|file, _| !file.ends_with("document.yaml"));
        // The name of a run depends on the document with its paths.
        let unnamed = |(file, hash): (String, String)| {
            let parts: Vec<&str> = file.split('/').collect();
            match parts.as_slice() {
                ["runs", pipeline, _, rest @ ..] => {
                    (format!("runs/{pipeline}/RUN/{}", rest.join("/")), hash)
                }
                _ => (file, hash),
            }
        };
        Ok(promised.into_iter().map(unnamed).collect())
    };
    let (one, two) = (promised("1")?, promised("2")?);
    assert_eq!(differences(&one, &two), [""; 0]);
    let watermarks = two.keys().filter(|file| file.ends_with("watermark.safetensors"));
    assert_eq!(
        watermarks.collect::<Vec<_>>(),
        [
            "state/hosts/shard=0-of-2/watermark.safetensors",
            "state/hosts/shard=1-of-2/watermark.safetensors"
        ]
    );
    Ok(())
}

#[test]
fn scores_status_messages_and_pages_are_of_all_shards() -> anyhow::Result<()> {
    let workspace = scored()?;
    let windows = workspace.json(&["scores", "hosts.yaml", "--last", "10m"])?;
    let windows = windows.as_array().context("windows")?;
    assert_eq!(windows.len(), 10);
    let hosts: BTreeSet<String> = (0..HOSTS).map(|host| format!("h{host}")).collect();
    for window in windows {
        let entities = window["entities"].as_array().context("entities")?;
        let names = entities.iter().filter_map(|entity| entity["entity"].as_str());
        assert_eq!(names.map(str::to_owned).collect::<BTreeSet<_>>(), hosts, "{window}");
        assert_eq!(entities.len(), hosts.len());
    }
    let status = workspace.json(&["status", "hosts.yaml", "--now", SCORED_AT])?;
    let shards = status["shards"].as_array().context("shards")?;
    let names: Vec<&Value> = shards.iter().map(|shard| &shard["shard"]).collect();
    assert_eq!(names, ["0/2", "1/2"]);
    let entities = shards.iter().filter_map(|shard| shard["scoring"]["entities"].as_i64());
    assert_eq!(entities.sum::<i64>(), HOSTS);
    let line = workspace.json(&["status", "--now", SCORED_AT])?;
    assert_eq!(line[0]["entities"], HOSTS);
    let text = workspace.run(&["status", "hosts.yaml", "--now", SCORED_AT])?;
    assert!(text.contains("0/2") && text.contains("1/2"), "{text}");

    let told = ["messages", "hosts", "--from", NOW, "--to", SCORED_AT];
    let messages = workspace.json(&told)?;
    let keys: BTreeSet<&str> = messages
        .as_array()
        .context("messages")?
        .iter()
        .filter_map(|it| it["message"]["key"].as_str())
        .collect();
    let of = |shard: &str| keys.iter().any(|key| key.starts_with(&format!("hosts/{shard}/")));
    assert!(of("shard=0-of-2") && of("shard=1-of-2"), "{keys:?}");

    let run = only(&workspace.store().join("runs/hosts"))?;
    for page in ["report.html", "shard-0/report.html", "shard-1/report.html"] {
        let text = fs_err::read_to_string(run.join(page))?;
        assert!(text.contains("</html>"), "{page}");
    }
    let scores = ["report", "hosts.yaml", "--last", "10m", "--to", SCORED_AT];
    workspace.run(&scores)?;
    let record: Value = read_json(&run.join("run.json"))?;
    let metrics = record["metrics"].as_object().context("metrics")?;
    assert!(metrics.keys().any(|name| name.starts_with("test.")), "{metrics:?}");
    Ok(())
}

#[test]
fn shard_that_fails_keeps_no_other_from_its_windows() -> anyhow::Result<()> {
    let workspace = scored()?;
    let state = |shard: Shard| workspace.store().join("state/hosts").join(shard.folder());
    let shards = Shard::all(2);
    let broken = state(shards[1]).join("watermark.safetensors");
    fs_err::write(&broken, b"not a watermark")?;
    let output = workspace.output(&["score", "hosts.yaml", "--at", "2026-11-21T07:00:30Z"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("shard-1/score") && said.contains("shard=1-of-2"), "{said}");
    let count = |shard: Shard| {
        files_below(&workspace.store().join("scores/hosts").join(shard.folder())).map(|it| it.len())
    };
    assert_eq!((count(shards[0])?, count(shards[1])?), (20, 10));
    Ok(())
}

#[test]
fn changed_number_of_shards_is_refused_until_the_next_training() -> anyhow::Result<()> {
    let workspace = scored()?;
    let later = "2026-11-21T07:00:30Z";
    let three = ["--set", "shards.count=3"];
    for count in ["shards.count=3", "shards.count=1"] {
        let tick = ["score", "hosts.yaml", "--at", later, "--set", count];
        let output = workspace.output(&tick)?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("was trained with 2 shards"), "{said}");
    }
    workspace.run(&[&["run", "hosts.yaml", "--now", NOW][..], &three].concat())?;
    workspace.run(&[&["score", "hosts.yaml", "--at", later][..], &three].concat())?;
    // The windows that two shards have scored are still there, before those of three.
    let windows = workspace.json(&["scores", "hosts.yaml", "--last", "1h", "--to", later])?;
    let windows = windows.as_array().context("windows")?;
    let times: Vec<&str> = windows.iter().filter_map(|it| it["time"].as_str()).collect();
    assert_eq!(times.first(), Some(&"2026-11-21T06:41:00Z"));
    assert_eq!(times.last(), Some(&"2026-11-21T07:00:00Z"));
    let last = windows.last().context("a window")?;
    assert_eq!(last["entities"].as_array().map(Vec::len), Some(8));
    Ok(())
}

#[test]
fn shard_without_an_entity_is_refused_with_a_smaller_number() -> anyhow::Result<()> {
    let workspace = with(64, |_| true)?;
    let output = workspace.output(&["run", "hosts.yaml", "--now", NOW])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("has no entity in the data"), "{said}");
    assert!(said.contains("lower `shards.count`"), "{said}");
    Ok(())
}

#[test]
fn version_of_all_shards_is_promoted_and_rolled_back_at_once() -> anyhow::Result<()> {
    let workspace = scored()?;
    let first = workspace.json(&["models", "list", "hosts"])?;
    workspace.run(&["run", "hosts.yaml", "--now", "2026-11-21T07:20:00Z"])?;
    let folder = workspace.store().join("models/hosts/versions");
    assert_eq!(fs_err::read_dir(&folder)?.count(), 2);
    for version in fs_err::read_dir(&folder)? {
        let manifest: Value = read_json(&version?.path().join("bundle.json"))?;
        let parts = manifest["parts"].as_array().context("parts")?;
        let files: Vec<&Value> = parts.iter().map(|part| &part["file"]).collect();
        assert_eq!(files, ["shard-0/bundle.json", "shard-1/bundle.json"]);
    }
    let alias = |workspace: &Workspace| -> anyhow::Result<Value> {
        read_json(&workspace.store().join("models/hosts/aliases/live.json")).map_err(Into::into)
    };
    let second = alias(&workspace)?;
    workspace.run(&["models", "rollback", "hosts"])?;
    assert_ne!(alias(&workspace)?["version"], second["version"]);
    assert!(first.to_string().contains(alias(&workspace)?["version"].as_str().unwrap_or("?")));
    workspace.run(&["score", "hosts.yaml", "--at", "2026-11-21T07:00:30Z"])?;
    Ok(())
}

/// Returns the rows of `predict` by time and entity.
fn predicted(workspace: &Workspace, table: &str) -> anyhow::Result<BTreeMap<String, Value>> {
    let rows = workspace.json(&["predict", "hosts.yaml", table])?;
    let rows = rows.as_array().context("rows")?.clone();
    let key = |row: Value| Ok((format!("{} {}", row["time"], row["entity"]), row));
    rows.into_iter().map(key).collect()
}

#[test]
fn predict_judges_each_row_with_the_model_of_its_shard() -> anyhow::Result<()> {
    let whole = scored()?;
    let mut expected = BTreeMap::new();
    for shard in Shard::all(2) {
        let alone = with(1, |host| shard.holds(host))?;
        train(&alone)?;
        expected.extend(predicted(&alone, "rows.csv")?);
    }
    let found = predicted(&whole, "rows.csv")?;
    ensure!(found.len() > 1000, "{} rows", found.len());
    assert_eq!(found, expected);
    // So does the folder of a version, and a table that has entities of one shard alone.
    let version = only(&whole.store().join("models/hosts/versions"))?;
    let version = version.to_str().context("a path of text")?;
    let rows = fs_err::read_to_string(whole.path().join("rows.csv"))?;
    let is_of_one = |line: &&str| line.contains(",host,") || line.contains(",h1,");
    let one: Vec<&str> = rows.lines().filter(is_of_one).collect();
    let one_host = format!("{}\n", one.join("\n"));
    fs_err::write(whole.path().join("one.csv"), &one_host)?;
    fs_err::write(whole.path().join("named.csv"), one_host.replacen("host", "entity", 1))?;
    let of_version = whole.json(&["predict", version, "named.csv"])?;
    assert_eq!(of_version.as_array().map(Vec::len), Some(one.len() - 1));
    let row = predicted(&whole, "one.csv")?;
    assert_eq!(row.len(), one.len() - 1);
    assert!(row.iter().all(|(key, row)| expected.get(key) == Some(row)));

    let run = whole.json(&["predict", "hosts.yaml", "--run", "last", "--part", "test"])?;
    let hosts: BTreeSet<&str> =
        run.as_array().context("rows")?.iter().filter_map(|row| row["entity"].as_str()).collect();
    assert_eq!(i64::try_from(hosts.len())?, HOSTS);
    Ok(())
}

#[test]
fn feature_group_and_data_set_have_the_rows_of_all_shards() -> anyhow::Result<()> {
    let workspace = with(2, |_| true)?;
    train(&workspace)?;
    let publish = ["features", "publish", "hosts", "--group", "load", "--partial"];
    let published = workspace.json(&publish)?;
    let rows: i64 = published["days"]
        .as_array()
        .context("days")?
        .iter()
        .filter_map(|day| day["rows"].as_i64())
        .sum();
    assert_eq!(rows, (TRAINED + 1) * HOSTS);
    assert_eq!(workspace.json(&publish)?["days"][0]["state"], "same");
    let text = workspace.run(&["dataset", "export", "hosts"])?;
    assert_eq!(i64::try_from(text.lines().count())?, (TRAINED + 1) * HOSTS + 1);
    let hidden = |file: &String| file.contains(".features");
    assert!(!files_below(&workspace.store())?.iter().any(hidden), "nothing is left behind");
    Ok(())
}

#[test]
fn page_of_all_shards_draws_the_thresholds_of_each() -> anyhow::Result<()> {
    let thresholds = |shards: u32| -> anyhow::Result<usize> {
        let workspace = with(shards, |_| true)?;
        train(&workspace)?;
        score(&workspace)?;
        workspace.run(&["report", "hosts.yaml", "--last", "10m", "--to", SCORED_AT])?;
        let run = only(&workspace.store().join("runs/hosts"))?;
        let page = fs_err::read_to_string(run.join("report.html"))?;
        Ok(page.matches("<polyline class=\"threshold\"").count())
    };
    let (whole, shards) = (thresholds(1)?, thresholds(2)?);
    assert!(whole > 0);
    assert_eq!(shards, whole, "one of the verdict, and one of each model");
    Ok(())
}

#[test]
fn auto_makes_as_many_shards_as_the_entities_need_and_scores_with_them() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let rows = hosts::table(0..TRAINED, 260, |_| true);
    fs_err::write(workspace.path().join("rows.csv"), rows)?;
    let document = format!("{}shards: {{count: auto}}\n", hosts::DOCUMENT);
    fs_err::write(workspace.path().join("hosts.yaml"), document)?;
    let plan = workspace.run(&["plan", "hosts.yaml"])?;
    assert!(!plan.contains("shard-"), "one shard before the first training: {plan}");
    let output = workspace.output(&["run", "hosts.yaml"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("shards: 2, for 260 entities"), "{said}");
    let plan = workspace.run(&["plan", "hosts.yaml", "--score"])?;
    assert!(plan.contains("shard-1/score"), "{plan}");
    workspace.run(&["score", "hosts.yaml"])?;
    let status = workspace.json(&["status", "hosts.yaml", "--now", NOW])?;
    let entities = status["shards"]
        .as_array()
        .context("shards")?
        .iter()
        .filter_map(|shard| shard["scoring"]["entities"].as_i64());
    assert_eq!(entities.sum::<i64>(), 260);

    workspace.run(&["manifests", "hosts.yaml"])?;
    let train = fs_err::read_to_string(workspace.path().join("argo/base/hosts/train.yaml"))?;
    assert!(train.contains("{{tasks.collect.outputs.parameters.shards}}"), "{train}");
    Ok(())
}
