//! A real server over a folder store, and requests by hand.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

#[path = "../../../../tests/support/small_model.rs"]
mod small_model;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};
use small_model::{bundle, candidate, document, features, minute};
use store::{Change, FolderStore, Registry};

/// A server over a folder store.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
    pub(crate) store: PathBuf,
    /// What it logs.
    pub(crate) log: PathBuf,
}

/// A reply.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

impl Server {
    /// Starts a server at a free port, which it logs.
    pub(crate) fn start(has_model: bool, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, log) = (folder.path().join("store"), folder.path().join("log"));
        FolderStore::open(&store).unwrap();
        if has_model {
            promote(&store, folder.path(), 100);
        }
        let child = Command::new(env!("CARGO_BIN_EXE_serve"))
            .args(["--pipeline", "cluster", "--poll", "20ms", "--address", "127.0.0.1:0"])
            .arg("--store")
            .arg(&store)
            .args(flags)
            .stderr(fs_err::File::create(&log).unwrap().into_file())
            .spawn()
            .unwrap();
        let address = || listening(&fs_err::read_to_string(&log).unwrap());
        Server::wait_for(|| address().is_some());
        let address = address().unwrap();
        Self { child, address, _folder: folder, store, log }
    }

    pub(crate) fn wait_for(is_done: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !is_done() {
            assert!(std::time::Instant::now() < deadline, "the server does not get there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses a large body may close before it has read all of it.
        drop(stream.write_all(body));
        let mut reply = Vec::new();
        drop(stream.read_to_end(&mut reply));
        let split = reply.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&reply[..split]).to_lowercase();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: reply[split + 4..].to_vec() }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", b"")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the address in a log, once its line is complete.
fn listening(log: &str) -> Option<SocketAddr> {
    let (_, after) = log.split_once("127.0.0.1:")?;
    let port = after.split_once(|c: char| !c.is_ascii_digit())?.0;
    format!("127.0.0.1:{port}").parse().ok()
}

/// Sends a request to the model.
pub(crate) fn infer(server: &Server, request: &Value) -> Reply {
    server.send("POST", "/v2/models/cluster/infer", "", request.to_string().as_bytes())
}

/// Returns a request with rows of both features.
pub(crate) fn request(rows: &Value) -> Value {
    let count = rows.as_array().unwrap().len();
    json!({"id": "a", "inputs": [
        {"name": "features", "shape": [count, 2], "datatype": "FP64", "data": rows}]})
}

/// Returns what Prometheus scrapes.
pub(crate) fn metrics(server: &Server) -> String {
    String::from_utf8(server.get("/metrics").body).unwrap()
}

/// Trains on the first minutes and points `live` at the version.
pub(crate) fn promote(store: &Path, folder: &Path, minutes: i64) -> String {
    promote_as("live", store, folder, minutes)
}

/// Trains on the first minutes and points an alias at the version.
pub(crate) fn promote_as(alias: &str, store: &Path, folder: &Path, minutes: i64) -> String {
    let rows = features(&(0..minutes).collect::<Vec<_>>(), &[""], &[]);
    let path = |name: &str| folder.join(format!("{name}-{minutes}"));
    document(&path("document")).unwrap();
    candidate(&path("candidate"), &rows).unwrap();
    bundle(&path("bundle"), &path("candidate"), &path("document"), &rows, minute(minutes)).unwrap();
    let store = FolderStore::open(store).unwrap();
    let registry = Registry::new(&store, "cluster");
    let version = registry.put_version(&path("bundle")).unwrap();
    let current = registry.alias(alias).unwrap();
    let change = Change { alias, version: &version, now: minute(minutes), by: "test", why: "test" };
    registry.promote(&change, current.as_ref()).unwrap();
    version
}

/// Trains two shards, of which the second has values ten times as high, and points `live` at the
/// version of both.
pub(crate) fn promote_shards(store: &Path, folder: &Path) -> String {
    let path = |name: &str| folder.join(name);
    document(&path("document")).unwrap();
    let bundles = [1.0, 10.0].map(|factor| {
        let mut rows = features(&(0..100).collect::<Vec<_>>(), &[""], &[]);
        let values = rows.table.columns.iter_mut().flat_map(|column| &mut column.values);
        values.for_each(|value| *value *= factor);
        let of = |name: &str| path(&format!("{name}-{factor}"));
        candidate(&of("candidate"), &rows).unwrap();
        bundle(&of("bundle"), &of("candidate"), &path("document"), &rows, minute(100)).unwrap();
        of("bundle")
    });
    let store = FolderStore::open(store).unwrap();
    let registry = Registry::new(&store, "cluster");
    let version = registry.put_parts(&bundles, contract::deployment::Figures::default()).unwrap();
    let change =
        Change { alias: "live", version: &version, now: minute(100), by: "test", why: "test" };
    registry.promote(&change, None).unwrap();
    version
}

/// Writes a labelled table of ten rows, the sixth and seventh of them an attack.
pub(crate) fn labelled(path: &Path) {
    let mut rows = features(&(100..110).collect::<Vec<_>>(), &[""], &[105, 106]);
    let label = (0..10).map(|row| if row == 5 || row == 6 { "scan" } else { "BENIGN" }.to_owned());
    rows.labels = Some(frames::RowLabels {
        label: label.collect(),
        scenario: vec![String::new(); 10],
        excluded: vec![false; 10],
    });
    rows.write(path).unwrap();
}
