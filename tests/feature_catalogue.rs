//! Feature groups from end to end: one pipeline publishes its features, another one trains on them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::workspace::Workspace;

/// 2026-11-18T00:00:00Z in seconds.
const START: i64 = 1_794_960_000;

/// One row every ten minutes for three hosts, for a range of steps.
fn table(steps: std::ops::Range<i64>) -> String {
    let mut text = "time,host,requests,errors\n".to_owned();
    for step in steps {
        for host in 0..3 {
            let wave = |factor: i64| ((step * factor + host * 13).rem_euclid(97)) as f64 / 97.0;
            let time = START + 600 * step;
            writeln!(text, "{time},h{host},{},{}", wave(31), wave(57)).expect("a string");
        }
    }
    text
}

/// Steps in a day.
const DAY: i64 = 144;

const PRODUCER: &str = "format: 1
name: hosts
step: 10m
range: 4d
now: last_row
sources:
  rows: {table: {path: rows.csv, time: time, time_format: seconds, entity: host}}
features: [raw: {}, difference: {columns: [errors], lag: 10m}]
split: {validation: 0.2, test: 0.2, gap: 0s}
models: {z_score: {}}
vote: {combine: votes, threshold: {quantile: {share: 0.99}}}
gate: {max_false_alarm_ratio: 0.5}
";

/// Publishes the last days of a table that ends in the middle of a day.
fn published() -> anyhow::Result<Workspace> {
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("rows.csv"), table(0..3 * DAY + 70))?;
    fs_err::write(workspace.path().join("hosts.yaml"), PRODUCER)?;
    workspace.run(&["run", "hosts.yaml"])?;
    workspace.run(&[
        "features",
        "publish",
        "hosts",
        "--group",
        "host_load",
        "--owner",
        "web team",
        "--tag",
        "latency",
        "--description",
        "Load of each host",
    ])?;
    Ok(workspace)
}

/// Returns the command that publishes a table of hosts without a pipeline.
fn publish_table<'a>(file: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
    let command = ["features", "publish", "--table", file, "--entity", "host", "--step", "10m"];
    [&command[..], &["--group", "host_load"], flags].concat()
}

/// Publishes a table of three days without a pipeline.
fn published_from_table() -> anyhow::Result<Workspace> {
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("rows.csv"), table(0..3 * DAY))?;
    workspace.run(&publish_table("rows.csv", &["--owner", "web team"]))?;
    Ok(workspace)
}

/// Returns how many days of a publication ended in a state.
fn states(published: &Value, state: &str) -> usize {
    let days = published["days"].as_array().into_iter().flatten();
    days.filter(|it| it["state"] == state).count()
}

/// Trains another pipeline on the group; returns its run.
fn trained(workspace: &Workspace, more: &[&str]) -> anyhow::Result<Value> {
    let consumer = PRODUCER
        .replace("name: hosts", "name: errors")
        .replace("now: last_row\n", "")
        .replace(
            "table: {path: rows.csv, time: time, time_format: seconds, entity: host}",
            "features: {group: host_load, version: 1, ttl: 20m, columns: [errors, requests]}",
        )
        .replace(", difference: {columns: [errors], lag: 10m}", "");
    fs_err::write(workspace.path().join("errors.yaml"), consumer)?;
    let run = ["run", "errors.yaml", "--now", "2026-11-21T00:00:00Z"];
    workspace.json(&[&run[..], more].concat())
}

fn state<'a>(run: &'a Value, task: &str) -> anyhow::Result<&'a str> {
    let tasks = run["tasks"].as_array().context("tasks")?;
    let task = tasks.iter().find(|it| it["name"] == task).context("the task")?;
    task["state"].as_str().context("a state")
}

/// Returns the command that fills the group, with more flags.
fn backfill<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&["features", "backfill", "hosts.yaml", "--group", "host_load"], flags].concat()
}

