//! Does `lynceus scenario check` distinguish a data set that shows its faults from one that does
//! not?

use anyhow::{Context as _, Result};
use contract::{FeatureColumn, FeatureContract, Span, Timestamp};
use frames::{Column, FeatureTable, Table};
use serde_json::Value;

use crate::workspace::Workspace;

const FILE: &str = "
format: 1
name: check
log: log.csv
steps:
  - {label: cpu_stress, for: 2m, local: {cpu: {workers: 1}}}
  - {label: disk_stress, for: 2m, local: {disk: {workers: 1, disk_mib: 1}}}
";

const LOG: &str = "start,end,label,target
2026-11-29T10:10:03Z,2026-11-29T10:14:03Z,cpu_stress,
2026-11-29T10:20:03Z,2026-11-29T10:24:03Z,disk_stress,
";

/// Forty minutes, with a window each 10 s. CPU and disk metrics follow their faults 25 s late.
fn features(rows: impl Iterator<Item = usize>) -> Result<FeatureTable> {
    let start = "2026-11-29T10:00:00Z".parse::<Timestamp>().map_err(anyhow::Error::msg)?;
    let column = |name: &str| FeatureColumn {
        name: name.to_owned(),
        unit: String::new(),
        formula: "sample".to_owned(),
    };
    let names = ["cpu", "disk", "noise"];
    let mut columns = names.map(|name| Column { name: name.to_owned(), values: Vec::new() });
    let mut times = Vec::new();
    for row in rows {
        let seconds = 10.0 * row as f64;
        times.push(Timestamp::from_ms(start.ms() + 10_000 * i64::try_from(row)?));
        let noise = ((row * 7919) % 101) as f64 / 101.0;
        let during = |from: f64| (from + 25.0..from + 265.0).contains(&seconds);
        columns[0].values.push(noise + if during(603.0) { 5.0 } else { 0.0 });
        columns[1].values.push(noise - if during(1203.0) { 5.0 } else { 0.0 });
        columns[2].values.push(noise);
    }
    let rows = times.len();
    let contract = FeatureContract {
        format: FeatureContract::FORMAT,
        step: Span::from_seconds(10),
        lookback: Span::ZERO,
        fill: "none".to_owned(),
        columns: names.map(column).to_vec(),
    };
    let table = Table {
        times,
        entity: vec![0; rows],
        entities: vec![String::new()],
        columns: columns.to_vec(),
    };
    Ok(FeatureTable { contract, table, warm_up: vec![false; rows], labels: None })
}

/// Checks a table; returns the exit code, what was said, and the result.
fn check(table: &FeatureTable, log: &str, flags: &[&str]) -> Result<(i32, String, Value)> {
    let workspace = Workspace::new()?;
    for (name, text) in [("check.yaml", FILE), ("log.csv", log)] {
        fs_err::write(workspace.path().join(name), text)?;
    }
    table.write(&workspace.path().join("features.parquet"))?;
    let fixed = ["scenario", "check", "check.yaml", "--features", "features.parquet"];
    let output = workspace.output(&[&fixed, flags, &["--output", "json"]].concat())?;
    let code = output.status.code().context("an exit code")?;
    let said = String::from_utf8(output.stderr)?;
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok((code, said, report))
}

#[test]
fn faults_that_show_pass_with_their_feature_and_their_offset_to_the_metrics() -> Result<()> {
    let (code, said, report) = check(&features(0..240)?, LOG, &[])?;
    assert_eq!(code, 0, "{said}");
    for (label, name, feature) in [(0, "cpu_stress", "cpu"), (1, "disk_stress", "disk")] {
        let label = &report["labels"][label];
        assert_eq!((&label["label"], &label["feature"]), (&name.into(), &feature.into()));
        assert_eq!(label["auc"], 1.0);
        // The fault began at 10:10:03 and is visible in the metrics from the window of 10:10:30 on.
        assert_eq!(label["delay_seconds"], 27.0, "{label}");
        assert!(label["rows"].as_u64().context("rows")? >= 17, "{label}");
    }
    Ok(())
}

#[test]
fn data_set_that_is_not_good_enough_is_refused_with_every_reason() -> Result<()> {
    let (without_rows, whole) = (features((0..240).filter(|row| *row != 50))?, features(0..240)?);
    let late = LOG.replace("T10:20:03Z,2026-11-29T10:24:03Z", "T10:30:03Z,2026-11-29T10:34:03Z");
    for (table, log, flags, words) in [
        (&whole, LOG, &["--min-rows", "30"][..], "`cpu_stress` has 18 rows, 30 are needed"),
        (&whole, LOG, &["--min-normal", "0.9"], "of the rows are normal, 90 % are needed"),
        (&without_rows, LOG, &[], "1 rows of the cluster are missing between others"),
        (&whole, &late, &[], "`disk_stress` shows in no feature"),
    ] {
        let (code, said, _) = check(table, log, flags)?;
        assert_eq!(code, 3, "{words}: {said}");
        assert!(said.contains(words), "{words}: {said}");
    }
    let twice = LOG.replace("T10:20:03Z", "T10:12:03Z");
    let (code, said, _) = check(&whole, &twice, &[])?;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("overlaps `cpu_stress`"), "{said}");
    Ok(())
}
