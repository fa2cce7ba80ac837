//! The program `collect` as its users run it, without a server.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::process::Command;

use anyhow::{Result, ensure};
use support::{Place, RECORDED_END, recording};

/// Returns a document that replays some of the recorded queries.
fn document(step: &str, range: &str, entity: &str, names: &[&str]) -> String {
    let queries: Vec<String> =
        names.iter().map(|name| format!("      - {{name: {name}, promql: x{entity}}}\n")).collect();
    format!(
        "step: {step}\nrange: {range}\nsources:\n  main:\n    recording: {{path: nowhere}}\n    queries:\n{}",
        queries.concat()
    )
}

fn source(name: &str) -> String {
    recording(name).to_str().unwrap().to_owned()
}

#[test]
fn the_recorded_cluster_is_replayed() -> Result<()> {
    let names = ["api_server_request_rate", "scheduler_scheduling_latency_seconds"];
    let place = Place::new(&document("5s", "92m", "", &names))?;
    let samples = place.samples(RECORDED_END, &["--source", &source("cluster")])?;
    assert_eq!(samples.table.rows(), 1104);
    assert_eq!(samples.table.times[0].to_string(), "2026-11-21T07:50:05Z");
    assert!((samples.table.columns[0].values[0] - 3.454_603_080_808_078_5).abs() < 1e-15);
    let outcome = place.outcome()?;
    assert_eq!(outcome["counts"]["nan_values"], 880);
    assert_eq!(outcome["counts"]["points"], 2208);
    assert_eq!(outcome["counts"]["gaps"], 0);
    ensure!(outcome["outputs"]["samples"]["sha256"].is_string());
    Ok(())
}

#[test]
fn a_coarser_step_takes_the_points_on_it() -> Result<()> {
    let place = Place::new(&document("1m", "92m", "", &["workqueue_depth"]))?;
    let samples = place.samples(RECORDED_END, &["--source", &source("cluster")])?;
    assert_eq!(samples.table.rows(), 92);
    assert_eq!(place.outcome()?["counts"]["points_ignored"], 92 * 11 - 11);
    Ok(())
}

#[test]
fn the_recorded_node_is_an_entity() -> Result<()> {
    let place = Place::new(&document("5s", "92m", ", entity: node", &["load_1m", "forks"]))?;
    let samples = place.samples(RECORDED_END, &["--source", &source("cluster_node")])?;
    assert_eq!(samples.table.entities, ["edge-1"]);
    assert_eq!(samples.table.rows(), 1104);
    Ok(())
}

#[test]
fn time_before_first_sample_is_skipped_with_a_warning() -> Result<()> {
    let place = Place::new(&document("5s", "2h", "", &["workqueue_depth"]))?;
    let samples = place.samples(RECORDED_END, &["--source", &source("cluster")])?;
    assert_eq!(samples.table.rows(), 1105);
    let warnings = place.outcome()?["warnings"].to_string();
    assert!(warnings.contains("the data begins at `2026-11-21T07:50:00Z`"), "{warnings}");
    assert!(warnings.contains("of 2h; this model is provisional"), "{warnings}");
    assert_eq!(place.outcome()?["counts"]["windows_without_data"], 335);
    Ok(())
}

#[test]
fn the_same_flags_give_the_same_bytes_and_a_failure_keeps_the_old_output() -> Result<()> {
    let place = Place::new(&document("5s", "92m", "", &["workqueue_depth", "forks"]))?;
    let flags = ["--source", &source("cluster")];
    assert_eq!(place.collect(RECORDED_END, &flags)?.status.code(), Some(2), "forks is the node's");
    let both = place.path("both");
    fs_err::create_dir(&both)?;
    for (folder, name) in [("cluster", "workqueue_depth"), ("cluster_node", "forks")] {
        let name = format!("{name}.json.gz");
        fs_err::copy(recording(folder).join(&name), both.join(&name))?;
    }
    let mut written = Vec::new();
    for threads in ["1", "2"] {
        place.samples(RECORDED_END, &["--source", "both", "--threads", threads])?;
        written.push(fs_err::read(place.path("samples.parquet"))?);
    }
    assert_eq!(written[0], written[1]);
    assert_eq!(place.collect(RECORDED_END, &flags)?.status.code(), Some(2));
    assert_eq!(fs_err::read(place.path("samples.parquet"))?, written[0]);
    Ok(())
}

#[test]
fn help_names_every_flag() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_collect")).arg("--help").output()?;
    let help = String::from_utf8(output.stdout)?;
    for flag in ["--document", "--samples", "--now", "--start", "--store", "--source", "--record"] {
        assert!(help.contains(flag), "{flag}");
    }
    Ok(())
}
