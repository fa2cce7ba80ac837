//! Many processes at once, and processes killed at any moment.
//!
//! The processes are this test program again, told by a test's name which part to play and by
//! lines on their standard input what with.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use contract::ErrorKind;
use fs_err as fs;
use store::{Change, Condition, FolderStore, ObjectStore as _, Put, Registry};
use support::{PIPELINE, time, write_bundle};

const PROCESSES: usize = 64;

/// Starts this program as the process that `role` describes and gives it its first line.
fn start(role: &str, line: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", role, "--nocapture", "--test-threads=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
    child
}

fn next_line() -> String {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[expect(clippy::print_stdout, reason = "what a process says to the one that started it")]
fn say(words: &str) {
    println!("@{words}");
}

/// Returns what a process said, without the test harness' own lines.
fn said(line: &str) -> Option<&str> {
    Some(line.split_once('@')?.1)
}

/// Registers a version of its own, waits for the word, promotes until it has won.
#[test]
#[ignore = "a process of `of_64_processes_each_promotes_once_and_losers_know`"]
fn racer() {
    let line = next_line();
    let (folder, number) = line.rsplit_once(' ').unwrap();
    let store = FolderStore::open(&Path::new(folder).join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let bundle = Path::new(folder).join(number);
    write_bundle(&bundle, time("2026-11-21T08:00:00Z"), number.as_bytes()).unwrap();
    let version = registry.put_version(&bundle).unwrap();
    say("ready");
    next_line();
    let now = time("2026-11-21T09:00:00Z");
    let change = Change { alias: "live", version: &version, now, by: number, why: "a race" };
    let (mut expected, mut lost) = (None, 0);
    loop {
        match registry.promote(&change, expected.as_ref()) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind, ErrorKind::LostRace, "{error}"),
        }
        lost += 1;
        expected = registry.alias("live").unwrap();
    }
    say(&format!("{lost} {version}"));
}

#[test]
fn of_64_processes_each_promotes_once_and_losers_know() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().display();
    let mut racers: Vec<_> =
        (0..PROCESSES).map(|number| start("racer", &format!("{folder} {number}"))).collect();
    let mut outputs: Vec<_> =
        racers.iter_mut().map(|racer| BufReader::new(racer.stdout.take().unwrap())).collect();
    let mut hear = |racer: usize| {
        let mut line = String::new();
        while said(&line).is_none() {
            line.clear();
            assert_ne!(outputs[racer].read_line(&mut line).unwrap(), 0, "racer {racer} ended");
        }
        said(&line).unwrap().trim_end().to_owned()
    };
    for racer in 0..PROCESSES {
        assert_eq!(hear(racer), "ready");
    }
    for racer in &mut racers {
        writeln!(racer.stdin.as_mut().unwrap(), "go").unwrap();
    }
    let results: Vec<_> = (0..PROCESSES).map(&mut hear).collect();
    drop(outputs);
    for mut racer in racers {
        // The harness' last words go nowhere, so only the word counts, not the exit code.
        racer.wait().unwrap();
    }

    let results: Vec<(usize, &str)> = results
        .iter()
        .map(|result| result.split_once(' ').unwrap())
        .map(|(lost, version)| (lost.parse().unwrap(), version))
        .collect();
    assert_eq!(results.iter().filter(|(lost, _)| *lost == 0).count(), 1, "one won at once");
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let promoted: BTreeSet<_> = results.iter().map(|(_, version)| (*version).to_owned()).collect();
    assert_eq!(promoted.len(), PROCESSES);
    assert_eq!(registry.versions().unwrap().into_iter().collect::<BTreeSet<_>>(), promoted);
    let history = registry.history("live").unwrap();
    assert_eq!(store.list("models/cluster/history/", None, 999).unwrap().len(), PROCESSES);
    assert_eq!(history.iter().map(|e| e.version.clone()).collect::<BTreeSet<_>>(), promoted);
    let mut previous = None;
    for (entry, number) in history.iter().zip(1..) {
        assert_eq!((entry.change, &entry.previous), (number, &previous), "each knows its before");
        previous = Some(entry.version.clone());
    }
    assert_eq!(registry.alias("live").unwrap().map(|record| record.version), previous);
    assert_eq!(store.list("models/cluster/aliases/", None, 9).unwrap().len(), 1);
}

const OBJECT_BYTES: usize = 300_000;

/// Writes objects until it is killed: new ones, replaced ones, compared ones.
#[test]
#[ignore = "the process that `a_killed_writer_leaves_nothing_half_visible` kills"]
fn writer() {
    let store = FolderStore::open(Path::new(&next_line())).unwrap();
    let mut etag = store.get("compared").unwrap().map(|object| object.etag);
    for round in 0..=u8::MAX {
        let bytes = vec![round; OBJECT_BYTES];
        let condition = etag.as_deref().map_or(Condition::IfAbsent, Condition::IfMatch);
        let Put::Written(new) = store.put("compared", &bytes, condition).unwrap() else { panic!() };
        etag = Some(new);
        assert_ne!(store.put("replaced", &bytes, Condition::Any).unwrap(), Put::Conflict);
        let key = format!("new/{}", contract::artifact::sha256(&bytes));
        assert!(store.put(&key, &bytes, Condition::IfAbsent).is_ok());
        say("written");
    }
}

#[test]
fn a_killed_writer_leaves_nothing_half_visible() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("store");
    let store = FolderStore::open(&root).unwrap();
    let mut remains_seen = 0;
    for round in 0..40_u32 {
        let mut child = start("writer", &root.display().to_string());
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while said(&line).is_none() {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the writer ended");
        }
        // Somewhere in the middle of the following writes, at another place in each round.
        for spin in 0..round * 40_000 {
            std::hint::black_box(spin);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for key in store.list("", None, 9999).unwrap() {
            let bytes = store.get(&key).unwrap().unwrap().bytes;
            assert_eq!(bytes.len(), OBJECT_BYTES, "{key}");
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "{key}");
        }
        let remains = fs::read_dir(root.join(".lynceus/partial")).unwrap().count();
        assert!(remains <= 1, "{remains} remains: the next writer clears what was left");
        remains_seen += remains;
    }
    assert!(remains_seen > 0, "no kill hit a write: the test shows nothing");
    let fresh = FolderStore::open(&root).unwrap();
    assert_ne!(fresh.put("after", b"1", Condition::IfAbsent).unwrap(), Put::Conflict);
    assert_eq!(fs::read_dir(root.join(".lynceus/partial")).unwrap().count(), 0);
}
