//! The source `postgres` against a real `PostgreSQL`.

mod support;

#[path = "../../../tests/support/postgres.rs"]
mod postgres;

use std::sync::Arc;

use anyhow::{Result, ensure};
use contract::{Span, Timestamp};
use frames::samples::text_number;
use postgres::Postgres;
use support::{Place, stderr};

/// One minute after the last row of [`NODES`].
const NOW: &str = "2026-11-21T01:00:00Z";

/// An hour of minutes of three nodes, written in no order.
const NODES: &str = "
    CREATE TABLE nodes (at timestamptz, node text, load float8, free bigint, ready bool,
        share numeric, note text, kind text);
    INSERT INTO nodes
    SELECT '2026-11-21T00:00:00Z'::timestamptz + minute * interval '1 minute', 'n' || node,
        minute + node / 10.0, CASE WHEN minute = 7 THEN NULL ELSE minute * 1000 END,
        minute % 2 = 0, 0.25, 'x', CASE WHEN minute BETWEEN 30 AND 39 THEN 'attack' ELSE 'normal' END
    FROM generate_series(1, 60) AS minute, generate_series(1, 3) AS node ORDER BY random();";

fn document(url: &str, server: &str, settings: &str) -> String {
    format!(
        "step: 1m\nrange: 1h\nsources:\n  main:\n    postgres: {{server: {{url: '{url}'{server}}}, {settings}}}\n"
    )
}

const TABLE: &str = "table: nodes, time: at, entity: node, label: kind";

/// Returns the shared server and a new database with the table of nodes.
fn nodes() -> Result<(Arc<Postgres>, String)> {
    let server = Postgres::shared()?;
    let database = server.database()?;
    server.run(&database, NODES)?;
    Ok((server, database))
}

#[test]
fn unordered_table_becomes_samples_page_by_page() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let server = Postgres::shared()?;
    for rows in ["10000", "7", "1"] {
        // Each database has its rows in another order.
        let database = server.database()?;
        server.run(&database, NODES)?;
        let url = server.url("postgres", &database);
        let place = Place::new(&document(&url, "", &format!("{TABLE}, page_rows: {rows}")))?;
        let samples = place.samples(NOW, &[])?;
        assert_eq!(samples.table.rows(), 180);
        assert_eq!(samples.table.entities, ["n1", "n2", "n3"]);
        let names: Vec<&str> = samples.table.columns.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["load", "free", "ready", "share"]);
        assert_eq!(samples.table.times[0].to_string(), "2026-11-21T00:01:00Z");
        let column = |index: usize| &samples.table.columns[index].values;
        assert!((column(0)[1] - 1.2).abs() < 1e-12 && (column(3)[0] - 0.25).abs() < 1e-12);
        ensure!(column(1)[18..21].iter().all(|free| free.is_nan()), "a gap stays a gap");
        let attacks = samples.labels.iter().flatten().filter(|label| *label == "attack").count();
        assert_eq!(attacks, 30);
        let warnings = place.outcome()?["warnings"].to_string();
        assert!(warnings.contains("column `note` holds no numbers"), "{warnings}");
    }
    Ok(())
}

#[test]
fn column_of_text_is_a_number_for_each_text() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let (server, database) = nodes()?;
    server.run(
        &database,
        "UPDATE nodes SET note = CASE node WHEN 'n1' THEN 'control' END WHERE node <> 'n2'",
    )?;
    let url = server.url("postgres", &database);
    let texts = "    entity: {texts: {role: note}}\n";
    let place = Place::new(&format!("{}{texts}", document(&url, "", TABLE)))?;
    let samples = place.samples(NOW, &[])?;
    let role = &samples.table.column("role").expect("a column").values;
    for (row, role) in role.iter().enumerate() {
        let expected = match samples.table.entity_of(row) {
            "n1" => text_number("control"),
            "n2" => text_number("x"),
            _ => None,
        };
        assert_eq!(Some(*role).filter(|role| !role.is_nan()), expected, "row {row}");
    }
    let warnings = place.outcome()?["warnings"].to_string();
    assert!(!warnings.contains("`note`"), "{warnings}");
    Ok(())
}

#[test]
fn the_rows_of_a_range_are_the_same_however_they_are_fetched() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let (server, database) = nodes()?;
    let url = server.url("postgres", &database);
    let mut written = Vec::new();
    for _ in 0..2 {
        let place = Place::new(&document(&url, "", &format!("{TABLE}, page_rows: 50")))?;
        place.samples(NOW, &["--start", "2026-11-21T00:10:00Z"])?;
        written.push(fs_err::read(place.path("samples.parquet"))?);
        server.run(&database, "CREATE TABLE again AS SELECT * FROM nodes ORDER BY random(); DROP TABLE nodes; ALTER TABLE again RENAME TO nodes")?;
    }
    assert_eq!(written[0], written[1]);
    Ok(())
}

