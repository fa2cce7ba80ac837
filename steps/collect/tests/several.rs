//! `collect` from several sources, joined on time and entity.

mod support;

use anyhow::{Result, ensure};
use support::{Place, RECORDED_END, recording};

const NOW: &str = "2026-11-21T09:03:00Z";

const NODES: &str = "time,node,cpu,load\n\
    2026-11-21T09:01:00Z,node-1,1,10\n2026-11-21T09:01:00Z,node-2,2,20\n\
    2026-11-21T09:02:00Z,node-1,3,30\n2026-11-21T09:03:00Z,node-1,4,40\n";
const HOSTS: &str = "time,host,cpu\n\
    2026-11-21T09:00:50Z,node-1.example.com:9100,100\n\
    2026-11-21T09:02:50Z,node-1.example.com:9100,300\n2026-11-21T09:02:55Z,10.0.0.2:9100,200\n";

fn place(nodes: &str, hosts: &str) -> Result<Place> {
    let place = Place::new(&format!(
        "step: 1m\nrange: 3m\nsources:\n  \
         nodes: {{table: {{path: nodes.csv, time: time, entity: node, columns: [cpu, load]}}{nodes}}}\n  \
         hosts: {{table: {{path: hosts.csv, time: time, entity: host, columns: [cpu]}}{hosts}}}"
    ))?;
    place.file("nodes.csv", NODES)?;
    place.file("hosts.csv", HOSTS)?;
    Ok(place)
}

const RULES: &str =
    ", tolerance: 1m, entity: {strip_port: true, strip_domain: true, names: {10.0.0.2: node-2}}";

#[test]
fn two_tables_are_joined_on_time_and_renamed_entity() -> Result<()> {
    let place = place("", RULES)?;
    let samples = place.samples(NOW, &[])?;
    let table = &samples.table;
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["hosts_cpu", "nodes_cpu", "load"], "sources in order of their names");
    let rows: Vec<(String, &str, f64, f64)> = (0..table.rows())
        .map(|row| {
            let value = |column: usize| table.columns[column].values[row];
            (table.times[row].to_string(), table.entity_of(row), value(0), value(2))
        })
        .collect();
    let expected = [
        ("2026-11-21T09:01:00Z", "node-1", 100.0, 10.0),
        ("2026-11-21T09:01:00Z", "node-2", f64::NAN, 20.0),
        ("2026-11-21T09:02:00Z", "node-1", f64::NAN, 30.0),
        ("2026-11-21T09:03:00Z", "node-1", 300.0, 40.0),
        ("2026-11-21T09:03:00Z", "node-2", 200.0, f64::NAN),
    ];
    assert_eq!(rows.len(), expected.len(), "{rows:?}");
    for (found, expected) in rows.iter().zip(expected) {
        assert_eq!((found.0.as_str(), found.1), (expected.0, expected.1));
        assert_eq!(found.2.to_bits(), expected.2.to_bits(), "{found:?}");
        assert_eq!(found.3.to_bits(), expected.3.to_bits(), "{found:?}");
    }
    let counts = &place.outcome()?["counts"];
    assert_eq!(
        (&counts["rows"], &counts["columns"], &counts["entities"]),
        (&5.into(), &3.into(), &2.into())
    );
    Ok(())
}

#[test]
fn rows_outside_windows_are_warned_about_with_the_setting() -> Result<()> {
    let place = place("", "")?;
    place.samples(NOW, &[])?;
    let warnings = place.outcome()?["warnings"].to_string();
    ensure!(warnings.contains("3 rows of the source `hosts`"), "{warnings}");
    ensure!(warnings.contains("`sources.hosts.tolerance`"), "{warnings}");
    Ok(())
}

#[test]
fn a_table_out_of_order_is_sorted_before_it_is_joined() -> Result<()> {
    let sorted = place("", RULES)?;
    sorted.samples(NOW, &[])?;
    let unsorted = place("", RULES)?;
    let mut lines: Vec<&str> = NODES.lines().collect();
    lines.swap(1, 4);
    unsorted.file("nodes.csv", lines.join("\n"))?;
    unsorted.samples(NOW, &[])?;
    let read = |place: &Place| fs_err::read(place.path("samples.parquet"));
    assert_eq!(read(&sorted)?, read(&unsorted)?);
    Ok(())
}

#[test]
fn a_recording_is_joined_with_a_table_and_each_flag_names_its_source() -> Result<()> {
    let place = Place::new(
        "step: 1m\nrange: 10m\nsources:\n  \
         metrics: {recording: {path: nowhere}, queries: [{name: load_1m, promql: x, entity: node}]}\n  \
         power: {table: {path: nowhere.csv, time: time, entity: node, columns: [watts], label: state}, tolerance: 5m}",
    )?;
    place.file("p.csv", "time,node,watts,state\n2026-11-21T09:13:30Z,edge-1,42.5,normal\n")?;
    let metrics = format!("metrics={}", recording("cluster_node").display());
    let samples =
        place.samples(RECORDED_END, &["--source", &metrics, "--source", "power=p.csv"])?;
    assert_eq!(samples.table.rows(), 10);
    let watts = &samples.table.columns[1];
    assert_eq!(watts.name, "watts");
    let carried = watts.values.iter().filter(|value| !value.is_nan()).count();
    assert_eq!(carried, 5, "the windows within five minutes of it: {:?}", watts.values);
    let labels = samples.labels.unwrap_or_default();
    assert_eq!(labels.iter().filter(|label| *label == "normal").count(), 5);
    for (flags, part) in [
        (
            vec!["--source", "p.csv"],
            "write it as NAME=PATH; sources that read a file: metrics, power",
        ),
        (vec!["--source", "other=p.csv"], "no source `other`"),
    ] {
        let said = place.fails_keeping(RECORDED_END, &flags, 2)?;
        ensure!(said.contains(part), "{said}");
    }
    Ok(())
}

#[test]
fn documents_whose_sources_cannot_be_joined_are_refused() -> Result<()> {
    for (sources, part) in [
        ("{}", "at least one source is needed"),
        ("{a: {}}", "exactly one of prometheus"),
        ("{A: {table: {path: t, time: t}}}", "is not a source name"),
        (
            "{a: {table: {path: t, time: t}}, b: {table: {path: t, time: t, columns: [x]}}}",
            "one of several sources must list its `columns`",
        ),
        ("{a: {table: {path: t, time: t}, queries: [{name: a, promql: a}]}}", "takes no queries"),
        ("{a: {recording: {path: r}}}", "needs at least one query"),
        ("{a: {table: {path: t, time: t}, broadcast: true}}", "needs a second source"),
        ("{a: {table: {path: t, time: t}, tolerance: -1m}}", "tolerance"),
    ] {
        let place = Place::new(&format!("step: 1m\nrange: 1d\nsources: {sources}"))?;
        let said = place.fails(NOW, &[], 2)?;
        ensure!(said.contains(part), "{sources}: {said}");
    }
    Ok(())
}
