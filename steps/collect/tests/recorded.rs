//! Sources without history: exporters are scraped, recorded in a store, and read back like any
//! range.

mod exporters;
mod support;

use anyhow::{Result, ensure};
use collect::check::{Checked, Status, check};
use collect::recorded::{Appender, Outbox, Place as Segments, compact};
use contract::Timestamp;
use exporters::{Answer, Exporters, METRICS, central, document, exposition, open, time};
use frames::samples::SampleRows;
use support::Place;

#[test]
fn scrapes_are_recorded_and_read_back_as_a_range_with_rates() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().join("store").display());
    let store = open(&url)?;
    let exporters = Exporters::start(2)?;
    let document = document(&exporters.urls(), ", entity: {strip_port: false}")?;
    let spool = folder.path().join("spool");
    let again = || central(&document, folder.path(), &store, &spool);
    let mut recorder = again()?;
    for step in 0..12_i64 {
        for node in 0..2 {
            let bytes = 1000 * (step + 1) * (i64::try_from(node)? + 1);
            exporters.answer(node, Answer::Text(exposition(step as f64, bytes)));
        }
        let taken = recorder.step(time(0, 10 * (step + 1)))?;
        assert_eq!((taken.rows, taken.failures.len()), (2, 0), "{taken:?}");
        if step == 7 {
            // As if it had been killed: nothing is closed, and the next recorder resumes.
            drop(recorder);
            recorder = again()?;
        }
    }
    recorder.finish()?;
    let place = Place::new(
        "step: 10s\nrange: 2m\nsources: {nodes: {recorded: {pipeline: node, source: nodes, \
         columns: [{name: load}, {name: bytes}]}}}",
    )?;
    let samples = place.samples(&time(2, 0).to_string(), &["--recorded", &url])?;
    let table = &samples.table;
    assert_eq!((table.rows(), table.entities.len()), (24, 2), "12 steps of 2 nodes, none twice");
    assert!(table.times.is_sorted());
    // Entities are in the order of their ports, which the system chose.
    let urls = exporters.urls();
    let is_second = |row: &usize| urls[1].contains(&format!("/{}/", table.entity_of(*row)));
    let second: Vec<f64> =
        (0..24).filter(is_second).map(|row| table.columns[1].values[row]).collect();
    assert_eq!(second.len(), 12);
    // The first scrape of each process has no rate.
    let gaps: Vec<usize> = (0..12).filter(|step| second[*step].is_nan()).collect();
    assert_eq!(gaps, [0, 8], "{second:?}");
    assert!(second.iter().filter(|rate| !rate.is_nan()).all(|rate| (rate - 200.0).abs() < 1e-9));
    Ok(())
}

fn rows(at: Timestamp, value: f64) -> SampleRows {
    SampleRows {
        times: vec![at],
        entities: vec!["a".to_owned()],
        columns: vec![vec![Some(value)]],
        ..SampleRows::default()
    }
}

fn read_back(url: &str, range: &str, now: Timestamp) -> Result<Vec<(Timestamp, f64)>> {
    let place = Place::new(&format!(
        "step: 10s\nrange: {range}\nsources: {{s: {{recorded: {{pipeline: p, source: s, columns: [{{name: x}}]}}}}}}"
    ))?;
    let table = place.samples(&now.to_string(), &["--recorded", url])?.table;
    Ok(table.times.iter().copied().zip(table.columns[0].values.iter().copied()).collect())
}

#[test]
fn a_recorder_that_is_killed_anywhere_loses_and_doubles_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().join("store").display());
    let store = open(&url)?;
    let place = Segments { pipeline: "p".into(), source: "s".into(), recorder: "a".into() };
    let spool = folder.path().join("spool");
    let outbox = Outbox::new(&spool);
    let again = || Appender::open(vec!["x".to_owned()], &spool, Vec::new());
    for tick in 1..=60_i64 {
        // Each tick is a separate process that is killed at another point.
        let mut appender = again()?;
        let at = time(0, 10 * tick);
        appender.append(&rows(at, tick as f64))?;
        match tick % 4 {
            0 => {}
            1 => appender.close()?,
            2 => drop(outbox.send(store.as_ref(), &place)?),
            _ => {
                appender.close()?;
                outbox.send(store.as_ref(), &place)?;
                // Sent segments are no longer in the spool, but their last time is still known.
                let mut appender = again()?;
                appender.append(&rows(at, -1.0))?;
                assert_eq!(appender.skipped(), 1);
            }
        }
        if tick % 7 == 0 {
            // Killed in the middle of a line.
            use std::io::Write as _;
            let log = spool.join("open.jsonl");
            let mut log = fs_err::OpenOptions::new().create(true).append(true).open(log)?;
            log.write_all(b"{\"time_ms\":17952")?;
        }
    }
    let mut last = again()?;
    last.append(&rows(time(0, 600), -1.0))?;
    assert_eq!(last.skipped(), 1, "a time that was appended before is not appended again");
    last.close()?;
    outbox.send(store.as_ref(), &place)?;
    let found = read_back(&url, "10m", time(10, 0))?;
    let expected: Vec<(Timestamp, f64)> =
        (1..=60).map(|tick| (time(0, 10 * tick), tick as f64)).collect();
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn segments_wait_while_the_store_is_away_and_go_in_order_afterwards() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("store");
    let url = format!("file://{}", root.display());
    let store = open(&url)?;
    let place = Segments { pipeline: "p".into(), source: "s".into(), recorder: "a".into() };
    let spool = folder.path().join("spool");
    let mut appender = Appender::open(vec!["x".to_owned()], &spool, Vec::new())?;
    let outbox = Outbox::new(&spool);
    // A file is at the path of the store's folder.
    fs_err::write(&root, "")?;
    for minute in 0..3 {
        appender.append(&rows(time(minute, 10), minute as f64))?;
        appender.close()?;
        ensure!(outbox.send(store.as_ref(), &place).is_err(), "there is no store");
    }
    fs_err::remove_file(&root)?;
    assert_eq!(outbox.send(store.as_ref(), &place)?.segments, 3);
    assert_eq!(read_back(&url, "3m", time(3, 0))?.len(), 3);
    Ok(())
}