#[test]
fn every_way_to_write_a_time_is_read() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let (server, database) = nodes()?;
    server.run(
        &database,
        "CREATE VIEW times AS SELECT at AT TIME ZONE 'Europe/Brussels' AS local, at::timestamp AT TIME ZONE 'UTC' AS instant,
           extract(epoch FROM at)::int8 AS s, (extract(epoch FROM at) * 1000)::int8 AS ms,
           (extract(epoch FROM at) * 1000000)::int8 AS us, load FROM nodes WHERE node = 'n1'",
    )?;
    let url = server.url("postgres", &database);
    let mut first = None;
    for time in [
        "time: instant",
        "time: local, time_zone: Europe/Brussels",
        "time: s, time_unit: seconds",
        "time: ms, time_unit: milliseconds",
        "time: us, time_unit: microseconds",
    ] {
        let settings = format!("table: public.times, columns: [load], page_rows: 9, {time}");
        let place = Place::new(&document(&url, "", &settings))?;
        let table = place.samples(NOW, &[])?.table;
        assert_eq!(table.rows(), 60, "{time}");
        let times = first.get_or_insert_with(|| table.times.clone());
        assert_eq!(*times, table.times, "{time}");
    }
    let query = "query: \"SELECT at, sum(load) AS load FROM nodes GROUP BY at -- all nodes\"";
    let place = Place::new(&document(&url, "", &format!("{query}, time: at")))?;
    let table = place.samples(NOW, &[])?.table;
    assert_eq!(table.rows(), 60);
    assert!((table.columns[0].values[0] - 3.6).abs() < 1e-9);
    Ok(())
}

#[test]
fn unreadable_input_has_the_matching_exit_code() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let (server, database) = nodes()?;
    server.run(&database, "CREATE ROLE stranger LOGIN; CREATE TABLE empty (at timestamptz, load float8);
        CREATE TABLE odd (at timestamptz, node text, load float8); INSERT INTO odd VALUES ('2026-11-21T00:05:00Z', NULL, 1)")?;
    let url = server.url("postgres", &database);
    let slow = "query: 'SELECT at, load + pg_sleep(9)::text::float8 AS load FROM nodes', time: at";
    let gone =
        "query: 'SELECT at, pg_terminate_backend(pg_backend_pid()) AS load FROM nodes', time: at";
    for (url, server, settings, code, part) in [
        (&url, "", "table: nodes, time: att", 2, "did you mean `at`?"),
        (&url, "", "table: node, time: at", 2, "SQLSTATE 42P01"),
        (&url, "", "table: nodes, time: note", 2, "which is not a time"),
        (&url, "", "table: nodes, time: free", 2, "a number without a unit"),
        (&url, "", "table: nodes, time: at, columns: [note]", 2, "which is not a number"),
        (&url, "", "query: SELEC 1, time: at", 2, "SQLSTATE 42601"),
        (&url, "", "query: 'SELECT 1) AS x; DROP TABLE nodes; --', time: at", 2, "SQLSTATE 42601"),
        (&url, "", "query: 'DELETE FROM nodes RETURNING *', time: at", 2, "SQLSTATE 42601"),
        (&url, "", "table: empty, time: at", 3, "has no row"),
        (&url, "", "table: odd, time: at, entity: node", 3, "has no `node`"),
        (&url, ", timeout: 1s", slow, 4, "SQLSTATE 57014"),
        (&url, "", gone, 4, "terminating connection"),
        (&url.replace("postgres@", "stranger@"), "", TABLE, 2, "permission denied"),
        (&url.replace("postgres@", "nobody@"), "", TABLE, 2, "SQLSTATE 28000"),
        (&url.replace(&database, "nowhere"), "", TABLE, 2, "SQLSTATE 3D000"),
        (&"postgresql://u@127.0.0.1:1/d".to_owned(), "", TABLE, 4, "cannot be reached"),
        (&"postgresql://u@/d?host=/nowhere".to_owned(), "", TABLE, 4, "cannot be reached"),
    ] {
        let said = Place::new(&document(url, server, settings))?.fails(NOW, &[], code)?;
        ensure!(said.contains(part), "{settings}: {said}");
    }
    let place = Place::new(&document(&url, "", TABLE))?;
    let said = place.fails("2026-12-21T01:00:00Z", &[], 3)?;
    ensure!(said.contains("its rows are from `2026-11-21T00:01:00Z` to"), "{said}");
    assert_eq!(server.run(&database, "SELECT count(*) FROM nodes")?, "180");
    Ok(())
}

