//! Process events from files in the format of Tetragon's JSON export, and from a file that is
//! followed.

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use collect::follow::{Recorder, Recording};
use contract::{Span, Timestamp};
use document::sections::Collect;
use flate2::Compression;
use flate2::write::GzEncoder;
use frames::Samples;
use support::Place;

const NOW: &str = "2026-11-29T19:02:00Z";
const DOCUMENT: &str = "step: 10s\nrange: 2m\nsources: {processes: {tetragon: {path: events, quiet: 20s, events: [exit]}}}";

fn second(second: i64) -> Timestamp {
    Timestamp::from_ms(1_795_978_800_000) + Span::from_seconds(second)
}

/// An event of a node at a time after 19:00:00.
fn event(seconds: f64, node: &str, number: usize, kind: &str, inner: &str) -> String {
    let minute = (seconds / 60.0).floor();
    let time = format!("2026-11-29T19:{minute:02.0}:{:09.6}Z", seconds % 60.0);
    format!(
        "{{\"{kind}\": {{\"process\":{{\"exec_id\":\"{node}{number}\",\"pid\":{number},\"flags\":\"execve clone\",\
         \"binary\":\"/bin/p{}\"}}{inner}}},\"node_name\":\"{node}\",  \"time\":\"{time}\"}}\n",
        number % 3
    )
}

fn exec(seconds: f64, node: &str, number: usize) -> String {
    event(seconds, node, number, "process_exec", "")
}

fn connect(seconds: f64, node: &str, number: usize, port: u16) -> String {
    let inner = format!(
        ",\"function_name\":\"tcp_connect\",\"args\":[{{\"sock_arg\":{{\"family\":\"AF_INET\",\
         \"daddr\":\"10.0.0.9\",\"dport\":{port},\"cookie\":\"18446612685\"}}}}]"
    );
    event(seconds, node, number, "process_kprobe", &inner)
}

fn packed(text: &str) -> Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(text.as_bytes())?;
    Ok(packer.finish()?)
}

/// Rows that have a value in a column, as `second entity value`.
fn shown(samples: &Samples, column: &str) -> Result<Vec<String>> {
    let table = &samples.table;
    let values = &table.column(column).context("the column is there")?.values;
    let row = |row: usize| {
        let seconds = (table.times[row].ms() - second(0).ms()) / 1000;
        format!("{seconds} {} {}", table.entity_of(row), values[row])
    };
    Ok((0..table.rows()).map(row).collect())
}

#[test]
fn rotated_compressed_and_wrapped_files_of_two_nodes_are_one_range() -> Result<()> {
    let place = Place::new(DOCUMENT)?;
    let old = exec(1.0, "a", 1) + &exec(2.0, "a", 2) + &exec(12.0, "a", 3);
    place.file("events/a/tetragon-2026-11-29T19-00-12.500.log.gz", packed(&old)?)?;
    // The last event of the rotated file is repeated: its exec_id is known.
    let live = exec(12.0, "a", 3) + &connect(13.0, "a", 3, 3333) + &connect(14.0, "a", 3, 443);
    let other_kind = live.replace("process_kprobe", "process_accept");
    place.file("events/a/tetragon.log", live + other_kind.lines().last().unwrap_or_default())?;
    let lines = exec(5.0, "b", 1) + &event(25.0, "b", 1, "process_exit", ",\"status\":9");
    let wrapped = lines.lines().map(|line| format!("2026-11-29T19:00:30.1Z stdout F {line}\n"));
    let wrapped = wrapped.collect::<Vec<_>>().concat();
    place.file("events/b/tetragon.log", wrapped)?;
    let samples = place.samples(NOW, &[])?;
    assert_eq!(
        shown(&samples, "exec_count")?,
        ["10 a 2", "10 b 1", "20 a 1", "20 b 0", "30 a 0", "30 b 0"]
    );
    assert_eq!(shown(&samples, "mining_port_count")?[2..3], ["20 a 1"]);
    assert_eq!(shown(&samples, "unique_destination_count")?[2..3], ["20 a 2"]);
    assert_eq!(shown(&samples, "event_exit_count")?[5..], ["30 b 1"]);
    let counts = &place.outcome()?["counts"];
    for (name, expected) in
        [("event_lines", 9), ("events", 7), ("events_duplicate", 1), ("events_unknown", 1)]
    {
        assert_eq!(counts[name], expected, "{name}: {counts}");
    }
    Ok(())
}

#[test]
fn events_come_from_standard_input() -> Result<()> {
    let place = Place::new(DOCUMENT)?;
    let file = place.file("input", exec(1.0, "a", 1))?;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_collect"))
        .current_dir(place.path(""))
        .args(["--document", "x.yaml", "--samples", "samples.parquet", "--outcome", "outcome.json"])
        .args(["--now", NOW, "--source", "processes=-"])
        .stdin(fs_err::File::open(file)?.into_parts().0)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(shown(&Samples::read(&place.path("samples.parquet"))?, "exec_count")?, ["10 a 1"]);
    Ok(())
}

