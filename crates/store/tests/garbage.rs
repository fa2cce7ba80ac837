//! What is collected and what is kept, over every store.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod s3_servers;
mod support;

use anyhow::{Result, ensure};
use contract::{Span, Timestamp};
use s3_servers::on_every_server;
use store::garbage::{self, Garbage, Kind, Retention};
use store::{Change, Condition, FolderStore, ObjectStore, Put, Registry};
use support::{PIPELINE, time, write_bundle};

const DAY: Span = Span::from_seconds(86_400);

fn days(number: i64) -> Span {
    Span::from_ms(DAY.ms() * number)
}

fn on_every_store(name: &str, test: fn(&dyn ObjectStore) -> Result<()>) {
    let temp = tempfile::tempdir().unwrap();
    test(&FolderStore::open(temp.path()).unwrap()).unwrap();
    on_every_server(|server| test(&server.store(name)?)).unwrap();
}

fn write(store: &dyn ObjectStore, key: &str) -> Result<()> {
    ensure!(store.put(key, b"x", Condition::IfAbsent)? != Put::Conflict);
    Ok(())
}

/// Registers versions, and returns them with a present that comes so many days after the last
/// write.
fn versions(store: &dyn ObjectStore, count: u8, later: i64) -> Result<(Vec<String>, Timestamp)> {
    let temp = tempfile::tempdir()?;
    let registry = Registry::new(store, PIPELINE);
    let mut versions = Vec::new();
    for number in 0..count {
        let folder = temp.path().join(number.to_string());
        let end = time("2026-01-01T00:00:00Z") + days(i64::from(number));
        versions.push(registry.put_version(&write_bundle(&folder, end, &[number])?)?);
    }
    write(store, "state/cluster/last.json")?;
    let written = store.modified(&["state/cluster/last.json".to_owned()])?;
    Ok((versions, written[0].unwrap() + days(later)))
}

fn promote(store: &dyn ObjectStore, version: &str, now: Timestamp) -> Result<()> {
    let registry = Registry::new(store, PIPELINE);
    let change = Change { alias: "live", version, now, by: "test", why: "because" };
    registry.promote(&change, registry.alias("live")?.as_ref())?;
    Ok(())
}

fn names(found: &[Garbage], kind: Kind) -> Vec<&str> {
    found.iter().filter(|it| it.kind == kind).map(|it| it.name.as_str()).collect()
}

fn what_aliases_and_their_recent_history_name_stays(store: &dyn ObjectStore) -> Result<()> {
    let (versions, now) = versions(store, 5, 200)?;
    // Live were 0 long ago, 1 when the retention begins, 2 within it, and 3 now; 4 never was.
    for (version, ago) in [(0, 150), (1, 50), (2, 30), (3, 10)] {
        promote(store, &versions[version], now - days(ago))?;
    }
    write(store, "models/cluster/versions/20250101T000000Z-0123456789ab/reference.json")?;
    write(store, "runs/cluster/old/collect/samples.parquet")?;
    write(store, "runs/cluster/old/run.json")?;
    write(store, "runs/cluster/old/select/bundle/bundle.json")?;
    write(store, "cache/0123.json")?;
    write(store, "scores/cluster/date=2025-01-01/20250101T000000Z.json")?;
    let kept = now.date();
    write(store, &format!("scores/cluster/date={kept}/x.json"))?;
    write(store, "messages/cluster/date=2025-01-01/20250101T000000Z-0123456789ab.json")?;
    let retention = Retention { now, keep: days(40), keep_scores: days(400), untouched: DAY };
    let found = garbage::find(store, retention)?;
    let unfinished = "20250101T000000Z-0123456789ab";
    ensure!(names(&found, Kind::Version) == [unfinished, &versions[0], &versions[4]], "{found:?}");
    ensure!(names(&found, Kind::Run) == ["old"] && names(&found, Kind::Cache) == ["0123.json"]);
    ensure!(names(&found, Kind::Scores) == ["2025-01-01"], "{found:?}");
    ensure!(names(&found, Kind::Messages) == ["2025-01-01"], "{found:?}");
    let whole = found.iter().find(|it| it.name == versions[0]).unwrap();
    ensure!(whole.keys.len() == 3 && whole.keys[0].ends_with("/bundle.json"), "{whole:?}");
    let run = found.iter().find(|it| it.kind == Kind::Run).unwrap();
    ensure!(run.keys.len() == 3 && run.keys[0] == "runs/cluster/old/run.json", "{run:?}");

    let registry = Registry::new(store, PIPELINE);
    ensure!(registry.versions()?.len() == 5, "finding changes nothing");
    for garbage in &found {
        ensure!(garbage::remove(store, garbage)?);
    }
    ensure!(registry.versions()? == versions[1..4]);
    ensure!(store.folders("models/cluster/versions/")? == versions[1..4]);
    ensure!(registry.history("live")?.len() == 4, "history is never removed");
    ensure!(store.list("runs/", None, 9)?.is_empty() && store.list("cache/", None, 9)?.is_empty());
    ensure!(store.list("scores/", None, 9)? == [format!("scores/cluster/date={kept}/x.json")]);
    ensure!(store.list("messages/", None, 9)?.is_empty());
    registry.rollback("live", now, "test", None)?;
    registry.fetch(&versions[2], None)?;
    ensure!(garbage::find(store, retention)?.is_empty());
    Ok(())
}