#[test]
fn network_connection_is_encrypted_and_verified_and_password_is_never_shown() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let (server, database) = nodes()?;
    server.run(
        &database,
        "CREATE ROLE reader LOGIN PASSWORD 'hunter2-secret'; GRANT SELECT ON nodes TO reader",
    )?;
    let url = server.tcp_url("reader", &database);
    let other = url.replace("127.0.0.1", "localhost");
    for (url, settings, code, part) in [
        (&url, "tls: verify_full, ca_file: ca.pem, password: {file: right}", 0, ""),
        (
            &other,
            "tls: verify_full, ca_file: ca.pem, server_name: database, password: {file: right}",
            0,
            "",
        ),
        (
            &url,
            "tls: verify_full, ca_file: other.pem, password: {file: right}",
            2,
            "no secure connection",
        ),
        (
            &other,
            "tls: verify_full, ca_file: ca.pem, password: {file: right}",
            2,
            "server.server_name",
        ),
        (&url, "tls: verify_full, password: {file: right}", 2, "no secure connection"),
        (
            &url,
            "tls: verify_full, ca_file: right, password: {file: right}",
            2,
            "contains no PEM certificate",
        ),
        (&url, "tls: verify_full, ca_file: ca.pem, password: {file: wrong}", 2, "SQLSTATE 28P01"),
        (&url, "tls: verify_full, ca_file: ca.pem", 2, "server.password"),
        (&url, "password: {file: right}", 2, "no encryption"),
    ] {
        let place = Place::new(&document(url, &format!(", {settings}"), TABLE))?;
        place.file("ca.pem", fs_err::read(server.ca_file())?)?;
        place.file("other.pem", fs_err::read(server.ca_file().with_file_name("other.pem"))?)?;
        place.file("right", "hunter2-secret\n")?;
        place.file("wrong", "hunter2-wrong")?;
        if code == 0 {
            assert_eq!(place.samples(NOW, &[])?.table.rows(), 180, "{settings}");
            continue;
        }
        let said = place.fails(NOW, &[], code)?;
        ensure!(said.contains(part) && !said.contains("hunter2"), "{settings}: {said}");
    }
    Ok(())
}

#[test]
fn a_tick_takes_the_windows_that_are_due_and_waits_while_the_server_is_down() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let mut server = Postgres::start()?;
    let database = server.database()?;
    server.run(&database, NODES)?;
    let url = server.url("postgres", &database);
    let place = Place::new(&document(&url, "", TABLE))?;
    let tick = ["--store", "store", "--coverage", "coverage.json"];
    assert_eq!(place.samples("2026-11-21T00:30:00Z", &tick)?.table.rows(), 3);
    assert_eq!(place.samples("2026-11-22T00:30:00Z", &tick)?.table.rows(), 0, "nothing new");
    server.stop()?;
    let output = place.collect("2026-11-21T00:31:00Z", &tick)?;
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    Ok(())
}

#[test]
fn narrowed_shard_reads_only_rows_with_its_values() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let (server, database) = nodes()?;
    server.run(
        &database,
        "ALTER TABLE nodes ADD zone text;
         UPDATE nodes SET zone = CASE node WHEN 'n1' THEN 'it''s' WHEN 'n2' THEN 'b' ELSE 'other' END",
    )?;
    let url = server.url("postgres", &database);
    let shards = "shards: {count: 2, by: label, label: zone, values: [\"it's\", b]}\n";
    let table = "table: nodes, time: at, entity: node, columns: [load]";
    let mut entities = Vec::new();
    for narrow in ["", ", narrow_to_shard: true"] {
        let place =
            Place::new(&format!("{}{shards}", document(&url, "", &format!("{table}{narrow}"))))?;
        for shard in ["0/2", "1/2"] {
            let samples = place.samples(NOW, &["--shard", shard])?;
            assert!(samples.table.rows() % 60 == 0 && samples.labels.is_none());
            entities.push(samples.table.entities.clone());
        }
    }
    let [wide, narrow] = [entities[..2].concat(), entities[2..].concat()];
    assert_eq!(narrow, ["n1", "n2"], "each shard has its own value alone");
    assert_eq!(wide.len(), 3, "without it a shard has the entities with other values: {wide:?}");
    Ok(())
}

#[test]
fn source_check_shows_time_of_first_row() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let (server, database) = nodes()?;
    let url = server.url("postgres", &database);
    let place = Place::new(&document(&url, "", TABLE))?;
    let document = document::sections::Collect::read(&place.path("x.yaml"))?;
    let now: Timestamp = NOW.parse().map_err(anyhow::Error::msg)?;
    let checked = |now| {
        collect::check::check(collect::check::Checked {
            data: &std::collections::BTreeMap::new(),
            document: &document,
            folder: &place.path(""),
            store: "store",
            work: &place.path(""),
            now,
        })
    };
    let found = checked(now);
    assert_eq!((found[0].kind.as_str(), found[0].series), ("postgres", 3));
    assert_eq!(found[0].status, collect::check::Status::Ok, "{:?}", found[0]);
    let found = checked(now + Span::from_seconds(1800));
    assert_eq!(found[0].status, collect::check::Status::Partial, "{:?}", found[0]);
    Ok(())
}
