//! Rows are loaded into a real `PostgreSQL`.

#[path = "../../../tests/support/postgres.rs"]
mod server;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use contract::{ErrorKind, Span, Timestamp};
use document::postgres::{PostgresServer, PostgresTls};
use postgres::{Column, Loaded, Loader, Rows, Target, Values};
use server::Postgres;

/// A database with the roles of `roles.sql`.
struct Place {
    server: Arc<Postgres>,
    database: String,
}

impl Place {
    /// Nothing where tests are to do without a server.
    fn new() -> Result<Option<Self>> {
        if server::is_off() {
            return Ok(None);
        }
        let server = Postgres::shared()?;
        let database = server.database()?;
        // Twice, since it may be run again.
        for _ in 0..2 {
            server.make_roles(&database)?;
        }
        Ok(Some(Self { server, database }))
    }

    fn settings(&self, user: &str) -> PostgresServer {
        PostgresServer {
            url: self.server.url(user, &self.database),
            password: None,
            tls: PostgresTls::Auto,
            ca_file: None,
            server_name: None,
            timeout: Span::from_seconds(30),
            in_cluster: None,
        }
    }

    fn loader(&self, change: impl FnOnce(&mut Target)) -> Result<Loader> {
        let mut target = Target {
            schema: "lynceus".to_owned(),
            table: "node".to_owned(),
            views: true,
            retention: None,
        };
        change(&mut target);
        let settings = self.settings("lynceus_writer");
        Ok(Loader::connect("exports.db.postgres", &settings, Path::new(""), target)?)
    }

    fn run(&self, statement: &str) -> Result<String> {
        self.server.run(&self.database, statement)
    }

    fn count(&self) -> Result<String> {
        self.run("SELECT count(*) FROM lynceus.node")
    }
}

const DAY_MS: i64 = 86_400_000;
/// 2026-11-21T00:00:00Z.
const BEGIN_MS: i64 = 1_795_219_200_000;

/// Rows of nodes, a minute apart from a day on; `shift` is added to the load.
fn rows(day: i64, minutes: i64, nodes: usize, shift: f64) -> Rows {
    let mut rows = Rows::default();
    let mut loads = Vec::new();
    for minute in 0..minutes {
        for node in 0..nodes {
            rows.times.push(Timestamp::from_ms(BEGIN_MS + day * DAY_MS + minute * 60_000));
            rows.entities.push(format!("n{node}"));
            loads.push(Some(minute as f64 + shift));
        }
    }
    let count = rows.times.len();
    rows.columns = vec![
        Column { name: "load_1m".to_owned(), values: Values::Numbers(loads) },
        Column { name: "attack".to_owned(), values: Values::Flags(vec![Some(false); count]) },
        Column {
            name: "verdict".to_owned(),
            values: Values::Texts(vec![Some("normal".to_owned()); count]),
        },
    ];
    rows
}

fn loaded(changed: u64) -> Loaded {
    Loaded { changed, too_old: 0 }
}

#[test]
fn repeated_rows_change_nothing_and_new_values_replace() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut loader = place.loader(|_| ())?;
    let first = rows(0, 10, 3, 0.0);
    assert_eq!(loader.load(&first)?, loaded(30));
    assert_eq!(loader.load(&first)?, loaded(0));
    // Another process, which knows nothing of the first, with rows of which some are new.
    let mut other = place.loader(|_| ())?;
    assert_eq!(other.load(&rows(0, 12, 3, 0.0))?, loaded(6));
    assert_eq!(other.load(&rows(0, 12, 3, 1.0))?, loaded(36));
    assert_eq!(place.count()?, "36");
    assert_eq!(
        place.run("SELECT sum(load_1m), max(time) FROM lynceus.node WHERE entity = 'n1'")?,
        "78|2026-11-21 00:11:00+00"
    );
    // A feature that comes again as a gap stays what it was.
    let mut gap = rows(0, 1, 1, 0.0);
    gap.columns[0].values = Values::Numbers(vec![None]);
    assert_eq!(other.load(&gap)?, loaded(0));
    assert_eq!(loader.load(&Rows::default())?, loaded(0));
    Ok(())
}

#[test]
fn a_new_feature_is_a_new_column_in_table_and_views_and_another_type_is_refused() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut loader = place.loader(|_| ())?;
    loader.load(&rows(0, 2, 2, 0.0))?;
    let mut wider = rows(0, 3, 2, 0.0);
    wider.columns.push(Column {
        name: "free \"bytes\"".to_owned(),
        values: Values::Numbers(vec![Some(f64::INFINITY); 6]),
    });
    assert_eq!(loader.load(&wider)?, loaded(6), "the old rows get the new values");
    assert_eq!(place.run("SELECT count(\"free \"\"bytes\"\"\") FROM lynceus.node_n1")?, "3");
    // What no longer comes stays in the table.
    assert_eq!(loader.load(&rows(0, 4, 2, 0.0))?, loaded(2));
    let mut changed = rows(0, 1, 2, 0.0);
    changed.columns[1].values = Values::Numbers(vec![Some(1.0); 2]);
    let error = loader.load(&changed).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage, "{error}");
    ensure!(error.message.contains("`attack`") && error.message.contains("boolean"), "{error}");
    assert_eq!(place.count()?, "8");
    Ok(())
}

