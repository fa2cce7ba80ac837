//! Does `lynceus run node --sample` find faults of nodes, and does an exported data set include its
//! raw data?

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use contract::Timestamp;
use serde_json::Value;

use crate::workspace::Workspace;

#[test]
fn sample_of_nodes_finds_most_faults_and_its_rows_come_with_their_events() -> Result<()> {
    let workspace = Workspace::new()?;
    let said = workspace.run(&["run", "node", "--sample"])?;
    let faults = [
        "cpu_stress",
        "memory_leak",
        "disk_stress",
        "tmp_exec",
        "process_storm",
        "mining_ports",
        "port_scan",
        "reverse_shell",
    ];
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("found")).collect();
    let is_found =
        |line: &&&str| faults.iter().any(|it| line.starts_with(it)) && !line.contains("not found");
    assert!(lines.iter().filter(is_found).count() >= 14, "of 16: {said}");
    let outside = said.lines().find_map(|line| line.split_once(" alarms began outside a fault"));
    let outside: u32 = outside.context("no line about other alarms")?.0.parse()?;
    assert!(outside <= 12, "{said}");

    workspace.run(&["dataset", "export", "node", "--to", "node.csv", "--raw"])?;
    let path = workspace.path().join("node.csv");
    let table = fs_err::read_to_string(path)?;
    let mut rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = rows.next().context("no header")?;
    let execs = names.iter().position(|name| *name == "exec_count").context("no execs")?;
    let mut counted: BTreeMap<String, f64> = BTreeMap::new();
    let mut times = Vec::new();
    for row in rows {
        times.push(row[0].parse::<Timestamp>().map_err(anyhow::Error::msg)?);
        let count: f64 = if row[execs].is_empty() { 0.0 } else { row[execs].parse()? };
        *counted.entry(row[1].to_owned()).or_default() += count;
    }
    let raw = workspace.path().join("node.raw");
    let (first, last) = (times.iter().min().context("rows")?, times.iter().max().context("rows")?);
    let mut started: BTreeMap<String, f64> = BTreeMap::new();
    for line in fs_err::read_to_string(raw.join("processes.jsonl"))?.lines() {
        let event: Value = serde_json::from_str(line)?;
        let time: Timestamp =
            event["time"].as_str().context("time")?.parse().map_err(anyhow::Error::msg)?;
        assert!(time > *first - contract::Span::from_seconds(10) && time <= *last, "{time}");
        if event["process_exec"].is_object() {
            let node = event["node_name"].as_str().context("node")?;
            *started.entry(node.to_owned()).or_default() += 1.0;
        }
    }
    assert_eq!(started, counted, "programs that were started, by node");
    let samples = frames::Samples::read(&raw.join("samples.parquet"))?;
    assert!(samples.table.column("cpu_idle_cores").is_some());

    workspace.run(&["dataset", "export", "node", "--format", "parquet", "--to", "node.parquet"])?;
    let written = frames::FeatureTable::read(&workspace.path().join("node.parquet"))?;
    assert_eq!(written.rows(), times.len());
    Ok(())
}

#[test]
fn sample_of_the_profile_without_tetragon_reads_no_process_events() -> Result<()> {
    let workspace = Workspace::new()?;
    let sources = |more: &[&str]| -> Result<Vec<String>> {
        let document =
            workspace.json(&[["document", "node", "--sample"].as_slice(), more].concat())?;
        let sources = document["sources"].as_object().context("sources")?;
        Ok(sources.keys().cloned().collect())
    };
    assert_eq!(sources(&[])?, ["metrics", "processes"]);
    assert_eq!(sources(&["--set", "profile=metrics"])?, ["metrics"]);
    Ok(())
}

const ROLES: &str = "format: 1
name: roles
step: 1m
range: 1d
now: last_row
sources:
  rows:
    table: {path: rows.csv, time: time, time_format: seconds, entity: node, columns: [idle_cores]}
    entity: {texts: {role: node_role}}
features: [peers: {window: 10m, group_by: role}]
models: {z_score: {}}
vote: {combine: votes, threshold: {quantile: {share: 0.999}}}
gate: {max_false_alarm_ratio: 0.5}
";

/// Three busy nodes of the control plane and five idle workers, a row a minute each; from minute 430
/// on `worker-7` is as busy as the control plane.
fn nodes(minutes: i64) -> String {
    let mut text = "time,node,node_role,idle_cores\n".to_owned();
    for minute in 0..minutes {
        for node in 0..8 {
            let (role, usual) = if node < 3 { ("control-plane", 1.0) } else { ("worker", 6.0) };
            let level = if node == 7 && minute >= 430 { 1.0 } else { usual };
            let noise = ((minute * 31 + node * 37).rem_euclid(97)) as f64 / 97.0;
            let (time, name) = (1_795_219_200 + 60 * minute, &role[..6]);
            writeln!(text, "{time},{name}-{node},{role},{}", level + noise).expect("a string");
        }
    }
    text
}

#[test]
fn busy_control_plane_is_usual_and_a_worker_as_busy_departs_from_its_pool() -> Result<()> {
    let workspace = Workspace::new()?;
    let rows = workspace.path().join("rows.csv");
    fs_err::write(&rows, nodes(400))?;
    fs_err::write(workspace.path().join("roles.yaml"), ROLES)?;
    workspace.run(&["run", "roles.yaml"])?;
    fs_err::write(&rows, nodes(460))?;
    workspace.run(&["score", "roles.yaml", "--since", "2026-11-21T06:39:00Z"])?;
    let said = workspace.run(&["scores", "roles.yaml", "--last", "30m", "--output", "csv"])?;
    let mut lines = said.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().context("a header")?;
    let place = |name: &str| header.iter().position(|it| *it == name).context("a column");
    let (entity, score, verdict) = (place("entity")?, place("score")?, place("verdict")?);
    let (mut departed, mut others, mut count) = (f64::MAX, 0.0_f64, 0);
    for line in lines {
        let score: f64 = line[score].parse()?;
        count += 1;
        if line[entity] == "worker-7" {
            departed = departed.min(score);
            assert_eq!(line[verdict], "anomalous", "{line:?}");
        } else {
            others = others.max(score);
        }
    }
    assert_eq!(count, 8 * 30);
    assert!(departed > 1.5 * others, "{departed} {others}");
    Ok(())
}
