//! Recorded samples reach a real `PostgreSQL` even after temporary failures.

mod exporters;

#[path = "../../../tests/support/postgres.rs"]
mod postgres;

use std::path::Path;

use anyhow::{Result, ensure};
use collect::follow::{Recorder, Recording, Step};
use contract::{Span, Timestamp};
use document::Document;
use exporters::{Answer, Exporters};
use postgres::Postgres;

fn document(exporter: &str, database: &str) -> Result<Document> {
    let text = format!(
        "format: 1\nname: node\nstep: 1m\nrange: 1h\nsources: {{metrics: {{exporter: {{endpoints: ['{exporter}'], \
         metrics: [{{name: load, metric: node_load1}}]}}}}}}\nfeatures: [raw]\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\n\
         exports: {{database: {{postgres: {{server: {{url: '{database}', timeout: 60s}}, samples: true}}}}}}\n"
    );
    Ok(document::parse("x.yaml", &text)?)
}

/// A recorder with a step of one minute, and an exporter that replies with the step's number.
struct Node<'a> {
    recorder: Recorder<'a>,
    exporters: Exporters,
    minute: i64,
}

impl Node<'_> {
    fn step(&mut self) -> Result<Step> {
        self.minute += 1;
        self.exporters.answer(0, Answer::Text(format!("node_load1 {}\n", self.minute)));
        let time = Timestamp::from_ms(1_795_252_800_000) + Span::from_seconds(60 * self.minute);
        Ok(self.recorder.step(time)?)
    }

    /// Runs a step that must have only this failure.
    fn fails(&mut self, part: &str) -> Result<()> {
        let step = self.step()?;
        ensure!(step.failures.len() == 1, "{:?}", step.failures);
        ensure!(step.failures[0].contains(part), "{:?}", step.failures);
        ensure!(step.sent == 1, "the store gets its segment all the same");
        Ok(())
    }

    fn succeeds(&mut self) -> Result<()> {
        let step = self.step()?;
        ensure!(step.failures.is_empty(), "{:?}", step.failures);
        Ok(())
    }
}

#[test]
fn database_down_for_an_hour_full_or_without_rights_gets_every_minute_once() -> Result<()> {
    if postgres::is_off() {
        return Ok(());
    }
    let server = Postgres::shared()?;
    let (database, url) = server.database_to_write()?;
    let folder = tempfile::tempdir()?;
    // The folder of its socket, which does not exist yet.
    let socket = url.split("host=").nth(1).and_then(|it| it.split('&').next()).unwrap_or_default();
    let link = folder.path().join("socket");
    let url = url.replace(socket, &link.to_string_lossy());
    let exporters = Exporters::start(1)?;
    let whole = document(&exporters.urls()[0], &url)?;
    let sections = whole.clone().into();
    let spool = folder.path().join("spool");
    let store = format!("file://{}", folder.path().join("store").display());
    let recorder = Recorder::open(Recording {
        document: &sections,
        exports: &whole.exports,
        folder: Path::new(""),
        store: store::open(&store)?.into(),
        recorder: "a",
        spool: &spool,
    })?;
    let mut node = Node { recorder, exporters, minute: 0 };
    node.succeeds()?;
    for _ in 0..60 {
        node.fails("samples wait on the spool")?;
    }
    std::os::unix::fs::symlink(socket, &link)?;
    server.run(&database, "REVOKE ALL ON SCHEMA lynceus FROM lynceus_writer")?;
    node.fails("SQLSTATE 42501")?;
    server.run(&database, "GRANT USAGE, CREATE ON SCHEMA lynceus TO lynceus_writer")?;
    node.succeeds()?;
    let rows = || {
        let sql = "SELECT count(*), count(DISTINCT time), sum(load) FROM lynceus.node";
        server.run(&database, sql)
    };
    // The last minute is not over.
    assert_eq!(rows()?, format!("62|62|{}", (1..=62).sum::<i32>()));

    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
        $$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END$$; \
        CREATE TRIGGER full_disk BEFORE INSERT ON lynceus.node FOR EACH ROW EXECUTE FUNCTION full_disk()";
    server.run(&database, full)?;
    node.fails("SQLSTATE 53100")?;
    node.fails("SQLSTATE 53100")?;
    server.run(&database, "DROP TRIGGER full_disk ON lynceus.node")?;
    node.succeeds()?;
    assert_eq!(rows()?, format!("65|65|{}", (1..=65).sum::<i32>()));

    // A row that violates a constraint is left out, and later rows are not.
    server.run(&database, "ALTER TABLE lynceus.node ADD CONSTRAINT odd CHECK (load <> 66)")?;
    node.fails("SQLSTATE 23514")?;
    node.succeeds()?;
    assert_eq!(rows()?, format!("66|66|{}", (1..=65).sum::<i32>() + 67));
    Ok(())
}