#[test]
fn group_is_published_once_a_day_and_its_days_never_change() -> anyhow::Result<()> {
    let workspace = published()?;
    let list = workspace.json(&["features", "list"])?;
    assert_eq!(list[0]["group"], "host_load");
    // The first row has no difference, and the last day is incomplete.
    let days = workspace.json(&["features", "show", "host_load"])?;
    let dates: Vec<&str> = days["parts"]
        .as_array()
        .context("parts")?
        .iter()
        .filter_map(|it| it["date"].as_str())
        .collect();
    ensure!(dates.ends_with(&["2026-11-19", "2026-11-20"]), "{dates:?}");
    ensure!(!dates.contains(&"2026-11-21"), "the 21st is not over: {dates:?}");
    assert_eq!(days["parts"][dates.len() - 1]["rows"], 3 * DAY);
    let again = workspace.json(&["features", "publish", "hosts", "--group", "host_load"])?;
    assert_eq!((states(&again, "same"), states(&again, "published")), (dates.len(), 0), "{again}");
    // The same days with other values: the published rows stay.
    let other = table(0..3 * DAY + 70).replace(",h1,", ",h9,");
    fs_err::write(workspace.path().join("rows.csv"), other)?;
    workspace.run(&["run", "hosts.yaml"])?;
    let other = workspace.json(&["features", "publish", "hosts", "--group", "host_load"])?;
    assert_eq!(states(&other, "other"), dates.len(), "{other}");
    assert_eq!(workspace.json(&["features", "show", "host_load"])?["parts"], days["parts"]);
    let stats = workspace.json(&["features", "stats", "host_load", "--from", "2026-11-20"])?;
    assert_eq!(stats["rows"], 3 * DAY);
    let requests = &stats["columns"][0];
    ensure!(requests["max"].as_f64().context("a maximum")? <= 1.0, "{stats}");
    for text in ["latency", "ERRORS", "web team"] {
        let found = workspace.json(&["features", "find", text])?;
        ensure!(found.as_array().is_some_and(|it| !it.is_empty()), "{text}: {found}");
    }
    assert_eq!(workspace.json(&["features", "find", "nothing of it"])?, serde_json::json!([]));
    Ok(())
}

#[test]
fn table_is_published_without_a_pipeline_and_again_changes_nothing() -> anyhow::Result<()> {
    let workspace = published_from_table()?;
    let shown = workspace.json(&["features", "show", "host_load"])?;
    let parts = shown["parts"].as_array().context("parts")?;
    assert_eq!(parts.len(), 3, "{shown}");
    assert_eq!((&parts[0]["date"], &parts[0]["rows"]), (&"2026-11-18".into(), &(3 * DAY).into()));
    let stats = workspace.json(&["features", "stats", "host_load"])?;
    assert_eq!(stats["rows"], 9 * DAY);
    let names: Vec<_> =
        stats["columns"].as_array().into_iter().flatten().map(|it| &it["name"]).collect();
    assert_eq!(names, ["requests", "errors"]);
    assert_eq!(states(&workspace.json(&publish_table("rows.csv", &[]))?, "same"), 3);
    // The same rows in Parquet, and one more day.
    let steps = 0..4 * DAY;
    let text = table(steps.clone());
    let cells: Vec<Vec<&str>> = text.lines().skip(1).map(|row| row.split(',').collect()).collect();
    let numbers = |column: usize| {
        cells.iter().map(|row| row[column].parse()).collect::<Result<Vec<f64>, _>>()
    };
    let times =
        cells.iter().map(|row| Ok(contract::Timestamp::from_ms(row[0].parse::<i64>()? * 1000)));
    let mut rows = frames::Rows::default();
    rows.push("time", frames::Values::Times(times.collect::<anyhow::Result<_>>()?));
    rows.push("host", frames::Values::Texts(cells.iter().map(|row| row[1].to_owned()).collect()));
    rows.push("requests", frames::Values::Numbers(numbers(2)?));
    rows.push("errors", frames::Values::Numbers(numbers(3)?));
    rows.write(&workspace.path().join("rows.parquet"))?;
    let more = workspace.json(&publish_table("rows.parquet", &[]))?;
    assert_eq!((states(&more, "same"), states(&more, "published")), (3, 1), "{more}");
    let run = trained(&workspace, &[])?;
    assert_eq!(state(&run, "collect")?, "done");
    let uses = workspace.json(&["features", "uses", "host_load"])?;
    let writers: Vec<_> =
        uses.as_array().into_iter().flatten().filter(|it| it["by"] == "writes").collect();
    assert_eq!(writers.len(), 2, "{uses}");
    assert_eq!(writers[0]["pipeline"], "table");
    Ok(())
}

