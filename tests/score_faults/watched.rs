//! What an operator sees, and what Lynceus does automatically.

use std::path::Path;

use anyhow::Context as _;

use super::{code, trained};
use crate::prometheus;
use crate::workspace::Workspace;

#[test]
fn scores_status_and_challenger_are_shown() -> anyhow::Result<()> {
    let server = prometheus::Prometheus::recorded()?;
    let workspace = trained(&server)?;
    let url = format!("sources.main.prometheus.url={}", server.url());
    let said = workspace.run(&["status", "node.yaml"])?;
    assert!(said.contains("none was scored yet"), "{said}");
    let output = workspace.output(&["scores", "node.yaml"])?;
    assert_eq!(code(output.status), 3);

    let live = workspace.json(&["models", "list", "node"])?[0]["version"].clone();
    let live = live.as_str().context("a version")?;
    workspace.run(&["models", "promote", "node", live, "--alias", "shadow"])?;
    let at = "2026-11-21T08:16:00Z";
    let tick = ["score", "node.yaml", "--at", at, "--since", "2026-11-21T08:15:00Z", "--set", &url];
    workspace.run(&tick)?;
    let windows = workspace.json(&["scores", "node.yaml", "--last", "30s"])?;
    assert_eq!(windows.as_array().map(Vec::len), Some(3));
    let table = workspace.run(&["scores", "node.yaml", "--from", "2026-11-21T08:15:50Z"])?;
    assert!(table.contains("2026-11-21T08:16:00Z"), "{table}");
    let status = workspace.json(&["status", "node.yaml", "--now", "2026-11-21T08:26:00Z"])?;
    assert_eq!(
        (&status["live"]["version"], &status["scoring"]["late"]),
        (&live.into(), &true.into())
    );
    assert_eq!(status["scoring"]["windows_total"], 6);
    let compared = workspace.json(&["models", "compare", "node", "live", "shadow"])?;
    assert_eq!((&compared["compared"], &compared["agreement_ratio"]), (&6.into(), &1.0.into()));
    Ok(())
}

#[test]
fn failed_ticks_are_seen_until_one_ends_well_and_fill_no_disk() -> anyhow::Result<()> {
    let server = prometheus::Prometheus::recorded()?;
    let workspace = trained(&server)?;
    let ticks = || -> anyhow::Result<usize> {
        let entries = fs_err::read_dir(workspace.store().join("runs/node"))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names: Vec<String> = names.collect::<std::io::Result<_>>()?;
        Ok(names.iter().filter(|name| name.ends_with("-score")).count())
    };
    for second in 0..23 {
        let at = format!("2026-11-21T08:16:{:02}Z", 2 * second);
        let failed = workspace.output(&["score", "node.yaml", "--at", &at, "--retries", "0"])?;
        assert_eq!(code(failed.status), 4);
    }
    assert_eq!(ticks()?, 21, "the last twenty and the one that runs");
    let status = workspace.json(&["status", "node.yaml"])?;
    assert_eq!(status["failed_tick"]["task"], "collect");
    assert_eq!(status["failed_tick"]["at"], "2026-11-21T08:16:44Z");
    let said = workspace.run(&["status", "node.yaml"])?;
    assert!(said.contains("last tick failed  2026-11-21T08:16:44Z, collect: "), "{said}");

    let url = format!("sources.main.prometheus.url={}", server.url());
    let since = "2026-11-21T08:16:40Z";
    let at = "2026-11-21T08:17:00Z";
    workspace.run(&["score", "node.yaml", "--at", at, "--since", since, "--set", &url])?;
    assert_eq!(workspace.json(&["status", "node.yaml"])?["failed_tick"], serde_json::Value::Null);
    Ok(())
}

