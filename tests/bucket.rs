//! Does a bucket have the same content as a folder? Tests the whole product with a real `MinIO`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contract::artifact::{files_below, sha256_path};

use crate::fault_proxy::{Fault, FaultProxy};
use crate::minio::{Server, is_off};
use crate::workspace::{Workspace, differences, pipelines};

const BUCKET: &str = "lynceus";
const TRAIN: [&str; 3] = ["run", "cluster", "--sample"];

/// Returns the server of all tests, with the bucket; nothing if `LYNCEUS_TEST_MINIO` is `off`.
pub(crate) fn server() -> anyhow::Result<Option<&'static Server>> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    let start = || {
        let server = Server::start(None)?;
        server.client(&["mb", &format!("test/{BUCKET}")])?;
        Ok(server)
    };
    if is_off() {
        return Ok(None);
    }
    let server =
        SERVER.get_or_init(|| start().map_err(|error: anyhow::Error| format!("{error:#}")));
    server.as_ref().map(Some).map_err(|error| anyhow::anyhow!("{error}"))
}

/// A machine whose store is in the bucket.
struct Machine<'a> {
    server: &'a Server,
    folder: tempfile::TempDir,
    prefix: &'a str,
}

impl<'a> Machine<'a> {
    fn new(server: &'a Server, prefix: &'a str) -> anyhow::Result<Self> {
        Ok(Self { server, folder: tempfile::tempdir()?, prefix })
    }

    fn lynceus(&self, arguments: &[&str]) -> Command {
        self.on(&format!("s3://{BUCKET}/{}", self.prefix), arguments)
    }

    fn on(&self, store: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
        command.current_dir(self.folder.path()).args(arguments).envs(self.server.environment());
        command.args(["--store", store, "--pipelines"]).arg(pipelines());
        command
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.lynceus(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {}\n{said}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
        let arguments = [arguments, &["--output", "json"]].concat();
        Ok(serde_json::from_str(&self.run(&arguments)?)?)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_bucket_holds_the_bytes_that_a_folder_holds_under_the_same_keys() -> anyhow::Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let (folder, machine) = (Workspace::new()?, Machine::new(server, "same")?);
    let by_folder = folder.run(&TRAIN)?;
    let by_bucket = machine.run(&TRAIN)?;
    let found = |text: &str| text.lines().filter(|line| line.contains("found")).count();
    assert_eq!(found(&by_bucket), found(&by_folder), "{by_bucket}");

    // `mc` mirrors the bucket to the path of a folder's store.
    let mirror = Workspace::new()?;
    let place = mirror.store().display().to_string();
    server.client(&["mirror", "--quiet", &format!("test/{BUCKET}/same"), &place])?;
    assert_eq!(differences(&folder.promised()?, &mirror.promised()?), [""; 0]);
    let files = files_below(&mirror.store())?;
    for name in ["run.json", "log.jsonl", "outcome.json", "report.html", "document.yaml"] {
        assert!(files.iter().any(|file| file.ends_with(name)), "{name} of the run in {files:?}");
    }

    machine.run(&TRAIN)?;
    let shown = machine.json(&["runs", "show", "cluster", "last"])?;
    let states = shown["tasks"].as_array().context("tasks")?;
    let ran = states.iter().filter(|task| task["state"] == "done");
    let ran: Vec<_> = ran.filter_map(|task| task["name"].as_str()).collect();
    assert_eq!(ran, ["deploy"], "the second run takes the rest from the cache");
    let again = Workspace::new()?;
    let place = again.store().display().to_string();
    server.client(&["mirror", "--quiet", &format!("test/{BUCKET}/same"), &place])?;
    assert_eq!(differences(&mirror.promised()?, &again.promised()?), [""; 0]);
    Ok(())
}

#[test]
fn run_is_shown_on_another_machine() -> anyhow::Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let (first, second) = (Machine::new(server, "other")?, Machine::new(server, "other")?);
    first.run(&TRAIN)?;
    let runs = first.json(&["runs", "list", "cluster"])?;
    assert_eq!(second.json(&["runs", "list", "cluster"])?, runs);
    assert!(!second.folder.path().join(".lynceus").exists(), "a list brings nothing");
    let explained = second.run(&["explain", "cluster", "last", "train-adaptive"])?;
    assert_eq!(explained, first.run(&["explain", "cluster", "last", "train-adaptive"])?);
    let page = second.run(&["report", "cluster", "--sample"])?;
    assert!(fs_err::read_to_string(page.trim())?.contains("<html"), "{page}");

    let run = runs[0]["run"].as_str().context("a name")?;
    let below = format!(".lynceus/runs/cluster/{run}");
    for file in ["select/bundle/bundle.json", "validate/validation.json", "run.json"] {
        let of =
            |machine: &Machine<'_>| sha256_path(&machine.folder.path().join(&below).join(file));
        assert_eq!(of(&first)?, of(&second)?, "{file}");
    }
    let models = second.json(&["models", "list", "cluster", "--limit", "1"])?;
    assert_eq!(models[0]["live"], true);
    Ok(())
}

#[test]
fn store_check_shows_permissions_and_gc_removes_old_objects() -> anyhow::Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let machine = Machine::new(server, "tidy")?;
    let said = machine.run(&["store", "check", "--role", "trainer"])?;
    assert!(said.contains("trainer: all it needs, and more: "), "{said}");
    machine.run(&["run", "cluster", "--now", "2026-11-21T08:36:00Z", "--sample"])?;
    assert_eq!(machine.run(&["store", "gc"])?, "nothing to remove\n");
    let late = ["store", "gc", "--now", "2030-01-01T00:00:00Z"];
    let found = machine.json(&late)?;
    let kinds: Vec<_> = found["found"].as_array().into_iter().flatten().collect();
    let kinds: Vec<_> = kinds.iter().filter_map(|garbage| garbage["kind"].as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "run").count(), 1, "{kinds:?}");
    assert!(!kinds.contains(&"version"), "the live version stays: {kinds:?}");
    assert_eq!(found["removed"].as_array().map(Vec::len), Some(0), "only when told to");
    machine.run(&[late.as_slice(), &["--remove"]].concat())?;
    assert_eq!(machine.run(&late)?, "nothing to remove\n");
    machine.run(&["models", "show", "cluster", "live"])?;
    Ok(())
}