#[test]
fn table_with_other_columns_is_refused_until_a_version_is_asked_for() -> anyhow::Result<()> {
    let workspace = published_from_table()?;
    let write = |name: &str, text: String| fs_err::write(workspace.path().join(name), text);
    write("other.csv", table(0..3 * DAY).replace("errors", "faults"))?;
    let refused = |file: &str, flags: &[&str], code: i32, words: &str| {
        let output = workspace.output(&publish_table(file, flags))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(code) && said.contains(words), "{file}: {said}");
        anyhow::Ok(())
    };
    refused("other.csv", &[], 3, "column 2 is `faults`, expected `errors`")?;
    refused("other.csv", &[], 3, "--new-version WHY")?;
    refused("rows.csv", &["--columns", "requests"], 3, "column 2 `errors` is missing")?;
    refused("rows.csv", &["--label", "nothing"], 3, "nothing")?;
    refused("none.csv", &[], 2, "there is no table `none.csv`")?;
    write("empty.csv", table(0..0))?;
    refused("empty.csv", &[], 3, "has no numeric column")?;
    write("text.csv", "one,two\nthree,four\n".to_owned())?;
    refused("text.csv", &[], 3, "time")?;
    let both = workspace.output(&publish_table("rows.csv", &["hosts"]))?;
    assert_eq!(both.status.code(), Some(2));
    let neither = workspace.output(&["features", "publish", "--group", "host_load"])?;
    assert_eq!(neither.status.code(), Some(2));
    let listed = workspace.json(&["features", "list"])?;
    assert_eq!((&listed[0]["version"], &listed[0]["days"]), (&1.into(), &3.into()), "{listed}");
    let next = workspace.json(&publish_table("other.csv", &["--new-version", "renamed"]))?;
    assert_eq!((&next["version"], states(&next, "published")), (&2.into(), 3), "{next}");
    // A day that the table covers partly is published only on request.
    write("short.csv", table(4 * DAY..4 * DAY + 9).replace("errors", "faults"))?;
    let short = workspace.json(&publish_table("short.csv", &[]))?;
    assert_eq!((states(&short, "partial"), states(&short, "published")), (1, 0), "{short}");
    let short = workspace.json(&publish_table("short.csv", &["--partial"]))?;
    assert_eq!(states(&short, "published"), 1, "{short}");
    let left: Vec<_> = fs_err::read_dir(workspace.store())?
        .filter_map(Result::ok)
        .filter(|it| it.file_name().to_string_lossy().starts_with(".features"))
        .collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn run_without_a_whole_day_publishes_only_on_request() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("rows.csv"), table(10..DAY - 3))?;
    fs_err::write(workspace.path().join("hosts.yaml"), PRODUCER)?;
    workspace.run(&["run", "hosts.yaml"])?;
    let publish = ["features", "publish", "hosts", "--group", "host_load"];
    let refused = workspace.output(&publish)?;
    assert_eq!(refused.status.code(), Some(3));
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("--partial"), "{refused:?}");
    assert_eq!(workspace.json(&["features", "list"])?, serde_json::json!([]));
    let published = workspace.json(&[&publish[..], &["--partial"]].concat())?;
    assert_eq!(published["days"][0]["state"], "published");
    let shown = workspace.json(&["features", "show", "host_load"])?;
    assert_eq!(shown["parts"][0]["is_whole"], false);
    let bad =
        workspace.output(&["features", "publish", "hosts", "--partial", "--group", "../x"])?;
    assert_eq!(bad.status.code(), Some(2));
    Ok(())
}

#[test]
fn other_features_begin_a_version_and_the_difference_is_named() -> anyhow::Result<()> {
    let workspace = published()?;
    let changed = PRODUCER.replace("columns: [errors], lag", "columns: [requests], lag");
    fs_err::write(workspace.path().join("hosts.yaml"), changed)?;
    let refused = workspace.output(&backfill(&["--from", "2026-11-01", "--to", "2026-11-01"]))?;
    // The table has no rows of that day at all.
    ensure!(refused.status.success(), "{}", String::from_utf8_lossy(&refused.stderr));
    workspace.run(&["run", "hosts.yaml"])?;
    let published = workspace.json(&["features", "publish", "hosts", "--group", "host_load"])?;
    assert_eq!(published["version"], 2);
    let diff = workspace.json(&["features", "diff", "host_load"])?;
    assert_eq!(diff["versions"], serde_json::json!([1, 2]));
    let change = |name: &str| {
        let features = diff["features"].as_array().into_iter().flatten();
        features.into_iter().find(|it| it["feature"] == name).map(|it| it["change"].clone())
    };
    assert_eq!(change("requests"), Some("same".into()), "{diff}");
    let changes: Vec<_> =
        diff["features"].as_array().into_iter().flatten().map(|it| &it["change"]).collect();
    ensure!(
        changes.contains(&&Value::from("added")) && changes.contains(&&Value::from("removed")),
        "{diff}"
    );
    let list = workspace.json(&["features", "list"])?;
    assert_eq!((&list[0]["version"], &list[0]["owner"]), (&2.into(), &"web team".into()));
    Ok(())
}

