//! What every store must do, as functions over the trait: each takes a store without objects.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Barrier;

use anyhow::{Context as _, Result, ensure};
use contract::ErrorKind;
use fs_err as fs;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{Condition, Listed, ObjectStore, Put};

fn written(put: Put) -> Result<String> {
    match put {
        Put::Written(etag) => Ok(etag),
        Put::Conflict => anyhow::bail!("conflict"),
    }
}

pub(crate) fn written_objects_are_read(store: &dyn ObjectStore) -> Result<()> {
    ensure!(store.get("a/b")?.is_none());
    let etag = written(store.put("a/b", b"one", Condition::Any)?)?;
    let object = store.get("a/b")?.context("no object")?;
    ensure!(object.bytes == b"one" && object.etag == etag);
    let other = written(store.put("a/b", b"", Condition::Any)?)?;
    ensure!(other != etag, "another content has another tag");
    ensure!(store.get("a/b")?.context("no object")?.bytes.is_empty(), "an object may be empty");
    ensure!(store.get("a")?.is_none(), "the beginning of a key is not a key");
    ensure!(store.get("a/b/c")?.is_none());
    store.delete("a/b")?;
    store.delete("a/b")?;
    ensure!(store.get("a/b")?.is_none());
    let keys: Vec<String> = (0..40).map(|number| format!("many/{number}")).collect();
    for key in keys.iter().step_by(3) {
        written(store.put(key, key.as_bytes(), Condition::Any)?)?;
    }
    for (number, object) in store.get_many(&keys)?.into_iter().enumerate() {
        let expected = (number % 3 == 0).then(|| keys[number].as_bytes().to_vec());
        ensure!(object.map(|object| object.bytes) == expected, "in the order of the keys");
    }
    Ok(())
}

pub(crate) fn many_new_objects_are_written_once_each(store: &dyn ObjectStore) -> Result<()> {
    let object = |number: usize| (format!("new/{number:03}"), vec![b'n'; number]);
    let objects: Vec<_> = (0..100).map(object).collect();
    for (key, _) in objects.iter().step_by(3) {
        written(store.put(key, b"old", Condition::Any)?)?;
    }
    let expected: Vec<bool> = (0..100).map(|number| number % 3 != 0).collect();
    ensure!(store.put_new(&objects)? == expected, "in the order of the objects");
    ensure!(store.put_new(&objects)? == [false; 100] && store.put_new(&[])?.is_empty());
    let mut listed = store.list_tagged("new/", Some("new/009"), 50)?;
    let keys: Vec<_> = listed.iter().map(|listed| listed.key.clone()).collect();
    ensure!(keys == store.list("new/", Some("new/009"), 50)? && keys.len() == 50);
    listed.insert(7, Listed { key: "new/absent".to_owned(), etag: Some("none".to_owned()) });
    let mut read = store.read_listed(&listed)?;
    ensure!(read.remove(7).is_none(), "one that was removed since is not there");
    for (bytes, (number, old)) in read.into_iter().zip((10..60).map(|n| (n, n % 3 == 0))) {
        let expected = if old { b"old".to_vec() } else { object(number).1 };
        ensure!(bytes == Some(expected), "{number}");
    }
    let wrong = [("a".to_owned(), Vec::new()), ("../b".to_owned(), Vec::new())];
    ensure!(store.put_new(&wrong).is_err_and(|error| error.kind == ErrorKind::Usage));
    Ok(())
}

pub(crate) fn a_condition_that_does_not_hold_changes_nothing(
    store: &dyn ObjectStore,
) -> Result<()> {
    ensure!(store.put("k", b"x", Condition::IfMatch("0"))? == Put::Conflict);
    ensure!(store.get("k")?.is_none());
    let one = written(store.put("k", b"one", Condition::IfAbsent)?)?;
    ensure!(store.put("k", b"two", Condition::IfAbsent)? == Put::Conflict);
    let two = written(store.put("k", b"two", Condition::IfMatch(&one))?)?;
    ensure!(store.put("k", b"three", Condition::IfMatch(&one))? == Put::Conflict);
    ensure!(store.get("k")?.context("no object")?.bytes == b"two");
    store.delete("k")?;
    ensure!(store.put("k", b"four", Condition::IfMatch(&two))? == Put::Conflict);
    written(store.put("k", b"four", Condition::IfAbsent)?)?;
    Ok(())
}

