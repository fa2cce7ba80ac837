//! Problems that users reported, tested from a real server to the scores: they must not stop
//! detection.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use rand::{Rng as _, SeedableRng as _};

use crate::prometheus::{Prometheus, recorded_text};
use crate::workspace::{Workspace, pipelines};

/// Begin of the made-up samples, in seconds: 2026-11-21T08:00:00Z.
const BEGIN: i64 = 1_795_248_000;
/// When the exporter of `n1` moves: 08:30. A server sees the old series for five more minutes.
const MOVED: i64 = BEGIN + 1800;

/// An hour of three nodes, a sample every ten seconds; the exporter of `n1` moves in between.
fn moved() -> anyhow::Result<String> {
    let mut text = "# TYPE load gauge\n".to_owned();
    for (node, instance, from, to) in [
        ("n1", "10.0.0.1:9100", 0, 1800),
        ("n1", "10.0.0.9:9100", 1800, 3600),
        ("n2", "10.0.0.2:9100", 0, 3600),
        ("n3", "10.0.0.3:9100", 0, 3600),
    ] {
        for second in (from..to).step_by(10) {
            let value = second * 7919 % 97;
            let labels = format!("node=\"{node}\",instance=\"{instance}\"");
            writeln!(text, "load{{{labels}}} 10.{value:02} {}", BEGIN + second)?;
        }
    }
    text.push_str("# TYPE rack gauge\n");
    for (node, rack, from, to) in
        [("n1", "a", 0, 1800), ("n1", "b", 1800, 3600), ("n2", "a", 0, 3600), ("n3", "a", 0, 3600)]
    {
        for second in (from..to).step_by(10) {
            writeln!(text, "rack{{node=\"{node}\",rack=\"{rack}\"}} 1 {}", BEGIN + second)?;
        }
    }
    text.push_str("# EOF\n");
    Ok(text)
}

/// Trains on 25 minutes, scores the next 20 in two ticks, and returns how many windows of each
/// entity and part (before, while and after two series exist for `n1`) have a verdict.
fn verdicts(promql: &str) -> anyhow::Result<BTreeMap<(String, &'static str, String), usize>> {
    let server = Prometheus::with(&moved()?, &[])?;
    let workspace = Workspace::new()?;
    let text = format!(
        "format: 1\nname: nodes\nstep: 10s\nrange: 25m\nrate_window: 1m\n\
         sources: {{main: {{prometheus: {{url: '{}', retries: 0}}, queries: [{{name: load, promql: '{promql}', entity: node}}]}}}}\n\
         features: [raw: {{}}]\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\ngate: {{max_false_alarm_ratio: 1}}\n\
         scoring: {{every: 10m, delay: 0s, catch_up: 2h}}\n",
        server.url()
    );
    fs_err::write(workspace.path().join("nodes.yaml"), text)?;
    let clock =
        |minute: i64| contract::Timestamp::from_ms((BEGIN + 60 * minute) * 1000).to_string();
    workspace.run(&["run", "nodes.yaml", "--now", &clock(25)])?;
    for minute in [35, 45] {
        let tick = ["score", "nodes.yaml", "--since", &clock(25), "--at", &clock(minute)];
        workspace.run(&tick)?;
    }
    let range = ["--from", &clock(25), "--to", &clock(45)];
    let scores = workspace.json(&[&["scores", "nodes.yaml"][..], &range].concat())?;
    let mut counts = BTreeMap::new();
    for window in scores.as_array().context("scores")? {
        let end: contract::Timestamp = serde_json::from_value(window["time"].clone())?;
        let part = match end.ms() / 1000 - MOVED {
            ..0 => "before",
            0..300 => "while",
            _ => "after",
        };
        for entity in window["entities"].as_array().context("entities")? {
            let of = |field: &str| entity[field].as_str().unwrap_or_default().to_owned();
            let verdict = match of("verdict").as_str() {
                "no_data" => format!("no_data: {}", of("reason")),
                _ => "scored".to_owned(),
            };
            *counts.entry((of("entity"), part, verdict)).or_default() += 1;
        }
    }
    Ok(counts)
}