#[test]
fn a_compacted_day_reads_the_same_also_when_the_compaction_was_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().join("store").display());
    let store = open(&url)?;
    let place = Segments { pipeline: "p".into(), source: "s".into(), recorder: "a".into() };
    let spool = folder.path().join("spool");
    let mut appender = Appender::open(vec!["x".to_owned()], &spool, Vec::new())?;
    for minute in 0..30 {
        appender.append(&rows(time(minute, 10), minute as f64))?;
    }
    appender.close()?;
    Outbox::new(&spool).send(store.as_ref(), &place)?;
    let before = read_back(&url, "1h", time(31, 0))?;
    assert_eq!(before.len(), 30);
    let kept = store.list("samples/", None, 1000)?;
    let first = store.get(&kept[0])?.unwrap().bytes;
    assert_eq!(compact(store.as_ref(), &place, time(0, 0), folder.path())?, 30);
    assert_eq!(store.list("samples/", None, 1000)?.len(), 1);
    assert_eq!(read_back(&url, "1h", time(31, 0))?, before);
    // One of the small segments was not removed yet.
    drop(store.put(&kept[0], &first, store::Condition::IfAbsent)?);
    assert_eq!(read_back(&url, "1h", time(31, 0))?, before);
    assert_eq!(compact(store.as_ref(), &place, time(0, 0), folder.path())?, 2);
    assert_eq!(read_back(&url, "1h", time(31, 0))?, before);
    Ok(())
}

#[test]
fn unrecorded_source_is_refused_with_the_command_that_records_it() -> Result<()> {
    let place = Place::new(
        "step: 10s\nrange: 2m\nsources: {nodes: {exporter: {endpoints: ['http://127.0.0.1:1/metrics']}}}",
    )?;
    let said = place.fails(&time(2, 0).to_string(), &[], 2)?;
    ensure!(said.contains("lynceus record PIPELINE"), "{said}");
    let store = place.path("store");
    let url = format!("file://{}", store.display());
    let said = place.fails(&time(2, 0).to_string(), &["--recorded", &url], 3)?;
    ensure!(said.contains("has no sample"), "{said}");
    let damaged = store.join("samples/x/nodes/a/date=2026-11-21");
    fs_err::create_dir_all(&damaged)?;
    let name = format!("{}-{}.parquet", time(1, 0).ms(), time(1, 50).ms());
    fs_err::write(damaged.join(name), "PAR1")?;
    let said = place.fails(&time(2, 0).to_string(), &["--recorded", &url], 3)?;
    ensure!(said.contains("the segment is damaged"), "{said}");
    Ok(())
}

#[test]
fn source_check_lists_data_of_each_source() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let exporters = Exporters::start(1)?;
    exporters.answer(0, Answer::Text(exposition(1.0, 1)));
    let text = format!(
        "format: 1\nname: x\nstep: 5s\nrange: 92m\nsources:\n  \
         metrics: {{recording: {{path: '{}'}}, queries: [{{name: workqueue_depth, promql: x}}, \
         {{name: absent, promql: x}}]}}\n  \
         nodes: {{exporter: {{endpoints: ['{}'], {METRICS}}}}}\n  \
         away: {{prometheus: {{url: 'http://127.0.0.1:1', retries: 0}}, queries: [{{name: up, promql: up}}]}}\n\
         features: [raw: {{}}]\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n",
        support::recording("cluster").display(),
        exporters.urls()[0]
    );
    let document = document::parse("x.yaml", &text)?.into();
    let findings = check(Checked {
        data: &std::collections::BTreeMap::new(),
        document: &document,
        folder: folder.path(),
        store: &format!("file://{}", folder.path().join("store").display()),
        work: folder.path(),
        now: support::RECORDED_END.parse().unwrap(),
    });
    let found: Vec<(&str, &str, Status, usize)> = findings
        .iter()
        .map(|it| (it.source.as_str(), it.query.as_str(), it.status, it.series))
        .collect();
    let expected = [
        ("away", "up", Status::Failed, 0),
        ("metrics", "workqueue_depth", Status::Ok, 1),
        ("metrics", "absent", Status::Failed, 0),
        ("nodes", "", Status::Partial, 1),
    ];
    assert_eq!(found, expected, "{findings:?}");
    ensure!(findings[0].note.contains("cannot connect") && findings[0].note.contains("url"));
    ensure!(findings[2].note.contains("has no reply to query `absent`"));
    ensure!(findings[3].note.contains("nothing is recorded yet"));
    Ok(())
}

#[test]
fn nodes_page_lists_the_metrics_that_are_read_by_default() -> Result<()> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/nodes.md");
    let page = fs_err::read_to_string(page)?;
    let defaults = document::sources::exporter::ExporterSource::default().metrics;
    assert_eq!(defaults.len(), 24);
    let mut from = 0;
    for metric in defaults {
        let row = format!("| `{}` | `{}` | `", metric.name, metric.metric);
        let at = page[from..].find(&row);
        ensure!(at.is_some(), "`{}` is not in its place in the table", metric.name);
        from += at.unwrap_or_default();
    }
    Ok(())
}