pub(crate) fn one_of_many_concurrent_writers_wins(store: &dyn ObjectStore) -> Result<()> {
    const WRITERS: usize = 8;
    let race = |condition: Condition<'_>| -> Result<usize> {
        let barrier = Barrier::new(WRITERS);
        let barrier = &barrier;
        let puts: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn(move || {
                        let bytes = format!("{condition:?} {writer}");
                        barrier.wait();
                        store.put("race", bytes.as_bytes(), condition)
                    })
                })
                .collect();
            writers.into_iter().filter_map(|writer| writer.join().ok()).collect()
        });
        ensure!(puts.len() == WRITERS);
        let mut winners = 0;
        for put in puts {
            winners += usize::from(put? != Put::Conflict);
        }
        Ok(winners)
    };
    for _ in 0..16 {
        store.delete("race")?;
        ensure!(race(Condition::IfAbsent)? == 1);
        let etag = store.get("race")?.context("no object")?.etag;
        ensure!(race(Condition::IfMatch(&etag))? == 1);
    }
    Ok(())
}

pub(crate) fn invalid_key_is_a_usage_error(store: &dyn ObjectStore) -> Result<()> {
    for key in ["", "../x", "a/../../x", "/etc/hostname", ".hidden", "a//b", "a/"] {
        let errors = [
            store.get(key).err(),
            store.put(key, b"x", Condition::Any).err(),
            store.delete(key).err(),
            store.put_file(key, std::path::Path::new("Cargo.toml")).err(),
        ];
        for error in errors {
            ensure!(error.with_context(|| format!("`{key}` is taken"))?.kind == ErrorKind::Usage);
        }
    }
    ensure!(store.list("../", None, 9).is_err_and(|error| error.kind == ErrorKind::Usage));
    ensure!(store.list("", None, 9)?.is_empty());
    Ok(())
}

pub(crate) fn files_go_in_and_out_whole(store: &dyn ObjectStore) -> Result<()> {
    let temp = tempfile::tempdir()?;
    let (source, target) = (temp.path().join("source"), temp.path().join("sub/target"));
    // Longer than any piece, and no multiple of one.
    let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| n.to_le_bytes()[(n % 4) as usize]).collect();
    fs::write(&source, &bytes)?;
    ensure!(!store.get_file("big", &target)?, "not there yet");
    ensure!(!target.exists());
    let etag = store.put_file("big", &source)?;
    ensure!(store.get("big")?.context("no object")?.etag == etag);
    ensure!(store.get_file("big", &target)?);
    ensure!(fs::read(&target)? == bytes);
    ensure!(store.put_file("big", &temp.path().join("absent")).is_err());
    ensure!(store.get("big")?.context("no object")?.bytes == bytes, "the old one stays");
    Ok(())
}

pub(crate) fn listing_a_dot_before_a_slash_is_sorted_by_bytes(
    store: &dyn ObjectStore,
) -> Result<()> {
    for key in ["a/b", "a.b", "a=b", "aa", "A", "a/a/z", "a-"] {
        written(store.put(key, b"", Condition::Any)?)?;
    }
    let expected = ["A", "a-", "a.b", "a/a/z", "a/b", "a=b", "aa"];
    ensure!(store.list("", None, 99)? == expected);
    ensure!(store.list("a", Some("a/a"), 2)? == expected[3..5]);
    ensure!(store.list("a/", None, 99)? == ["a/a/z", "a/b"]);
    Ok(())
}

pub(crate) fn folders_are_named_once_and_hold_something(store: &dyn ObjectStore) -> Result<()> {
    for key in ["a/b/c", "a/b/d/e", "a/b.c/x", "a/e", "b/x", "c"] {
        written(store.put(key, b"", Condition::Any)?)?;
    }
    ensure!(store.folders("")? == ["a", "b"]);
    ensure!(store.folders("a/")? == ["b", "b.c"]);
    ensure!(store.folders("a/b/")? == ["d"] && store.folders("a/b/d/")?.is_empty());
    ensure!(store.folders("absent/")?.is_empty());
    store.delete("a/b.c/x")?;
    ensure!(store.folders("a/")? == ["b"], "what is empty is not a folder");
    for folder in ["a", "../", "/", "a//"] {
        let error = store.folders(folder).err().with_context(|| format!("`{folder}` is taken"))?;
        ensure!(error.kind == ErrorKind::Usage);
    }
    Ok(())
}