#[test]
fn two_series_of_one_node_cost_the_windows_of_that_node_alone() -> anyhow::Result<()> {
    let counts = verdicts("load")?;
    let count = |entity: &str, part: &'static str, verdict: &str| {
        let of = counts
            .iter()
            .filter(|((e, p, v), _)| e == entity && *p == part && v.starts_with(verdict));
        of.map(|(_, count)| count).sum::<usize>()
    };
    for node in ["n2", "n3"] {
        for (part, windows) in [("before", 29), ("while", 30), ("after", 61)] {
            assert_eq!(count(node, part, "scored"), windows, "{node} {part}: {counts:?}");
        }
    }
    assert_eq!(count("n1", "before", "scored"), 29, "{counts:?}");
    assert_eq!(count("n1", "while", "scored"), 0, "{counts:?}");
    assert_eq!(count("n1", "after", "scored"), 61, "{counts:?}");
    Ok(())
}

#[test]
fn a_join_that_the_server_refuses_for_five_minutes_costs_those_five_minutes() -> anyhow::Result<()>
{
    let counts = verdicts("load * on (node) group_left (rack) rack")?;
    let scored = |part: &str| {
        let of = counts.iter().filter(|((_, p, v), _)| *p == part && v == "scored");
        of.map(|(_, count)| count).sum::<usize>()
    };
    assert_eq!(
        (scored("before"), scored("while"), scored("after")),
        (3 * 29, 0, 3 * 61),
        "{counts:?}"
    );
    let why =
        counts.keys().find(|(_, part, _)| *part == "while").context("windows of the overlap")?;
    ensure!(why.2.contains("many-to-many"), "{why:?}");
    Ok(())
}

/// Managed clusters have no metrics of the scheduler, many have no ingress controller, and where
/// nothing is scheduled a quantile is NaN.
#[test]
fn shipped_document_trains_on_managed_cluster_metrics() -> anyhow::Result<()> {
    let mut text = String::new();
    for line in recorded_text()?.lines() {
        let is_absent = ["scheduler_", "nginx_"]
            .iter()
            .any(|name| line.strip_prefix("# TYPE ").unwrap_or(line).starts_with(name));
        if !is_absent && line != "# EOF" {
            writeln!(text, "{line}")?;
        }
    }
    text.push_str("# TYPE scheduler_scheduling_attempt_duration_seconds histogram\n");
    // 07:50 to 08:36; pods are scheduled in the first ten minutes alone.
    for second in (0..2760).step_by(5) {
        let (count, time) = (second.min(600), 1_795_247_400 + second);
        let name = "scheduler_scheduling_attempt_duration_seconds";
        writeln!(text, "{name}_bucket{{le=\"0.1\"}} {count} {time}")?;
        writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count} {time}")?;
    }
    text.push_str("# EOF\n");
    let server = Prometheus::with(&text, &[])?;
    let workspace = Workspace::new()?;
    let sample = pipelines().join("samples/cluster.yaml").display().to_string();
    let url = format!("sources.metrics.prometheus.url={}", server.url());
    let output = workspace.output(&[
        "run",
        "cluster",
        "--overlay",
        &sample,
        "--set",
        "sources.metrics.recording=null",
        "--set",
        &url,
        "--now",
        "2026-11-21T08:36:00Z",
        "--verbose",
    ])?;
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}");
    for query in
        ["scheduling_failed_pods", "scheduler_preemption_attempts", "active_client_connections"]
    {
        ensure!(said.contains(&format!("query `{query}` gave no series")), "{query}: {said}");
    }
    ensure!(
        !said.contains("query `scheduler_scheduling_latency_seconds` gave no series"),
        "{said}"
    );
    let model = workspace.json(&["models", "show", "cluster", "live"])?.to_string();
    ensure!(model.contains("scheduler_scheduling_latency_seconds"), "{model}");
    ensure!(!model.contains("scheduler_preemption_attempts"), "{model}");
    Ok(())
}

