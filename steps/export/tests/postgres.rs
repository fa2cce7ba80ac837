//! The sink `postgres` against a real `PostgreSQL`.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

#[path = "../../../tests/support/postgres.rs"]
mod postgres;

use postgres::Postgres;
use support::Place;

/// A database with the roles of `roles.sql`, and a document that exports to it.
fn place(server: &Postgres, settings: &str) -> anyhow::Result<(String, Place)> {
    let (database, url) = server.database_to_write()?;
    let place = Place::new("  {}\n", 0);
    let text = format!(
        "format: 1\nname: cluster\nstep: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: r}}, \
         queries: [{{name: load, promql: node_load1}}]}}}}\nfeatures: [raw]\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\nexports:\n\
         \x20 database: {{postgres: {{server: {{url: '{url}'}}{settings}}}}}\n"
    );
    fs_err::write(place.path("cluster.yaml"), text)?;
    Ok((database, place))
}

#[test]
fn scores_are_exported_once_and_a_returning_server_gets_missed_ones() -> anyhow::Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let mut server = Postgres::start()?;
    let (database, place) = place(&server, "")?;
    place.score(1..=3, &[2]);
    assert_eq!(place.export(3), [""; 0]);
    let rows = "SELECT entity, count(*), sum(attack::int), min(score) FROM lynceus.cluster GROUP BY 1 ORDER BY 1";
    // A new sink starts with the last window.
    let first = server.run(&database, rows)?;
    place.score(4..=6, &[5]);
    assert_eq!(place.export(6), [""; 0]);
    let second = server.run(&database, rows)?;
    assert_ne!(first, second);
    assert_eq!(place.export(6), [""; 0]);
    assert_eq!(server.run(&database, rows)?, second, "a second run changes nothing");
    assert_eq!(
        server.run(&database, "SELECT attack, verdict, score, version FROM lynceus.cluster_a ORDER BY time DESC OFFSET 1 LIMIT 1")?,
        "t|anomalous|0.5|v1"
    );
    // A role that lost its permissions: reported, and nothing is lost.
    server.run(&database, "REVOKE ALL ON SCHEMA lynceus FROM lynceus_writer")?;
    place.score(7..=8, &[]);
    let warnings = place.export(8);
    assert!(warnings[0].contains("SQLSTATE 42501"), "{warnings:?}");
    server.run(&database, "GRANT USAGE, CREATE ON SCHEMA lynceus TO lynceus_writer")?;
    place.score(9..=9, &[]);
    assert_eq!(place.export(9), [""; 0]);
    let count = "SELECT count(*) FROM lynceus.cluster_b WHERE time > (SELECT min(time) FROM lynceus.cluster)";
    assert_eq!(server.run(&database, count)?, "6");
    server.stop()?;
    place.score(10..=11, &[]);
    let warnings = place.export(11);
    assert!(warnings[0].contains("cannot be reached"), "{warnings:?}");
    Ok(())
}
