//! Do scores and features of a real run reach a real `PostgreSQL`?

use anyhow::{Context as _, Result};

use crate::database_server as server;
use crate::workspace::Workspace;

#[test]
fn the_last_window_of_the_sample_is_a_row_with_score_version_and_features() -> Result<()> {
    if server::is_off() {
        return Ok(());
    }
    let server = server::Postgres::shared()?;
    let (database, url) = server.database_to_write()?;
    let set = format!("exports.database.postgres.server.url={url}");
    let workspace = Workspace::new()?;
    workspace.run(&["run", "cluster", "--sample", "--set", &set])?;
    let row = "SELECT time, attack IS NOT NULL, score BETWEEN 0 AND 1, container_cpu_usage_cores > 0 FROM lynceus.cluster";
    assert_eq!(server.run(&database, row)?, "2026-11-21 09:22:00+00|t|t|t");
    let version = server.run(&database, "SELECT version FROM lynceus.cluster")?;
    let live = workspace.json(&["runs", "show", "cluster", "last"])?;
    assert!(!version.is_empty() && live["run"].is_string(), "{version}");
    Ok(())
}

#[test]
fn z_scores_get_columns_of_their_own_once_they_are_asked_for() -> Result<()> {
    if server::is_off() {
        return Ok(());
    }
    let server = server::Postgres::shared()?;
    let (database, url) = server.database_to_write()?;
    let set = format!("exports.database.postgres.server.url={url}");
    let workspace = Workspace::new()?;
    let early = "sample.score_until=2026-11-21T09:21:00Z";
    workspace.run(&["run", "cluster", "--sample", "--set", &set, "--set", early])?;
    let z_scores = "exports.database.postgres.z_scores=true";
    workspace.run(&["run", "cluster", "--sample", "--set", &set, "--set", z_scores])?;
    let rows = "SELECT container_cpu_usage_cores, container_cpu_usage_cores_z, version FROM lynceus.cluster WHERE time >= '2026-11-21 09:21:00Z' ORDER BY time";
    let rows = server.run(&database, rows)?;
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('|').collect()).collect();
    assert_eq!(rows.len(), 13, "09:21:00 to 09:22:00 by five seconds: {rows:?}");
    assert_eq!(rows[0][1], "", "no query had run: {rows:?}");
    // Mean and deviation of the reference rows, computed only from the quantiles at even levels.
    let version = rows[12][2];
    let file = workspace.store().join("models/cluster/versions").join(version);
    let reference = models::Reference::parse(&fs_err::read(file.join("reference.json"))?)?;
    let sketch = reference.feature("container_cpu_usage_cores").context("no such feature")?;
    let values: Vec<f64> = (0..2000).map(|at| sketch.at((f64::from(at) + 0.5) / 2000.0)).collect();
    let mean = values.iter().sum::<f64>() / 2000.0;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2000.0;
    for row in &rows[1..] {
        let (value, found): (f64, f64) = (row[0].parse()?, row[1].parse()?);
        let expected = (value - mean) / variance.sqrt();
        assert!((found - expected).abs() < 0.02 * expected.abs().max(1.0), "{row:?} {expected}");
    }
    // The view of an entity has the new column, too.
    let views = "SELECT count(*) FROM information_schema.views JOIN information_schema.columns USING (table_schema, table_name) WHERE table_schema = 'lynceus' AND column_name = 'container_cpu_usage_cores_z'";
    assert_eq!(server.run(&database, views)?, "1");
    Ok(())
}