#[test]
fn status_shows_pending_messages_and_export_progress() -> anyhow::Result<()> {
    let server = prometheus::Prometheus::recorded()?;
    let workspace = trained(&server)?;
    fs_err::write(workspace.path().join("in_the_way"), "")?;
    // The server has no receiver: it refuses every sample.
    let overlay = format!(
        "sources: {{main: {{prometheus: {{url: '{url}'}}}}}}\n\
         exports: {{tsdb: {{remote_write: {{url: '{url}/api/v1/write'}}}}}}\n\
         alerts: {{training: [promoted, finished, refused], channels: [file: {{path: in_the_way/told.jsonl}}]}}\n",
        url = server.url()
    );
    fs_err::write(workspace.path().join("over.yaml"), overlay)?;
    let over = ["node.yaml", "--overlay", "over.yaml"];
    // No training was requested yet, and the tick ends with the failure.
    workspace.output(&[&["run"], &over[..], &["--now", "2026-11-21T08:14:00Z"]].concat())?;
    let times = ["--at", "2026-11-21T08:16:00Z", "--since", "2026-11-21T08:15:00Z"];
    let tick = [&["score"], &over[..], &times[..], &["--retries", "0"]].concat();
    let ticked = workspace.output(&tick)?;
    let said = String::from_utf8_lossy(&ticked.stderr);
    assert_eq!(code(ticked.status), 4, "{said}");
    assert!(said.contains("warning: export: ") && said.contains("warning: alert: "), "{said}");
    let shown = [&["status"], &over[..]].concat();
    let status = workspace.json(&shown)?;
    assert_eq!(status["exports"][0]["exported_to"], "2026-11-21T08:15:50Z");
    assert_eq!(status["exports"][0]["failing_since"], "2026-11-21T08:16:00Z");
    let channel = status["channels"][0]["channel"].as_str().context("a channel")?;
    assert!(
        channel.starts_with("file ") && channel.ends_with("/in_the_way/told.jsonl"),
        "{channel}"
    );
    assert_eq!(status["failed_tick"]["task"], "alert");
    assert_eq!(status["oldest_pending"], "2026-11-21T08:14:00Z");
    let said = workspace.run(&shown)?;
    for words in [
        "export            tsdb: up to 2026-11-21T08:15:50Z, failing since 2026-11-21T08:16:00Z: ",
        ", the oldest of 2026-11-21T08:14:00Z",
        "failing since 2026-11-21T08:14:00Z: cannot write",
        "last tick failed  2026-11-21T08:16:00Z, alert: ",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(said.lines().count() < 25, "one screen");

    // Nothing new can be scored, but pending messages are sent.
    fs_err::remove_file(workspace.path().join("in_the_way"))?;
    let away =
        ["--set", "sources.main.prometheus.url=http://127.0.0.1:9", "--at", "2026-11-21T08:18:00Z"];
    let tick = [&["score"], &over[..], &away[..], &["--retries", "0"]].concat();
    assert_eq!(code(workspace.output(&tick)?.status), 4);
    let told = fs_err::read_to_string(workspace.path().join("in_the_way/told.jsonl"))?;
    assert!(told.contains("new model is live"), "{told}");
    assert_eq!(workspace.json(&shown)?["failed_tick"]["task"], "collect");
    Ok(())
}

/// Writes a table of two days of minutes; on the second day the level has changed.
fn table(file: &Path) -> anyhow::Result<()> {
    let mut text = String::from("time,load,memory\n");
    for minute in 0..2 * 1440_i64 {
        let wave = |factor: i64| (minute * factor).rem_euclid(97) as f64 / 97.0;
        let moved = if minute < 1440 { 0.0 } else { 0.4 };
        let time = contract::Timestamp::from_ms(1_795_219_200_000 + 60_000 * (minute + 1));
        text.push_str(&format!("{time},{},{}\n", wave(31) + moved, wave(57)));
    }
    Ok(fs_err::write(file, text)?)
}

#[test]
fn drift_starts_one_training_as_a_process_of_its_own() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    table(&workspace.path().join("samples.csv"))?;
    let text = "format: 1\nname: moving\nstep: 1m\nrange: 1d\n\
        sources: {main: {table: {path: samples.csv, time: time}}}\n\
        features: [raw: {columns: ['*']}]\nmodels: {z_score: {}}\n\
        vote: {combine: votes, threshold: {quantile: {share: 0.99}}}\n\
        gate: {max_false_alarm_ratio: 1}\n\
        scoring: {delay: 0s, catch_up: 2d, drift: {retrain: {pause: 12h}}}\n\
        alerts: {kinds: [drift], training: [promoted, finished], channels: [file: {path: told.jsonl}]}\n";
    fs_err::write(workspace.path().join("moving.yaml"), text)?;
    // 2026-11-21T00:00:00Z is where the table begins.
    workspace.run(&["run", "moving.yaml", "--now", "2026-11-22T00:00:00Z"])?;
    let tick =
        |at: &'static str| ["score", "moving.yaml", "--since", "2026-11-22T00:00:00Z", "--at", at];
    let first = workspace.output(&tick("2026-11-22T20:00:00Z"))?;
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    assert!(first.status.success() && said.contains("started a training"), "{said}");
    let second = workspace.output(&tick("2026-11-22T21:00:00Z"))?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.success() && !said.contains("started a training"), "{said}");
    // The training holds the lock of its log while it runs.
    let log = fs_err::File::open(workspace.store().join("runs/moving/retrain.log"))?;
    log.file().lock()?;
    let log = fs_err::read_to_string(log.path())?;
    let runs = workspace.json(&["runs", "list", "moving"])?;
    let runs = runs.as_array().context("runs")?;
    assert_eq!(runs.len(), 2, "{log}");
    assert!(runs.iter().all(|run| run["status"] == "done"), "{log}");
    let status = workspace.json(&["status", "moving.yaml"])?;
    assert_eq!(status["retrain"]["asked"], "2026-11-22T20:00:00Z");
    assert_eq!(status["retrain"]["started"], true);
    let told = fs_err::read_to_string(workspace.path().join("told.jsonl"))?;
    assert!(told.contains("\"kind\":\"drift\"") && told.contains("\"training\":"), "{told}");
    Ok(())
}
