//! Score objects that are kept on this machine: asked for once, and never taken for others.

mod s3_servers;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use contract::Timestamp;
use contract::score::WindowScore;
use fs_err as fs;
use s3_servers::proxy::{Fault, Proxy};
use s3_servers::{BUCKET, on_every_server};
use store::{Condition, ObjectStore as _, Put, S3Settings, S3Store, scores};

const WINDOWS: i64 = 40;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_ms(minute * 60_000)
}

fn window(minute: i64, version: &str) -> WindowScore {
    WindowScore::new("p", at(minute), version, Vec::new())
}

/// Opens a store by name that keeps scores in a folder, if there is one.
fn open(proxy: &Proxy, name: &str, cache: Option<&Path>) -> Result<S3Store> {
    let cache = cache.map(Path::to_owned);
    let settings = S3Settings { cache, ..proxy.access().settings() };
    Ok(S3Store::with_settings(&format!("s3://{BUCKET}/{name}"), settings)?)
}

fn read(store: &S3Store) -> Result<Vec<WindowScore>> {
    Ok(scores::read_after(store, "p", None, at(WINDOWS)).collect::<Result<_, _>>()?)
}

/// Returns how many objects were read since it was asked last.
fn reads(proxy: &Proxy) -> impl FnMut() -> usize {
    let mut before = 0;
    move || {
        let gets = |request: &&String| request.starts_with("GET") && request.contains(".json");
        let all = proxy.seen().iter().filter(gets).count();
        all - std::mem::replace(&mut before, all)
    }
}

#[test]
fn cached_objects_are_not_fetched_twice() {
    on_every_server(|server| {
        let proxy = Proxy::start(server, |_| Fault::None)?;
        let mut reads = reads(&proxy);
        let (writer, reader) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let expected: Vec<_> = (1..=WINDOWS).map(|minute| window(minute, "one")).collect();
        let all: Vec<_> = expected.iter().collect();
        let written = scores::write_all(&open(&proxy, "kept", Some(writer.path()))?, &all)?;
        ensure!(written.iter().all(|written| *written));
        // Each time another process, with nothing in memory.
        let objects = usize::try_from(WINDOWS)?;
        for (cache, fetched) in [
            (Some(writer.path()), 0),
            (Some(reader.path()), objects),
            (Some(reader.path()), 0),
            (None, objects),
        ] {
            let (found, of_bucket) = (read(&open(&proxy, "kept", cache)?)?, reads());
            ensure!(found == expected, "{} windows: {found:?}", found.len());
            // Without tags in its listings everything is fetched each time.
            let fetched = if server.is_in_process { objects } else { fetched };
            ensure!(of_bucket == fetched, "{of_bucket} reads, not {fetched}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn changed_object_is_not_served_from_cache() {
    on_every_server(|server| {
        let proxy = Proxy::start(server, |_| Fault::None)?;
        let mut reads = reads(&proxy);
        let cache = tempfile::tempdir()?;
        let store = open(&proxy, "changed-since", Some(cache.path()))?;
        let mut expected: Vec<_> = (1..=WINDOWS).map(|minute| window(minute, "one")).collect();
        scores::write_all(&store, &expected.iter().collect::<Vec<_>>())?;
        // The owner repairs one, removes another, and a third is damaged on this machine.
        let direct = server.store("changed-since")?;
        let key = |minute| scores::key("p", at(minute));
        let repaired = contract::artifact::json_bytes(&window(3, "two"))?;
        ensure!(direct.put(&key(3), &repaired, Condition::Any)? != Put::Conflict);
        direct.delete(&key(5))?;
        let kept = contract::artifact::files_below(cache.path())?;
        let kept = kept.iter().find(|file| file.ends_with(&key(7))).context("not kept")?;
        fs::write(cache.path().join(kept), b"x")?;
        expected[2] = window(3, "two");
        expected.remove(4);
        for fetched in [2, 0] {
            let (found, of_bucket) = (read(&store)?, reads());
            ensure!(found == expected, "{} windows: {found:?}", found.len());
            // Without tags in its listings everything is fetched each time.
            let fetched = if server.is_in_process { expected.len() } else { fetched };
            ensure!(of_bucket == fetched, "{of_bucket} reads, not {fetched}");
        }
        Ok(())
    })
    .unwrap();
}
