//! What goes wrong between a store and its server: nothing is lost, nothing is half visible.

mod checksums;
#[path = "../s3_servers/mod.rs"]
mod s3_servers;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use contract::ErrorKind;
use fs_err as fs;
use s3_servers::proxy::{Fault, Proxy, Seen, through};
use s3_servers::{Access, BUCKET, on_every_server};
use store::{Condition, ObjectStore as _, Put, S3Settings, S3Store};

const MIB: usize = 1024 * 1024;

/// Bytes of which no two pieces are equal.
fn content(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0])
        .collect()
}

fn is_part(seen: &Seen<'_>) -> bool {
    seen.method == "PUT" && seen.target.contains("partNumber=")
}

fn is_completion(seen: &Seen<'_>) -> bool {
    seen.method == "POST" && seen.target.contains("uploadId=")
}

/// Says that no upload was begun and neither completed nor given up; a server that cannot say is
/// believed.
fn no_upload_is_left(server: &Access, key: &str) -> Result<bool> {
    server.with_client(async |client| {
        match client.list_multipart_uploads().bucket(BUCKET).prefix(key).send().await {
            Ok(listed) => Ok(listed.uploads().is_empty()),
            Err(error) if error.code() == Some("NotImplemented") => Ok(true),
            Err(error) => Err(error.into()),
        }
    })
}

#[test]
fn a_burst_of_slow_down_is_waited_for() {
    on_every_server(|server| {
        let (proxy, store) = through(server, "burst", |seen| match seen.before {
            0..2 => Fault::Reply(503, "SlowDown"),
            _ => Fault::None,
        })?;
        let Put::Written(etag) = store.put("a", b"one", Condition::IfAbsent)? else {
            anyhow::bail!("a conflict")
        };
        ensure!(store.get("a")?.context("no object")?.etag == etag);
        ensure!(store.list("", None, 9)? == ["a"]);
        store.delete("a")?;
        ensure!(proxy.seen().iter().filter(|request| request.starts_with("DELETE")).count() == 3);
        Ok(())
    })
    .unwrap();
}