#[test]
fn missing_bucket_is_reported_before_any_work() -> anyhow::Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let machine = Machine::new(server, "early")?;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = machine.lynceus(&TRAIN);
    let output = command.env("AWS_ENDPOINT_URL", format!("http://{closed}")).output()?;
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("cannot be reached"), "{}", said(&output));
    let output = machine.on("s3://no-such-bucket", &TRAIN).output()?;
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let output = machine.lynceus(&TRAIN).env("AWS_SECRET_ACCESS_KEY", "hunter2").output()?;
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(!said(&output).contains("hunter2"), "{}", said(&output));
    assert!(!machine.folder.path().join(".lynceus").exists(), "nothing was begun");
    Ok(())
}

#[test]
fn tick_with_silent_bucket_ends_and_next_tick_catches_up() -> anyhow::Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let machine = Machine::new(server, "silent")?;
    machine.run(&["run", "cluster", "--now", "2026-11-21T08:36:00Z", "--sample"])?;
    let silent = FaultProxy::start(None, &[], Fault::Silence)?;
    let late = ["score", "cluster", "--sample", "--at", "2026-11-21T09:22:05Z"];
    let mut command = machine.lynceus(&[late.as_slice(), &["--retries", "0"]].concat());
    command.env("AWS_ENDPOINT_URL", silent.url()).env("LYNCEUS_S3_REPLY_SECONDS", "1");
    let output = command.output()?;
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("did not answer in time"), "{}", said(&output));
    assert!(!silent.requests().is_empty(), "it was asked");
    machine.run(&late)?;
    assert_eq!(
        machine.run(&late)?.lines().next(),
        Some("0 windows scored, 0 anomalous, 0 without data")
    );
    Ok(())
}

/// Relays bytes in both directions between a new endpoint, which is returned, and another one, with
/// a delay for each piece, while the tests run.
fn slow_relay(endpoint: &str) -> anyhow::Result<String> {
    const LATE: Duration = Duration::from_millis(20);
    fn pass(mut from: TcpStream, mut to: TcpStream) -> std::io::Result<()> {
        let mut piece = vec![0; 16 * 1024];
        loop {
            let length = from.read(&mut piece)?;
            std::thread::sleep(LATE);
            match length {
                0 => return to.shutdown(Shutdown::Write),
                length => to.write_all(&piece[..length])?,
            }
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let slow = format!("http://{}", listener.local_addr()?);
    let upstream = endpoint.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&upstream) else { return };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
                std::thread::spawn(move || pass(from, to));
            }
        }
    });
    Ok(slow)
}

#[test]
fn slow_bucket_changes_no_byte_of_a_tick() -> anyhow::Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let slow = slow_relay(&server.endpoint)?;
    let tick = ["score", "cluster", "--sample", "--at", "2026-11-21T08:40:05Z"];
    let mut scores = Vec::new();
    for (prefix, endpoint) in [("fast", &server.endpoint), ("slow", &slow)] {
        let machine = Machine::new(server, prefix)?;
        machine.run(&["run", "cluster", "--now", "2026-11-21T08:36:00Z", "--sample"])?;
        let mut command = machine.lynceus(&tick);
        let output = command.env("AWS_ENDPOINT_URL", endpoint).output()?;
        ensure!(output.status.success(), "{}", said(&output));
        scores.push(machine.json(&["scores", "cluster"])?);
    }
    assert!(!scores[0].as_array().context("windows")?.is_empty());
    assert_eq!(scores[0], scores[1]);
    Ok(())
}

#[test]
fn scores_are_kept_on_the_machine_that_made_them_and_are_those_of_the_bucket() -> anyhow::Result<()>
{
    let Some(server) = server()? else { return Ok(()) };
    let machine = Machine::new(server, "kept")?;
    machine.run(&TRAIN)?;
    let kept = machine.folder.path().join(".lynceus/cache/scores");
    let files = files_below(&kept)?;
    assert_eq!(files.iter().filter(|file| file.contains("/scores/cluster/date=")).count(), 552);
    let show = ["scores", "cluster", "--last", "1h", "--to", "2026-11-21T09:22:05Z"];
    let first = machine.json(&show)?;
    assert!(!first.as_array().context("windows")?.is_empty());
    // For files that were changed or removed locally, the bucket's version is shown.
    for file in &files {
        fs_err::write(kept.join(file), b"{}")?;
    }
    assert_eq!(machine.json(&show)?, first);
    fs_err::remove_dir_all(&kept)?;
    assert_eq!(machine.json(&show)?, first);
    Ok(())
}
