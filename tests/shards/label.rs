//! Shards by the value of a label.

use std::collections::BTreeMap;

use anyhow::ensure;
use contract::{Shard, read_json};
use serde_json::Value;

use super::{hashes, only, predicted, score, train, windows, with};
use crate::workspace::{Workspace, differences};

/// A workspace with hosts in three zones, in shards by zone or as a whole.
fn zoned(has_shards: bool, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Workspace> {
    let workspace = with(1, |host| wanted(zone(host)))?;
    let rows = fs_err::read_to_string(workspace.path().join("rows.csv"))?;
    let with_zone = |line: &str| -> String {
        let cells: Vec<&str> = line.split(',').collect();
        let zone = if cells[1] == "host" { "zone" } else { zone(cells[1]) };
        format!("{},{zone}\n", cells[..4].join(","))
    };
    fs_err::write(
        workspace.path().join("rows.csv"),
        rows.lines().map(with_zone).collect::<String>(),
    )?;
    let path = workspace.path().join("hosts.yaml");
    let document = fs_err::read_to_string(&path)?;
    let mut unlabelled = document.replace(", label: label", "");
    ensure!(unlabelled != document, "the document has no label");
    if has_shards {
        unlabelled.push_str("shards: {count: 2, by: label, label: zone}\n");
    }
    fs_err::write(&path, unlabelled)?;
    Ok(workspace)
}

fn zone(host: &str) -> &'static str {
    match host.trim_start_matches('h').parse::<u32>().unwrap_or_default() % 3 {
        0 => "north",
        1 => "south",
        _ => "east",
    }
}

#[test]
fn shard_by_label_is_a_pipeline_with_the_entities_of_its_values_alone() -> anyhow::Result<()> {
    let whole = zoned(true, |_| true)?;
    train(&whole)?;
    score(&whole)?;
    let version = only(&whole.store().join("models/hosts/versions"))?;
    let manifest: Value = read_json(&version.join("bundle.json"))?;
    assert_eq!(manifest["division"]["label"], "zone");
    let found = predicted(&whole, "rows.csv")?;
    let mut expected = BTreeMap::new();
    for shard in Shard::all(2) {
        let alone = zoned(false, |zone| shard.holds(zone))?;
        train(&alone)?;
        score(&alone)?;
        let own = only(&alone.store().join("models/hosts/versions"))?;
        let (here, there) = (hashes(&own)?, hashes(&version.join(shard.part()))?);
        assert_eq!(differences(&here, &there), [""; 0], "shard {shard}");
        let here = windows(&alone.store().join("scores/hosts"))?;
        let there = windows(&whole.store().join("scores/hosts").join(shard.folder()))?;
        assert_eq!(here, there, "shard {shard}");
        expected.extend(predicted(&alone, "rows.csv")?);
    }
    assert_eq!(found, expected);

    // Until a new training divides the entities, no shard is scored with the model of other
    // entities.
    let by_hash = ["--set", "shards.by=hash", "--set", "shards.label=null"];
    let tick = ["score", "hosts.yaml", "--at", "2026-11-21T07:00:30Z"];
    let output = whole.output(&[&tick[..], &by_hash].concat())?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("by the label `zone`, and is to be used by hash"), "{said}");
    Ok(())
}