#[test]
fn endless_throttling_is_unavailable_and_keeps_stored_objects() {
    on_every_server(|server| {
        let direct = server.store("throttled")?;
        direct.put_file("a", std::path::Path::new("Cargo.toml"))?;
        let before = direct.get("a")?;
        let (_proxy, store) = through(server, "throttled", |_| Fault::Reply(503, "SlowDown"))?;
        let error = store.put("a", b"new", Condition::Any).unwrap_err();
        ensure!(error.kind == ErrorKind::Unavailable && error.message.contains("rate limit"));
        ensure!(direct.get("a")? == before);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_write_whose_reply_got_lost_counts_as_written() {
    on_every_server(|server| {
        let (_proxy, store) = through(server, "lost-reply", |seen| {
            let probe = seen.target.contains(".lynceus");
            if seen.method == "PUT" && !probe && seen.before % 2 == 0 {
                Fault::LoseReply
            } else {
                Fault::None
            }
        })?;
        let Put::Written(one) = store.put("a", b"one", Condition::IfAbsent)? else {
            anyhow::bail!("its own write is not a conflict")
        };
        ensure!(store.get("a")?.context("no object")?.etag == one);
        let Put::Written(two) = store.put("a", b"two", Condition::IfMatch(&one))? else {
            anyhow::bail!("its own write is not a conflict")
        };
        ensure!(store.put("a", b"three", Condition::IfMatch(&one))? == Put::Conflict);
        ensure!(store.put("a", b"three", Condition::IfAbsent)? == Put::Conflict);
        let object = store.get("a")?.context("no object")?;
        ensure!(object.bytes == b"two" && object.etag == two);
        Ok(())
    })
    .unwrap();
}

#[test]
fn write_with_lost_reply_is_retried() {
    on_every_server(|server| {
        let (_proxy, store) =
            through(server, "undecided", |seen| match (seen.method, seen.before) {
                ("PUT", 0..2) => Fault::Reply(409, "ConditionalRequestConflict"),
                _ => Fault::None,
            })?;
        ensure!(store.put("a", b"one", Condition::IfAbsent)? != Put::Conflict);
        let (_proxy, store) = through(server, "undecided", |seen| match seen.method {
            "PUT" => Fault::Reply(409, "ConditionalRequestConflict"),
            _ => Fault::None,
        })?;
        let error = store.put("b", b"one", Condition::IfAbsent).unwrap_err();
        ensure!(error.kind == ErrorKind::Unavailable, "neither written nor another's: {error}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_large_file_goes_up_whole_through_resets_and_lost_replies() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    let bytes = content(35 * MIB + 1);
    fs::write(&source, &bytes).unwrap();
    on_every_server(|server| {
        let (proxy, store) = through(server, "reset", |seen| match seen.before {
            0 if is_part(seen) => Fault::CutRequest(MIB),
            1 if is_part(seen) && seen.target.contains("partNumber=2") => Fault::LoseReply,
            0 if is_completion(seen) => Fault::LoseReply,
            _ => Fault::None,
        })?;
        let etag = store.put_file("large", &source)?;
        ensure!(proxy.seen().iter().filter(|request| request.contains("partNumber=")).count() > 10);
        ensure!(no_upload_is_left(server, "reset/large")?);
        let direct = server.store("reset")?;
        ensure!(direct.get_file("large", &target)?);
        ensure!(fs::read(&target)? == bytes);
        let object = direct.get("large")?.context("no object")?;
        ensure!(object.bytes == bytes && object.etag == etag);
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_upload_that_fails_leaves_the_old_object_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::write(&source, content(20 * MIB)).unwrap();
    on_every_server(|server| {
        let direct = server.store("failed")?;
        ensure!(direct.put("large", b"old", Condition::Any)? != Put::Conflict);
        let (_proxy, store) = through(server, "failed", |seen| {
            if seen.target.contains("partNumber=3") { Fault::CutRequest(MIB) } else { Fault::None }
        })?;
        let error = store.put_file("large", &source).unwrap_err();
        ensure!(error.kind == ErrorKind::Unavailable, "{error}");
        ensure!(direct.get("large")?.context("no object")?.bytes == b"old");
        ensure!(no_upload_is_left(server, "failed/large")?, "the parts are given up");
        Ok(())
    })
    .unwrap();
}

#[test]
fn interrupted_download_resumes() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    let bytes = content(40 * MIB + 7);
    fs::write(&source, &bytes).unwrap();
    on_every_server(|server| {
        let direct = server.store("cut")?;
        direct.put_file("large", &source)?;
        ensure!(direct.put("small", &bytes[..MIB], Condition::Any)? != Put::Conflict);
        // Each reply is cut, at another place, but the last ones.
        let (_proxy, store) = through(server, "cut", |seen| match seen.before {
            0..2 if seen.method == "GET" => Fault::CutReply(MIB / 3 * (seen.before + 1)),
            _ => Fault::None,
        })?;
        ensure!(store.get("small")?.context("no object")?.bytes == bytes[..MIB]);
        ensure!(store.get_file("large", &target)?);
        ensure!(fs::read(&target)? == bytes);
        Ok(())
    })
    .unwrap();
}

#[test]
fn slow_replies_and_silence_are_waited_for_and_no_longer() {
    on_every_server(|server| {
        let (_proxy, store) = through(server, "slow", |_| Fault::Pieces(7))?;
        let bytes = content(10_000);
        ensure!(store.put("a", &bytes, Condition::IfAbsent)? != Put::Conflict);
        ensure!(store.get("a")?.context("no object")?.bytes == bytes);
        let silent = |times: usize| {
            Proxy::start(
                server,
                move |seen| {
                    if seen.before < times { Fault::Silence } else { Fault::None }
                },
            )
        };
        let proxy = silent(1)?;
        ensure!(impatient(&proxy, "slow", 700)?.get("a")?.context("no object")?.bytes == bytes);
        let proxy = silent(99)?;
        let error = impatient(&proxy, "slow", 300)?.get("a").unwrap_err();
        ensure!(error.kind == ErrorKind::Unavailable, "{error}");
        ensure!(error.message.contains("did not answer in time"), "{error}");
        let asked = proxy.seen().len();
        ensure!(asked <= 4, "{asked} attempts, where three deadlines end them all");
        Ok(())
    })
    .unwrap();
}

/// Opens a store that waits for so many milliseconds, with many attempts.
fn impatient(proxy: &Proxy, name: &str, milliseconds: u64) -> Result<S3Store> {
    let settings = S3Settings {
        reply_deadline: Duration::from_millis(milliseconds),
        attempts: 20,
        ..proxy.access().settings()
    };
    Ok(S3Store::with_settings(&format!("s3://{BUCKET}/{name}"), settings)?)
}

#[test]
fn stalled_reply_is_requested_again() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let bytes = content(1000);
    on_every_server(|server| {
        let direct = server.store("stalled")?;
        ensure!(direct.put("a", &bytes, Condition::Any)? != Put::Conflict);
        let stall = |seen: &Seen<'_>| match (seen.method, seen.before) {
            ("GET", 0) => Fault::StallReply(300),
            _ => Fault::None,
        };
        let proxy = Proxy::start(server, stall)?;
        let store = impatient(&proxy, "stalled", 700)?;
        ensure!(store.get("a")?.context("no object")?.bytes == bytes);
        let proxy = Proxy::start(server, stall)?;
        ensure!(impatient(&proxy, "stalled", 700)?.get_file("a", &target)?);
        ensure!(fs::read(&target)? == bytes);
        ensure!(proxy.seen().len() > 1, "the first reply stalled");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_store_that_falls_silent_among_many_writes_loses_none_of_them() {
    on_every_server(|server| {
        let objects: Vec<_> =
            (0..60).map(|number| (format!("k{number:02}"), vec![b'x'; number])).collect();
        let direct = server.store("silent")?;
        ensure!(direct.put_new(&objects[..1])? == [true], "and it is asked about conditions");
        let proxy = Proxy::start(server, |seen| match (seen.method, seen.target) {
            ("PUT", target) if target.contains("/k4") => Fault::Silence,
            _ => Fault::None,
        })?;
        let error = impatient(&proxy, "silent", 300)?.put_new(&objects).unwrap_err();
        ensure!(error.kind == ErrorKind::Unavailable, "{error}");
        // The next process writes what is missing, and nothing twice.
        let before = direct.list("", None, 99)?;
        let written = direct.put_new(&objects)?;
        for ((key, bytes), written) in objects.iter().zip(written) {
            ensure!(written != before.contains(key), "{key}");
            ensure!(direct.get(key)?.context("no object")?.bytes == *bytes, "{key}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_object_replaced_while_it_is_read_comes_as_one_or_the_other() {
    let temp = tempfile::tempdir().unwrap();
    let (old, new, target) =
        (temp.path().join("old"), temp.path().join("new"), temp.path().join("target"));
    let bytes = content(40 * MIB);
    fs::write(&old, &bytes).unwrap();
    fs::write(&new, bytes.iter().rev().copied().collect::<Vec<_>>()).unwrap();
    on_every_server(|server| {
        let direct = server.store("replaced")?;
        direct.put_file("large", &old)?;
        let (replacing, source) = (server.store("replaced")?, new.clone());
        // Before the second request is answered, the object is another one.
        let proxy = Proxy::start(server, move |seen| {
            if seen.method == "GET" && seen.before == 1 {
                replacing.put_file("large", &source).unwrap();
            }
            Fault::None
        })?;
        let store = proxy.access().store("replaced")?;
        ensure!(store.get_file("large", &target)?);
        ensure!(fs::read(&target)? == fs::read(&new)?);
        Ok(())
    })
    .unwrap();
}