#[test]
fn days_are_partitions_and_those_that_are_too_old_are_dropped() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut loader =
        place.loader(|target| target.retention = Some(Span::from_seconds(2 * 86_400)))?;
    for day in 0..4 {
        loader.load(&rows(day, 2, 1, 0.0))?;
    }
    let partitions =
        "SELECT relname FROM pg_class WHERE relname LIKE 'node\\_2%' AND relkind = 'r' ORDER BY 1";
    assert_eq!(place.run(partitions)?, "node_20261122\nnode_20261123\nnode_20261124");
    // Rows of a day that was dropped do not come back.
    let old = Loaded { changed: 0, too_old: 2 };
    assert_eq!(loader.load(&rows(0, 2, 1, 0.0))?, old);
    assert_eq!(
        place
            .loader(|it| it.retention = Some(Span::from_seconds(2 * 86_400)))?
            .load(&rows(0, 2, 1, 0.0))?,
        old
    );
    assert_eq!(place.count()?, "6");
    assert_eq!(place.run("SELECT count(*) FROM lynceus.node_n0")?, "6");
    Ok(())
}

#[test]
fn two_writers_at_once_lose_no_row_and_make_nothing_twice() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut loaders = [place.loader(|_| ())?, place.loader(|_| ())?, place.loader(|_| ())?];
    std::thread::scope(|scope| {
        let work = loaders.iter_mut().enumerate().map(|(number, loader)| {
            scope.spawn(move || -> Result<()> {
                for day in 0..5 {
                    loader.load(&rows(day, 20, number + 1, 0.0))?;
                }
                Ok(())
            })
        });
        let work: Vec<_> = work.collect();
        work.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    assert_eq!(place.count()?, "300");
    Ok(())
}

#[test]
fn database_refusal_is_reported_and_no_row_is_written() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut loader = place.loader(|_| ())?;
    loader.load(&rows(0, 1, 1, 0.0))?;
    place.run("ALTER TABLE lynceus.node ADD CONSTRAINT low CHECK (load_1m < 100)")?;
    let error = loader.load(&rows(0, 150, 2, 0.0)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    ensure!(error.message.contains("SQLSTATE 23514"), "{error}");
    let mut nul = rows(0, 2, 1, 0.0);
    nul.entities[1] = "a\0b".to_owned();
    let error = loader.load(&nul).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    assert_eq!(place.count()?, "1");

    // A role without permissions, a missing schema, a table of another owner.
    place.run("CREATE TABLE lynceus.theirs (time timestamptz, entity text)")?;
    for (user, table, schema, part) in [
        ("lynceus_reader", "other", "lynceus", "SQLSTATE 42501"),
        ("lynceus_writer", "other", "public", "SQLSTATE 42501"),
        ("lynceus_writer", "other", "nowhere", "SQLSTATE 3F000"),
        ("lynceus_writer", "theirs", "lynceus", "was not created by Lynceus"),
    ] {
        let target =
            Target { schema: schema.into(), table: table.into(), views: false, retention: None };
        let settings = place.settings(user);
        let mut loader = Loader::connect("exports.db.postgres", &settings, Path::new(""), target)?;
        let error = loader.load(&rows(0, 1, 1, 0.0)).unwrap_err();
        ensure!(error.kind == ErrorKind::Usage && error.message.contains(part), "{error}");
    }
    Ok(())
}

#[test]
fn a_connection_that_is_cut_while_rows_are_copied_leaves_nothing_and_the_next_one_all() -> Result<()>
{
    let Some(place) = Place::new()? else { return Ok(()) };
    let mut loader = place.loader(|_| ())?;
    loader.load(&rows(0, 1, 1, 0.0))?;
    // The server itself ends the connection in the middle of the rows.
    place.run(
        "CREATE FUNCTION lynceus.cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
           BEGIN IF NEW.load_1m = 700 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END $$;
         CREATE TRIGGER cut BEFORE INSERT ON lynceus.node FOR EACH ROW EXECUTE FUNCTION lynceus.cut()",
    )?;
    let many = rows(0, 1400, 20, 0.0);
    let error = loader.load(&many).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert_eq!(place.count()?, "1");
    let error = loader.load(&many).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "the connection is gone: {error}");
    place.run("DROP TRIGGER cut ON lynceus.node")?;
    assert_eq!(place.loader(|_| ())?.load(&many)?.changed, 27_999);
    assert_eq!(place.count()?, "28000");
    Ok(())
}

#[test]
fn the_reader_sees_every_table_and_changes_none() -> Result<()> {
    let Some(place) = Place::new()? else { return Ok(()) };
    place.loader(|_| ())?.load(&rows(0, 2, 2, 0.0))?;
    let as_reader = |statement: &str| {
        let mut psql = place.server.psql(&place.database);
        psql.args(["-c", "SET ROLE lynceus_reader", "-c", statement]).output()
    };
    assert_eq!(as_reader("SELECT count(*) FROM lynceus.node_n0")?.stdout, b"2\n");
    for statement in
        ["DELETE FROM lynceus.node", "CREATE TABLE lynceus.x (a int)", "DROP VIEW lynceus.node_n0"]
    {
        assert!(!as_reader(statement)?.status.success(), "{statement}");
    }
    Ok(())
}
