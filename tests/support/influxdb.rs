//! A real `InfluxDB` for tests: Debian's `influxd` 1.x, on free ports of 127.0.0.1, ended with the test.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// A running `InfluxDB`; it is killed when this is dropped.
pub(crate) struct Influxdb {
    server: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

/// Returns whether tests with the real server are disabled.
#[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
pub(crate) fn is_off() -> bool {
    std::env::var("LYNCEUS_TEST_INFLUXDB").is_ok_and(|value| value == "off")
}

impl Influxdb {
    /// Starts a server that holds nothing; `http` are further lines of its section `[http]`. `None`
    /// if these tests are disabled.
    pub(crate) fn start(http: &str) -> Result<Option<Self>> {
        if is_off() {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let root = folder.path().display().to_string();
        // Another process may take a port before the server uses it; then another port is tried.
        for _ in 0..5 {
            let (port, rpc) = (free_port()?, free_port()?);
            let config = format!(
                "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n\
                 [meta]\ndir = \"{root}/meta\"\n\
                 [data]\ndir = \"{root}/data\"\nwal-dir = \"{root}/wal\"\n\
                 [monitor]\nstore-enabled = false\n\
                 [http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n{http}\n"
            );
            let path = folder.path().join("influxdb.conf");
            fs_err::write(&path, config)?;
            let mut server = Command::new("influxd")
                .args(["run", "-config"])
                .arg(&path)
                .env("HOME", folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .context("cannot start `influxd`: apt-get install influxdb")?;
            if ready(&mut server)? {
                return Ok(Some(Self { server, port, _folder: folder }));
            }
            end(&mut server);
        }
        bail!("influxd did not become ready")
    }

    /// Returns its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a statement such as `CREATE DATABASE x`; it must succeed. `user` is `name:password`.
    pub(crate) fn run(&self, statement: &str, user: Option<&str>) -> Result<()> {
        let mut form = String::from("q=");
        for byte in statement.bytes() {
            form.push_str(&format!("%{byte:02X}"));
        }
        let kind = "application/x-www-form-urlencoded";
        let path = match user.and_then(|user| user.split_once(':')) {
            Some((name, password)) => format!("/query?u={name}&p={password}"),
            None => "/query".to_owned(),
        };
        let reply = self.post(&path, kind, &form)?;
        ensure!(reply.contains(" 200 OK") && !reply.contains("\"error\""), "{statement}: {reply}");
        Ok(())
    }

    /// Writes points of the line protocol, whose times are in milliseconds.
    pub(crate) fn write(&self, database: &str, lines: &str) -> Result<()> {
        let reply =
            self.post(&format!("/write?db={database}&precision=ms"), "text/plain", lines)?;
        ensure!(reply.contains(" 204 No Content"), "{reply}");
        Ok(())
    }

    fn post(&self, path: &str, kind: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }
}

impl Drop for Influxdb {
    fn drop(&mut self) {
        end(&mut self.server);
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn end(server: &mut Child) {
    // If these fail, it has already ended.
    drop(server.kill());
    drop(server.wait());
}

/// Waits until the server listens; returns whether it does.
fn ready(server: &mut Child) -> Result<bool> {
    let mut log = BufReader::new(server.stderr.take().context("no standard error")?);
    let mut line = String::new();
    loop {
        line.clear();
        if log.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        if line.contains("Listening for signals") {
            break;
        }
    }
    // The pipe must be read, because a full pipe blocks the writer.
    std::thread::spawn(move || drop(std::io::copy(&mut log, &mut std::io::sink())));
    Ok(true)
}