#[test]
fn versions_of_aliases_and_recent_history_are_kept() {
    on_every_store("named", what_aliases_and_their_recent_history_name_stays);
}

fn what_is_young_stays(store: &dyn ObjectStore) -> Result<()> {
    let (_, now) = versions(store, 2, 0)?;
    write(store, "runs/cluster/new/run.json")?;
    let none = Span::ZERO;
    let retention =
        Retention { now: now + days(1), keep: none, keep_scores: none, untouched: days(2) };
    ensure!(garbage::find(store, retention)?.is_empty());
    let retention = Retention { now: now + days(3), ..retention };
    ensure!(garbage::find(store, retention)?.len() == 3);
    Ok(())
}

#[test]
fn recent_files_are_not_collected_as_garbage() {
    on_every_store("young", what_is_young_stays);
}

fn what_was_promoted_since_stays(store: &dyn ObjectStore) -> Result<()> {
    let (versions, now) = versions(store, 1, 9)?;
    let found =
        garbage::find(store, Retention { now, keep: DAY, keep_scores: DAY, untouched: DAY })?;
    ensure!(names(&found, Kind::Version) == versions);
    promote(store, &versions[0], now)?;
    ensure!(!garbage::remove(store, &found[0])?);
    Registry::new(store, PIPELINE).fetch(&versions[0], None)?;
    Ok(())
}

#[test]
fn a_version_that_was_promoted_after_it_was_found_is_kept() {
    on_every_store("promoted", what_was_promoted_since_stays);
}

fn what_a_check_left_is_listed_and_breaks_nothing(store: &dyn ObjectStore) -> Result<()> {
    let (versions, now) = versions(store, 1, 0)?;
    promote(store, &versions[0], now)?;
    // As it is where the user of the check may write and not delete.
    let left = ["models/_check/aliases/_check.json", "models/_check/versions/_check/bundle.json"];
    left.iter().try_for_each(|key| write(store, key))?;
    let retention = Retention { now, keep: DAY, keep_scores: DAY, untouched: DAY };
    let found = garbage::find(store, retention)?;
    let mut names = names(&found, Kind::Check);
    names.sort_unstable();
    ensure!(names == left && found.len() == 2, "{found:?}");
    for garbage in &found {
        ensure!(garbage::remove(store, garbage)?);
    }
    ensure!(store.list("models/_check/", None, 9)?.is_empty());
    Ok(())
}

#[test]
fn leftovers_of_store_check_are_listed_and_harmless() {
    on_every_store("left", what_a_check_left_is_listed_and_breaks_nothing);
}
