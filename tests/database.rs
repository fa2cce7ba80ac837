//! Do scores and features of a real run reach a real `PostgreSQL`?

use anyhow::Result;

use crate::database_server as server;
use crate::workspace::Workspace;

#[test]
fn the_last_window_of_the_sample_is_a_row_with_score_version_and_features() -> Result<()> {
    if server::is_off() {
        return Ok(());
    }
    let server = server::Postgres::shared()?;
    let database = server.database()?;
    server.run(&database, include_str!("../crates/postgres/roles.sql"))?;
    let url = server.url("lynceus_writer", &database);
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