#[test]
fn non_tetragon_file_is_refused_with_file_and_line() -> Result<()> {
    let place = Place::new(DOCUMENT)?;
    let no_time = exec(1.0, "a", 2).replace("\"time\"", "\"at\"");
    place.file("events/t.log", exec(1.0, "a", 1) + "\n" + &no_time)?;
    let said = place.fails(NOW, &[], 3)?;
    ensure!(said.contains("line 3 of `events/t.log` is an event without `time`"), "{said}");
    place.file("events/t.log", exec(1.0, "a", 1) + "not json\n")?;
    let said = place.fails(NOW, &[], 3)?;
    ensure!(
        said.contains("1 of 2 lines are not events of Tetragon; the first is line 2"),
        "{said}"
    );
    let mut damaged = packed(&exec(1.0, "a", 1).repeat(500))?;
    let half = damaged.len() / 2;
    damaged.truncate(half);
    place.file("events/t.log", damaged)?;
    let said = place.fails(NOW, &[], 3)?;
    ensure!(said.contains("cannot read `events/t.log`"), "{said}");
    place.file("events/t.log", exec(300.0, "a", 1))?;
    let said = place.fails(NOW, &[], 3)?;
    ensure!(said.contains("has no event from"), "{said}");
    Ok(())
}

#[test]
fn a_file_that_ends_within_a_line_is_read_up_to_it() -> Result<()> {
    let place = Place::new(DOCUMENT)?;
    let text = exec(1.0, "a", 1) + &exec(2.0, "a", 2);
    place.file("events/t.log", &text[..text.len() - 40])?;
    assert_eq!(shown(&place.samples(NOW, &[])?, "exec_count")?, ["10 a 1"]);
    let warnings = place.outcome()?["warnings"].to_string();
    ensure!(warnings.contains("1 lines are cut by the end of their file"), "{warnings}");
    Ok(())
}

/// A node whose Tetragon writes and rotates its export.
struct Node<'a> {
    folder: &'a Path,
    rotations: usize,
    events: usize,
}

impl Node<'_> {
    fn write(&mut self, seconds: f64) -> Result<()> {
        self.events += 1;
        let path = self.folder.join("tetragon.log");
        let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
        Ok(file.write_all(exec(seconds, "a", self.events).as_bytes())?)
    }

    fn rotate(&mut self) -> Result<()> {
        self.rotations += 1;
        let name = format!("tetragon-2026-11-29T19-00-{:02}.000.log", self.rotations);
        let live = self.folder.join("tetragon.log");
        fs_err::rename(&live, self.folder.join(name))?;
        Ok(fs_err::write(&live, "")?)
    }
}

#[test]
fn followed_file_is_recorded_once_through_rotations_and_restarts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let logs = folder.path().join("logs");
    fs_err::create_dir_all(&logs)?;
    let url = format!("file://{}", folder.path().join("store").display());
    let store: Arc<dyn store::ObjectStore> = store::open(&url)?.into();
    let text = "format: 1\nname: node\nstep: 10s\nrange: 5m\nsources: {processes: {tetragon: \
        {path: logs/tetragon.log, follow: true, lateness: 10s, quiet: 1m, events: [exit]}}}\n\
        features: [raw: {}]\nmodels: {z_score: {}}\nvote: {combine: mean, threshold: {quantile: {share: 0.99}}}\n";
    let document = Collect::from(document::parse("x.yaml", text)?);
    let spool = folder.path().join("spool");
    let exports = BTreeMap::new();
    let open = || {
        Recorder::open(Recording {
            document: &document,
            exports: &exports,
            folder: folder.path(),
            store: Arc::clone(&store),
            recorder: "a",
            spool: &spool,
        })
    };
    let mut node = Node { folder: &logs, rotations: 0, events: 0 };
    let mut recorder = open()?;
    let mut expected: BTreeMap<i64, usize> = BTreeMap::new();
    for step in 1..=18_i64 {
        let end = 10 * step;
        for event in 0..step % 5 {
            node.write(end as f64 - 9.0 + event as f64)?;
        }
        *expected.entry(end).or_default() += usize::try_from(step % 5)?;
        if step % 3 == 0 {
            node.rotate()?;
        }
        if step % 6 == 0 {
            node.write(end as f64 - 0.5)?;
            *expected.entry(end).or_default() += 1;
            node.rotate()?;
        }
        let taken = recorder.step(second(end))?;
        assert_eq!(taken.failures, Vec::<String>::new());
        if step % 4 == 0 {
            // As if it had been killed: nothing is closed, and the next recorder resumes.
            drop(recorder);
            recorder = open()?;
        }
    }
    recorder.step(second(190))?;
    recorder.finish()?;
    let place = Place::new(
        "step: 10s\nrange: 4m\nsources: {nodes: {recorded: {pipeline: node, source: processes, \
         columns: [{name: exec_count}]}}}",
    )?;
    let samples = place.samples("2026-11-29T19:03:30Z", &["--recorded", &url])?;
    let expected: Vec<String> =
        expected.iter().map(|(end, execs)| format!("{end} a {execs}")).collect();
    assert_eq!(shown(&samples, "exec_count")?, expected);
    Ok(())
}