pub(crate) fn an_object_knows_when_it_was_written(store: &dyn ObjectStore) -> Result<()> {
    let keys = ["a/b", "absent", "a", "z"].map(str::to_owned);
    written(store.put("a/b", b"one", Condition::Any)?)?;
    written(store.put("z", b"two", Condition::Any)?)?;
    let first = store.modified(&keys)?;
    ensure!(first[0].is_some() && first[1..3] == [None, None] && first[3] >= first[0]);
    ensure!(first[0] > "2026-01-01T00:00:00Z".parse().ok(), "{first:?}");
    written(store.put("a/b", b"three", Condition::Any)?)?;
    ensure!(store.modified(&keys)?[0] >= first[3], "in the order of the writes");
    Ok(())
}

pub(crate) fn owner_has_all_permissions_and_check_leaves_nothing(
    store: &dyn ObjectStore,
) -> Result<()> {
    let check = store::check::check(store)?;
    for area in &check.areas {
        ensure!(
            area.list && area.read && area.write && area.compare && area.delete == Some(true),
            "{area:?}"
        );
        ensure!(area.refusals.is_empty(), "{area:?}");
    }
    ensure!(check.roles.iter().all(|role| role.lacks.is_empty()), "{:?}", check.roles);
    let scorer = check.roles.iter().find(|role| role.role == "scorer").context("no scorer")?;
    ensure!(scorer.beyond.contains(&"write versions".to_owned()), "{scorer:?}");
    ensure!(check.left_behind.is_empty() && store.list("", None, 9)?.is_empty());
    Ok(())
}

/// Law: a listing is the sorted set of keys, cut to the prefix, what comes after, and the limit.
///
/// `MinIO`, asked for what comes after `a/b`, forgets `a/b-c` (seen with the release of 2026-02-12);
/// no key of ours begins another one of its folder. `longer` says that the server forgets nothing.
pub(crate) fn any_listing_is_a_part_of_the_sorted_keys(
    store: &dyn ObjectStore,
    cases: u32,
    longer: bool,
) -> Result<()> {
    let part = "[ab][ab.=-]{0,2}";
    let key = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let case = (
        prop::collection::vec(key.clone(), 0..24),
        prop_oneof![Just(String::new()), key.clone(), "[ab]{1,2}/", "[ab]"],
        prop::option::of(prop_oneof![key, "[ab]{1,2}/?[ab~]?"]),
        0..8_usize,
    );
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let rounds = Cell::new(0);
    let law = runner.run(&case, |(keys, prefix, after, limit)| {
        rounds.set(rounds.get() + 1);
        // Each case has a root of its own in the same store.
        let root = format!("case{}/", rounds.get());
        let mut present = BTreeSet::new();
        for key in keys {
            let key = format!("{root}{key}");
            let nested = |other: &String| {
                other.starts_with(&format!("{key}/")) || key.starts_with(&format!("{other}/"))
            };
            let begins = |other: &String| other.starts_with(&key) || key.starts_with(other);
            if !present.iter().any(|other| nested(other) || (!longer && begins(other))) {
                let put = store.put(&key, b"", Condition::Any);
                prop_assert!(put.is_ok(), "{put:?}");
                present.insert(key);
            }
        }
        let (prefix, after) = (format!("{root}{prefix}"), after.map(|after| root + &after));
        let matching = present.iter().filter(|key| key.starts_with(&prefix));
        let expected: Vec<_> =
            matching.filter(|key| after.as_ref().is_none_or(|after| *key > after)).collect();
        let failed = |error: contract::StepError| TestCaseError::fail(error.to_string());
        let listed = store.list(&prefix, after.as_deref(), limit).map_err(failed)?;
        let cut: Vec<_> = expected.iter().take(limit).collect();
        prop_assert_eq!(
            listed.iter().collect::<Vec<_>>(),
            cut.into_iter().copied().collect::<Vec<_>>()
        );
        // Page by page, every key comes once.
        let (mut paged, mut cursor) = (Vec::new(), after);
        loop {
            let page = store.list(&prefix, cursor.as_deref(), 3).map_err(failed)?;
            let Some(last) = page.last() else { break };
            cursor = Some(last.clone());
            paged.extend(page);
        }
        prop_assert_eq!(paged.iter().collect::<Vec<_>>(), expected);
        Ok(())
    });
    Ok(law?)
}