/// Trains the default model on twelve hours of 26 signals and scores the next day, in which the first signal is
/// gone from two hours on if `is_gone`; returns how many windows are anomalous, and all messages.
fn day(is_gone: bool) -> anyhow::Result<(usize, Vec<serde_json::Value>)> {
    const COLUMNS: usize = 26;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(26);
    let mut noise = [0.0_f64; COLUMNS];
    let names: Vec<String> = (0..COLUMNS).map(|column| format!("f{column:02}")).collect();
    let mut text = format!("time,{}\n", names.join(","));
    for minute in 0..720 + 1440 {
        let wave = (minute as f64 / 115.0).sin();
        write!(text, "{}", BEGIN + 60 * minute)?;
        for (column, noise) in noise.iter_mut().enumerate() {
            *noise = 0.8 * *noise + random.random_range(-1.0..1.0);
            // Every second signal follows the same wave.
            let value = 50.0 + *noise + if column % 2 == 0 { 5.0 * wave } else { 0.0 };
            text.push(',');
            if !(is_gone && column == 0 && minute >= 720 + 120) {
                write!(text, "{value:.4}")?;
            }
        }
        text.push('\n');
    }
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("rows.csv"), text)?;
    let document = "format: 1\nname: h5\nstep: 1m\nrange: 12h\n\
         sources: {rows: {table: {path: rows.csv, time: time, time_format: seconds}}}\n\
         fill: {forward: {max_windows: 3}}\nfeatures: [raw: {}]\nmodels: {adaptive: {}}\n\
         vote: {combine: votes, threshold: {false_alarms: {per_day: 2}}}\ngate: {max_false_alarm_ratio: 0.5}\n\
         scoring: {every: 1m, delay: 0s, catch_up: 1d}\nalerts: {for: 2, resolve_after: 5, cool_down: 10m, channels: [stdout]}\n";
    fs_err::write(workspace.path().join("h5.yaml"), document)?;
    let clock =
        |minute: i64| contract::Timestamp::from_ms((BEGIN + 60 * minute) * 1000).to_string();
    let (trained, end) = (clock(719), clock(719 + 1440));
    workspace.run(&["run", "h5.yaml", "--now", &trained])?;
    for hours in (2..=24).step_by(2) {
        let at = clock(719 + 60 * hours);
        workspace.run(&["score", "h5.yaml", "--since", &trained, "--at", &at])?;
    }
    let range = ["--from", &trained, "--to", &end];
    let scores = workspace.json(&[&["scores", "h5.yaml"][..], &range].concat())?;
    let scores = scores.as_array().context("scores")?;
    assert_eq!(scores.len(), 1440);
    let anomalous = scores.iter().filter(|it| it["entities"][0]["verdict"] == "anomalous").count();
    let messages = workspace.json(&[&["messages", "h5"][..], &range].concat())?;
    Ok((anomalous, messages.as_array().context("messages")?.clone()))
}

/// After an upgrade one metric of 26 has another name.
#[test]
fn one_column_of_26_that_vanishes_for_good_is_named_and_makes_no_other_suspicious()
-> anyhow::Result<()> {
    let (usual, _) = day(false)?;
    let (anomalous, messages) = day(true)?;
    ensure!(anomalous <= usual + 15, "{anomalous} of 1440 windows, and {usual} with all columns");
    let alerts: Vec<&serde_json::Value> = messages
        .iter()
        .flat_map(|it| it["message"]["alerts"].as_array().into_iter().flatten())
        .collect();
    assert_eq!(alerts.first().map(|alert| &alert["kind"]), Some(&"feature_missing".into()));
    let missing = alerts.iter().find(|alert| alert["kind"] == "feature_missing");
    let missing = missing.context("a message about the missing column")?.to_string();
    ensure!(missing.contains("f00") && !missing.contains("f01"), "{missing}");
    for alert in alerts.iter().filter(|alert| alert["kind"] == "anomaly") {
        ensure!(!alert["causes"].to_string().contains("f00"), "it is no cause: {alert}");
    }
    Ok(())
}