#[test]
fn training_on_a_group_records_its_parts() -> anyhow::Result<()> {
    let workspace = published()?;
    let run = trained(&workspace, &[])?;
    assert_eq!(state(&run, "collect")?, "done");
    let folder = workspace.store().join("runs/errors").join(run["run"].as_str().context("a name")?);
    let pins: Value = contract::read_json(&folder.join("pins.json"))?;
    let parts = pins["sources"]["rows"].as_array().context("pins")?;
    assert_eq!(parts.last().context("a part")?["date"], "2026-11-20");
    let inputs = &run["tasks"][0]["parts"]["inputs"];
    ensure!(
        inputs.as_object().is_some_and(|it| it.keys().any(|key| key.starts_with("pins"))),
        "{inputs}"
    );
    // Nothing has changed, so the result comes from the cache.
    assert_eq!(state(&trained(&workspace, &[])?, "collect")?, "cached");
    // Another day is published: the same run reads its pinned days, and with --repin also the new
    // day.
    fs_err::write(workspace.path().join("rows.csv"), table(-DAY..3 * DAY + 70))?;
    let published = workspace.json(&backfill(&["--from", "2026-11-18"]))?;
    let filled = published["days"].as_array().context("days")?;
    assert_eq!(filled.len(), 1, "the 18th began without its difference: {published}");
    assert_eq!(
        (&filled[0]["date"], &filled[0]["state"]),
        (&"2026-11-18".into(), &"published".into())
    );
    assert_eq!(state(&trained(&workspace, &[])?, "collect")?, "cached");
    assert_eq!(state(&trained(&workspace, &["--repin"])?, "collect")?, "done");
    let again: Value = contract::read_json(&folder.join("pins.json"))?;
    assert_eq!(again["sources"]["rows"].as_array().context("pins")?.len(), parts.len() + 1);
    let nothing = workspace.json(&backfill(&["--list"]))?;
    assert_eq!(nothing["days"], serde_json::json!([]));
    let uses = workspace.json(&["features", "uses", "host_load"])?;
    let by = |by: &str| uses.as_array().into_iter().flatten().filter(|it| it["by"] == by).count();
    assert_eq!((by("writes"), by("run")), (2, 1), "{uses}");
    let of_run = uses.as_array().into_iter().flatten().find(|it| it["by"] == "run");
    ensure!(
        of_run.is_some_and(|it| it["pipeline"] == "errors" && it["model"].is_string()),
        "{uses}"
    );
    Ok(())
}

/// Returns the code of the page in a language.
fn examples(language: &str) -> anyhow::Result<Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/feature-catalogue.md");
    let text = fs_err::read_to_string(page)?;
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    Ok(blocks.filter_map(|block| Some(block.split_once("```")?.0.to_owned())).collect())
}

/// `LYNCEUS_TEST_PYTHON=off` leaves this out.
#[test]
fn documented_duckdb_and_pandas_code_reads_a_group() -> anyhow::Result<()> {
    if std::env::var_os("LYNCEUS_TEST_PYTHON").is_some_and(|value| value == "off") {
        return Ok(());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/support/python.sh");
    let found = Command::new(script).arg("--path").output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr).trim());
    let python = String::from_utf8(found.stdout)?.trim().to_owned();
    let examples = examples("python")?;
    ensure!(examples.len() == 2, "{} examples", examples.len());
    for workspace in [published()?, published_from_table()?] {
        // The page's folder of the store is the default one.
        fs_err::rename(workspace.store(), workspace.path().join(".lynceus"))?;
        for example in &examples {
            let done = Command::new(&python)
                .current_dir(workspace.path())
                .args(["-W", "error::FutureWarning", "-c", example])
                .output()?;
            let said = String::from_utf8_lossy(&done.stdout);
            ensure!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
            ensure!(said.contains("h0") && said.contains("2026-11-20"), "{said}");
        }
    }
    Ok(())
}
