//! A tick that hangs or fails ends in time, and an alert reports that scoring has stopped.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, ensure};

use super::{code, trained};
use crate::fault_proxy::{Fault, FaultProxy};
use crate::prometheus::Prometheus;
use crate::workspace::Workspace;

const BEGIN: &str = "2026-11-21T08:15:00Z";

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn stopped_scoring_is_notified_with_cause_and_shown_by_status_and_messages() -> anyhow::Result<()> {
    let server = Prometheus::recorded()?;
    let workspace = trained(&server)?;
    let url = format!("sources.main.prometheus.url={}", server.url());
    let channel = "alerts.channels=[{file: {path: told.jsonl}}]";
    let tick = |at: &str, more: &[&str]| {
        let tick = ["score", "node.yaml", "--retries", "0", "--set", channel];
        workspace.output(&[&tick[..], &["--at", at, "--since", BEGIN], more].concat())
    };
    let up = tick("2026-11-21T08:16:00Z", &["--set", &url])?;
    ensure!(up.status.success(), "{}", said(&up));
    for minute in 17..=22 {
        let down = tick(&format!("2026-11-21T08:{minute}:00Z"), &[])?;
        assert_eq!(code(down.status), 4, "{}", said(&down));
    }
    let told = fs_err::read_to_string(workspace.path().join("told.jsonl"))?;
    let last: serde_json::Value = serde_json::from_str(told.lines().last().context("a message")?)?;
    assert_eq!(last["title"], "node is no longer scored");
    let text = last["text"].as_str().context("text")?;
    ensure!(text.contains("since 2026-11-21 08:16 UTC\ncollect: "), "{text}");
    let status = workspace.json(&["status", "node.yaml", "--now", "2026-11-21T08:23:00Z"])?;
    let why = status["stopped"]["why"].as_str().context("why")?;
    ensure!(why.starts_with("collect: ") && why.contains("127.0.0.1:1"), "{why}");
    let all = workspace.run(&["status", "--now", "2026-11-21T08:23:00Z"])?;
    ensure!(all.contains("7 min ago") && all.contains("scoring stopped: collect"), "{all}");

    let back = tick("2026-11-21T08:24:00Z", &["--set", &url])?;
    ensure!(back.status.success(), "{}", said(&back));
    let range = ["--from", BEGIN, "--to", "2026-11-21T08:30:00Z"];
    let shown = workspace.run(&[&["messages", "node"][..], &range].concat())?;
    for words in ["node is no longer scored", "node is scored again", "sent to file "] {
        ensure!(shown.contains(words), "{words}: {shown}");
    }
    let listed = workspace.json(&[&["messages", "node"][..], &range].concat())?;
    let last = listed.as_array().and_then(|all| all.last()).context("messages")?;
    assert_eq!(last["message"]["alerts"][0]["kind"], "scoring_stopped");
    let status = workspace.json(&["status", "node.yaml", "--now", "2026-11-21T08:24:00Z"])?;
    assert_eq!(status["stopped"], serde_json::Value::Null);
    Ok(())
}

#[test]
fn tick_with_hanging_service_ends_in_time_and_names_it() -> anyhow::Result<()> {
    let server = Prometheus::recorded()?;
    let workspace = trained(&server)?;
    let silent = FaultProxy::start(None, &[], Fault::Silence)?;
    let url = format!("sources.main.prometheus.url={}", silent.url());
    let tick = ["score", "node.yaml", "--at", "2026-11-21T08:16:00Z", "--within", "9s"];
    let slow = ["--set", "sources.main.prometheus.timeout=1h", "--set", &url];
    let output = workspace.output(&[&tick[..], &slow].concat())?;
    assert_eq!(code(output.status), 4, "{}", said(&output));
    let words = said(&output);
    ensure!(words.contains("collect: the step did not end within its deadline of"), "{words}");
    ensure!(words.contains(&format!("waiting for the source `{}", silent.url())), "{words}");

    let mut bucket = std::process::Command::new(env!("CARGO_BIN_EXE_lynceus"));
    bucket.args(tick).current_dir(workspace.path());
    bucket.args(["--set", &format!("sources.main.prometheus.url={}", server.url())]);
    bucket.env("LYNCEUS_STORE", "s3://bucket/prefix").envs([
        ("AWS_ENDPOINT_URL", silent.url().as_str()),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_REGION", "us-east-1"),
        ("LYNCEUS_S3_REPLY_SECONDS", "600"),
    ]);
    let output = bucket.output()?;
    assert_eq!(code(output.status), 4, "{}", said(&output));
    let words = said(&output);
    ensure!(words.contains("waiting for the store `s3://bucket/prefix`"), "{words}");
    Ok(())
}

#[test]
fn tick_before_first_model_succeeds_with_a_message() -> anyhow::Result<()> {
    let server = Prometheus::recorded()?;
    let workspace = trained(&server)?;
    fs_err::remove_dir_all(workspace.store().join("models"))?;
    let url = format!("sources.main.prometheus.url={}", server.url());
    let tick = ["score", "node.yaml", "--at", "2026-11-21T08:16:00Z", "--set", &url];
    assert_eq!(
        workspace.run(&tick)?,
        "no model of `node` is `live` yet, train one: lynceus run node\n"
    );
    ensure!(!workspace.store().join("scores").exists());
    Ok(())
}

/// Starts `lynceus watch` and returns it once it has reported a scored window.
fn watching(workspace: &Workspace) -> anyhow::Result<(std::process::Child, impl BufRead + use<>)> {
    let mut command = workspace.lynceus(&["watch", "node.yaml", "--retries", "0"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().context("stderr")?);
    let mut line = String::new();
    stderr.read_line(&mut line)?;
    ensure!(line.starts_with("scoring node every 1m; Ctrl-C stops it"), "{line}");
    Ok((child, stderr))
}

#[test]
fn watch_continues_after_failed_tick_and_stops_on_ctrl_c() -> anyhow::Result<()> {
    let server = Prometheus::recorded()?;
    let workspace = trained(&server)?;
    let (mut child, mut stderr) = watching(&workspace)?;
    // No server answers at the document's URL; the next tick starts a minute later.
    let mut said = String::new();
    while !said.contains("error: collect") {
        ensure!(stderr.read_line(&mut said)? > 0, "{said}");
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT)?;
    std::io::Read::read_to_string(&mut stderr, &mut said)?;
    assert_eq!(code(child.wait()?), 0, "{said}");
    ensure!(said.contains("scores the windows that come due meanwhile"), "{said}");
    Ok(())
}

#[test]
fn watch_scores_due_windows() -> anyhow::Result<()> {
    let quiet: contract::Timestamp = "2026-11-21T08:35:00Z".parse().map_err(anyhow::Error::msg)?;
    let now = jiff::Timestamp::now().as_millisecond();
    let server = Prometheus::later((now - quiet.ms()) as f64 / 1000.0)?;
    let workspace = Workspace::new()?;
    let past = Prometheus::recorded()?;
    let recorded = trained(&past)?;
    fs_err::copy(recorded.path().join("node.yaml"), workspace.path().join("node.yaml"))?;
    let url = format!("sources.main.prometheus.url={}", server.url());
    workspace.run(&["run", "node.yaml", "--set", &url])?;
    let said = workspace.run(&["watch", "node.yaml", "--ticks", "1", "--set", &url])?;
    ensure!(said.contains("windows scored"), "{said}");
    ensure!(workspace.store().join("scores/node").exists());
    Ok(())
}
