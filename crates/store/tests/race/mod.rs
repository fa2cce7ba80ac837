//! Many processes at once: this test program again, told by a test's name which part to play and
//! by lines on their standard input what with.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use contract::ErrorKind;
use store::{Change, ObjectStore, Registry};

use crate::support::{PIPELINE, time, write_bundle};

const PROCESSES: usize = 64;

/// Starts this program as the process that `role` describes, with more in its environment, and
/// gives it its first line.
pub(crate) fn start(role: &str, environment: &[(&str, String)], line: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", role, "--nocapture", "--test-threads=1"])
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
    child
}

pub(crate) fn next_line() -> String {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[expect(clippy::print_stdout, reason = "what a process says to the one that started it")]
pub(crate) fn say(words: &str) {
    println!("@{words}");
}

/// Returns what a process said, without the test harness' own lines.
pub(crate) fn said(line: &str) -> Option<&str> {
    Some(line.split_once('@')?.1)
}

/// Registers a version of its own, waits for the word, promotes until it has won.
pub(crate) fn racer() {
    let line = next_line();
    let (url, number) = line.rsplit_once(' ').unwrap();
    let store = store::open(url).unwrap();
    let registry = Registry::new(store.as_ref(), PIPELINE);
    let temp = tempfile::tempdir().unwrap();
    let bundle = temp.path().join("bundle");
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

/// Lets processes, which are this program's test `racer`, race for an alias of a store that is
/// empty, and looks at what is there afterwards with a store of this process.
pub(crate) fn of_64_processes_each_promotes_once(
    url: &str,
    environment: &[(&str, String)],
    store: &dyn ObjectStore,
) {
    let mut racers: Vec<_> = (0..PROCESSES)
        .map(|number| start("racer", environment, &format!("{url} {number}")))
        .collect();
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
    let registry = Registry::new(store, PIPELINE);
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
