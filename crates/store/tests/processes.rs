//! Many processes at once over every store, and processes killed at any moment over a folder.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod race;
mod s3_servers;
mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use fs_err as fs;
use race::{next_line, said, say, start};
use s3_servers::{BUCKET, on_every_server};
use store::{Condition, FolderStore, ObjectStore as _, Put};

#[test]
#[ignore = "a process of `each_of_64_processes_promotes_once_and_losers_get_a_conflict`"]
fn racer() {
    race::racer();
}

#[test]
fn each_of_64_processes_promotes_once_and_losers_get_a_conflict() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    race::of_64_processes_each_promotes_once(&store.describe(), &[], &store);
    on_every_server(|server| {
        let store = server.store("race")?;
        let url = format!("s3://{BUCKET}/race");
        race::of_64_processes_each_promotes_once(&url, &server.environment(), &store);
        Ok(())
    })
    .unwrap();
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
        let mut child = start("writer", &[], &root.display().to_string());
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
