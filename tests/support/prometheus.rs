//! A real Prometheus for tests: Debian's `prometheus` and `promtool`, on a free port of 127.0.0.1,
//! filled with recorded samples, ended with the test.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context as _, Result, bail, ensure};

/// A running Prometheus; it is killed when this is dropped.
pub(crate) struct Prometheus {
    server: Child,
    port: u16,
    folder: tempfile::TempDir,
}

static SHARED: Mutex<Weak<Prometheus>> = Mutex::new(Weak::new());

impl Prometheus {
    /// Returns the recorded cluster behind a server, shared by the tests that run at this time.
    pub(crate) fn recorded() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start(&[])?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// Starts a server with the recorded cluster and further flags.
    pub(crate) fn start(flags: &[&str]) -> Result<Self> {
        Self::with(&recorded_text()?, flags)
    }

    /// Starts a server with the recorded cluster, with all times shifted by this number of seconds.
    pub(crate) fn later(seconds: f64) -> Result<Self> {
        let mut text = String::new();
        for line in recorded_text()?.lines() {
            match line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
                Some((sample, time)) => {
                    let time: f64 = time.parse().with_context(|| line.to_owned())?;
                    text.push_str(&format!("{sample} {:.3}\n", time + seconds));
                }
                None => text.push_str(&format!("{line}\n")),
            }
        }
        Self::with(&text, &[])
    }

    /// Starts a server with these samples and further flags.
    pub(crate) fn with(openmetrics: &str, flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let raw = folder.path().join("raw.openmetrics");
        fs_err::write(&raw, openmetrics)?;
        fill(&raw, &folder.path().join("data"))?;
        Self::serve(folder, flags)
    }

    /// Starts an empty server, with further flags.
    pub(crate) fn empty(flags: &[&str]) -> Result<Self> {
        Self::serve(tempfile::tempdir()?, flags)
    }

    fn serve(folder: tempfile::TempDir, flags: &[&str]) -> Result<Self> {
        fs_err::write(folder.path().join("prometheus.yml"), "global: {}\n")?;
        // Another process may take the port between the two uses of it: then the next is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut server = program("prometheus")
                .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(["--storage.tsdb.retention.time=100y", "--log.level=info"])
                .args(flags)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .context("cannot start `prometheus`: apt-get install prometheus")?;
            if ready(&mut server)? {
                return Ok(Self { server, port, folder });
            }
            end(&mut server);
        }
        bail!("prometheus did not become ready")
    }

    /// Returns the port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the untouched body of a range query.
    pub(crate) fn query_range(&self, form: &str) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(
            stream,
            "POST /api/v1/query_range HTTP/1.0\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        )?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let body = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        Ok(reply.split_off(body.context("no reply")? + 4))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        end(&mut self.server);
    }
}

/// Returns the recorded raw samples as `OpenMetrics` text.
pub(crate) fn recorded_text() -> Result<String> {
    let packed = fs_err::read(recorded_samples())?;
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text)?;
    Ok(text)
}

/// Returns the recorded raw samples.
pub(crate) fn recorded_samples() -> PathBuf {
    samples().join("cluster/raw.openmetrics.gz")
}

/// Returns the folder of the recorded samples.
pub(crate) fn samples() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_folder.ancestors().find(|folder| folder.join("pipelines/samples").is_dir());
    root.unwrap_or(crate_folder).join("pipelines/samples")
}

/// Makes the blocks of a server's storage from `OpenMetrics` text.
pub(crate) fn fill(openmetrics: &Path, data: &Path) -> Result<()> {
    let made = program("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([openmetrics, data])
        .output()
        .context("cannot start `promtool`: apt-get install prometheus")?;
    ensure!(made.status.success(), "promtool: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    // Debian's programs must be found even if the user's PATH does not contain their folder.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/bin".into(), "/usr/local/bin".into()]);
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command
}

/// Reads the server's log until it reports that it is ready, or ends.
fn ready(server: &mut Child) -> Result<bool> {
    let log = server.stderr.take().context("no log")?;
    let mut lines = BufReader::new(log).lines();
    let ready = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("Server is ready to receive web requests"));
    // A full pipe would block the server.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Ok(ready)
}

fn end(server: &mut Child) {
    // It may have ended by itself; then there is nothing left to do.
    drop(server.kill());
    drop(server.wait());
}
