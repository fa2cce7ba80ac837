//! Checksums: changed bytes are noticed, also with servers that refuse the headers.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use contract::ErrorKind;
use fs_err as fs;
use store::{Condition, ObjectStore as _, Put};

use super::s3_servers::proxy::{Fault, through};
use super::s3_servers::{Access, BUCKET, on_every_server};
use super::{MIB, content};

/// Returns whether the server keeps a checksum of a large object as a whole.
fn keeps_checksums(server: &Access, key: &str) -> Result<bool> {
    server.with_client(async |client| {
        let head = client.head_object().bucket(BUCKET).key(key);
        let head = head.checksum_mode(ChecksumMode::Enabled).send().await?;
        let whole = head.checksum_type() != Some(&ChecksumType::Composite);
        Ok(whole && head.checksum_crc32().is_some())
    })
}

#[test]
fn a_changed_byte_is_never_taken() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    let bytes = content(40 * MIB + 7);
    fs::write(&source, &bytes).unwrap();
    on_every_server(|server| {
        fs::write(&target, b"old")?;
        let direct = server.store("changed")?;
        direct.put_file("large", &source)?;
        ensure!(direct.put("small", b"small", Condition::Any)? != Put::Conflict);
        let (_proxy, store) = through(server, "changed", |seen| match seen.method {
            "GET" => Fault::ChangeReply(3),
            _ => Fault::None,
        })?;
        let error = store.get("small").unwrap_err();
        ensure!(error.kind == ErrorKind::Unavailable, "{error}");
        let checked = keeps_checksums(server, "changed/large")?;
        ensure!(checked || server.is_in_process, "MinIO keeps checksums");
        if !checked {
            return Ok(());
        }
        let error = store.get_file("large", &target).unwrap_err();
        ensure!(error.kind == ErrorKind::Unavailable, "{error}");
        ensure!(fs::read(&target)? == b"old", "the file is replaced by a whole one or not at all");
        ensure!(fs::read_dir(temp.path())?.count() == 2, "nothing is left beside it");
        // Only in the first reply: it is noticed, and asked for again.
        let (_proxy, store) =
            through(server, "changed", |seen| match (seen.method, seen.before) {
                ("GET", 0) => Fault::ChangeReply(3),
                _ => Fault::None,
            })?;
        ensure!(store.get("small")?.context("no object")?.bytes == b"small");
        ensure!(store.get_file("large", &target)?);
        ensure!(fs::read(&target)? == bytes);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_byte_changed_on_the_way_up_is_refused_and_sent_again() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    let bytes = content(20 * MIB);
    fs::write(&source, &bytes).unwrap();
    on_every_server(|server| {
        let (_proxy, store) =
            through(server, "changed-up", |seen| match (seen.method, seen.before) {
                ("PUT", 0) => Fault::ChangeRequest(2),
                _ => Fault::None,
            })?;
        ensure!(store.put("small", b"small", Condition::IfAbsent)? != Put::Conflict);
        store.put_file("large", &source)?;
        let direct = server.store("changed-up")?;
        ensure!(direct.get("small")?.context("no object")?.bytes == b"small");
        ensure!(direct.get_file("large", &target)?);
        ensure!(fs::read(&target)? == bytes);
        let (_proxy, store) = through(server, "changed-up", |_| Fault::ChangeRequest(2))?;
        let error = store.put("never", b"small", Condition::Any).unwrap_err();
        ensure!(error.kind == ErrorKind::Unavailable, "{error}");
        ensure!(direct.get("never")?.is_none());
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_server_that_refuses_checksum_headers_gets_writes_without_them() {
    on_every_server(|server| {
        let (proxy, store) = through(server, "no-checksums", |seen| {
            let is_write = matches!(seen.method, "PUT" | "POST");
            if is_write && seen.has_checksum {
                Fault::Reply(501, "NotImplemented")
            } else {
                Fault::None
            }
        })?;
        let Put::Written(one) = store.put("a", b"one", Condition::IfAbsent)? else {
            anyhow::bail!("a conflict")
        };
        ensure!(store.put("a", b"two", Condition::IfAbsent)? == Put::Conflict);
        let Put::Written(_) = store.put("a", b"two", Condition::IfMatch(&one))? else {
            anyhow::bail!("a conflict")
        };
        let writes = || proxy.seen().iter().filter(|seen| seen.starts_with("PUT")).count();
        let before = writes();
        ensure!(store.put("b", b"three", Condition::Any)? != Put::Conflict);
        ensure!(writes() == before + 1, "what was found out is remembered");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_large_file_goes_to_a_server_that_refuses_checksum_headers() {
    on_every_server(|server| {
        let (_proxy, store) = through(server, "no-checksums-large", |seen| {
            if seen.method == "PUT" && seen.has_checksum {
                Fault::Reply(501, "NotImplemented")
            } else {
                Fault::None
            }
        })?;
        let temp = tempfile::tempdir()?;
        let (source, target) = (temp.path().join("source"), temp.path().join("target"));
        fs::write(&source, content(17 * MIB))?;
        store.put_file("large", &source)?;
        ensure!(store.get_file("large", &target)? && fs::read(&target)? == fs::read(&source)?);
        Ok(())
    })
    .unwrap();
}
