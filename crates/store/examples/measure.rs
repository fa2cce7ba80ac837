//! What `tests/bench/store.sh` measures: operations of a store, by its URL.
//!
//! ```text
//! measure up URL KEY FILE | down URL KEY FILE     one large object
//! measure deploy URL ROUNDS                       put and promote a bundle
//! measure fill URL VERSIONS WINDOWS               a registry and scores of that size
//! measure scores URL WINDOWS                      write windows as a catch-up does, and read them back
//! measure commands URL                            what commands ask of a store of that size
//! ```
#![expect(clippy::print_stdout, reason = "what was measured is the output")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use contract::score::WindowScore;
use contract::{Span, Timestamp};
use store::{Change, ObjectStore, Registry, scores, watermark};
use support::{PIPELINE, time, write_bundle};

/// Writers that fill a store at once.
const WRITERS: usize = 8;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["up", url, key, file] => {
            store::open(url)?.put_file(key, Path::new(file))?;
        }
        ["down", url, key, file] => {
            store::open(url)?.get_file(key, Path::new(file))?;
        }
        ["deploy", url, rounds] => deploy(url, rounds.parse()?)?,
        ["fill", url, versions, windows] => fill(url, versions.parse()?, windows.parse()?)?,
        ["scores", url, windows] => write_and_read_scores(url, windows.parse()?)?,
        ["commands", url] => commands(url)?,
        _ => bail!("see the head of the source"),
    }
    Ok(())
}

fn at(minutes: usize) -> Timestamp {
    time("2026-01-01T00:00:00Z") + Span::from_seconds(60 * i64::try_from(minutes).unwrap_or(0))
}

fn change(version: &str, minutes: usize) -> Change<'_> {
    Change { alias: "live", version, now: at(minutes), by: "measure", why: "a measurement" }
}

/// Each round is a process' worth of work: opened anew, put, promoted.
fn deploy(url: &str, rounds: usize) -> Result<()> {
    let temp = tempfile::tempdir()?;
    let mut milliseconds = Vec::new();
    for round in 0..rounds {
        let bundle = temp.path().join(round.to_string());
        // As large as a bundle of three detectors.
        let bytes: Vec<u8> = (0..25_000).flat_map(|n| (n * 31 + round).to_le_bytes()).collect();
        write_bundle(&bundle, at(round), &bytes)?;
        let start = Instant::now();
        let store = store::open(url)?;
        let registry = Registry::new(store.as_ref(), PIPELINE);
        let version = registry.put_version(&bundle)?;
        let expected = registry.alias("live")?;
        registry.promote(&change(&version, round), expected.as_ref())?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    milliseconds.sort_by(f64::total_cmp);
    let (median, late) = (milliseconds[rounds / 2], milliseconds[rounds * 95 / 100]);
    println!("deploy median {median:.1} ms, 95 % {late:.1} ms");
    Ok(())
}

fn fill(url: &str, versions: usize, windows: usize) -> Result<()> {
    let writers: Vec<Result<()>> = std::thread::scope(|scope| {
        let start = |writer| scope.spawn(move || write_share(url, writer, versions, windows));
        let writers: Vec<_> = (0..WRITERS).map(start).collect();
        let ended = writers.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.map(|end| end.unwrap_or_else(|_| bail!("a writer panicked"))).collect()
    });
    writers.into_iter().collect()
}

fn write_share(url: &str, writer: usize, versions: usize, windows: usize) -> Result<()> {
    let store = store::open(url)?;
    let registry = Registry::new(store.as_ref(), PIPELINE);
    let temp = tempfile::tempdir()?;
    for number in (writer..versions).step_by(WRITERS) {
        write_bundle(temp.path(), at(number), &number.to_le_bytes())?;
        registry.put_version(temp.path())?;
    }
    for number in (writer..windows).step_by(WRITERS) {
        let score = WindowScore::new(PIPELINE, at(number), "measured", Vec::new());
        scores::write_once(store.as_ref(), &score)?;
    }
    Ok(())
}

/// Writes windows as a catch-up does, and reads them back.
fn write_and_read_scores(url: &str, windows: usize) -> Result<()> {
    let score = |number: usize| WindowScore::new(PIPELINE, at(number), "measured", Vec::new());
    let windows: Vec<WindowScore> = (1..=windows).map(score).collect();
    let store = store::open(url)?;
    let start = Instant::now();
    scores::write_all(store.as_ref(), &windows.iter().collect::<Vec<_>>())?;
    let written = start.elapsed().as_secs_f64();
    // Another process' store, with nothing at hand but the address.
    let store = store::open(url)?;
    let start = Instant::now();
    let read = scores::read_after(store.as_ref(), PIPELINE, Some(at(0)), at(windows.len())).count();
    let seconds = start.elapsed().as_secs_f64();
    println!("{} windows written {written:.2} s, {read} read {seconds:.2} s", windows.len());
    Ok(())
}

fn commands(url: &str) -> Result<()> {
    let say = |name: &str, start: Instant| {
        println!("{name}: {:.0} ms", start.elapsed().as_secs_f64() * 1000.0);
    };
    let start = Instant::now();
    let store = store::open(url)?;
    let registry = Registry::new(store.as_ref(), PIPELINE);
    registry.alias("live")?;
    say("open and read an alias", start);
    let start = Instant::now();
    let (latest, _) = registry.latest_versions(20)?;
    say(&format!("list the latest {} versions", latest.len()), start);
    let start = Instant::now();
    let versions = registry.versions()?;
    say(&format!("list {} versions", versions.len()), start);
    let start = Instant::now();
    let last = versions.last().context("no versions")?;
    let expected = registry.alias("live")?;
    registry.promote(&change(last, versions.len()), expected.as_ref())?;
    say("promote", start);
    let start = Instant::now();
    registry.fetch(last, None)?;
    say("fetch a bundle", start);
    let start = Instant::now();
    let history = registry.history("live")?.len();
    say(&format!("history of {history}"), start);
    say_scores(store.as_ref(), &say)
}

fn say_scores(store: &dyn ObjectStore, say: &dyn Fn(&str, Instant)) -> Result<()> {
    let start = Instant::now();
    watermark::read(store, PIPELINE)?;
    say("read the watermark", start);
    for (name, from, to) in [
        ("the last five windows", 99_995, 100_000),
        ("five windows in the middle", 50_000, 50_005),
        ("a range after the last", 200_000, 200_005),
        ("a day of windows", 98_560, 100_000),
    ] {
        let start = Instant::now();
        let read = scores::read_after(store, PIPELINE, Some(at(from)), at(to)).count();
        say(&format!("{name} ({read})"), start);
    }
    Ok(())
}
