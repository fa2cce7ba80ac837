//! Does `lynceus run node --sample` find faults of nodes, and does a data set come with what it was
//! made of?

use std::collections::BTreeMap;

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
    ];
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("found")).collect();
    let is_found =
        |line: &&&str| faults.iter().any(|it| line.starts_with(it)) && !line.contains("not found");
    assert!(lines.iter().filter(is_found).count() >= 11, "of 14: {said}");
    assert!(said.contains("\n0 alarms began outside a fault"), "{said}");

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
