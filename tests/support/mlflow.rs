//! A real server of `MLflow`, made by `tests/support/mlflow.sh`, on a free port of 127.0.0.1, ended
//! with the test program.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Runs the server. When the standard input closes at the end of the test program, the server's
/// folder is removed and all its processes are ended.
const GUARD: &str = r#"
exec 3<&0 </dev/null
( cat <&3 >/dev/null; rm -rf "$3"; kill -9 -$$ ) >/dev/null 2>&1 &
exec "$1/mlflow" server --host 127.0.0.1 --port "$2" --backend-store-uri "sqlite:///$3/mlflow.db" \
    --artifacts-destination "$3/artifacts" --workers 1 2>&1 3<&-
"#;

/// A running server.
#[derive(Debug)]
pub(crate) struct Mlflow {
    url: String,
    /// Holds the other end of the guard's standard input.
    _guard: Child,
}

static SERVER: Mutex<Option<Mlflow>> = Mutex::new(None);

/// Returns whether tests with `MLflow` are disabled.
#[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
pub(crate) fn is_off() -> bool {
    std::env::var("LYNCEUS_TEST_MLFLOW").is_ok_and(|value| value == "off")
}

/// Returns the URL of the server, which the first test starts.
pub(crate) fn url() -> Result<String> {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = &*server {
        return Ok(server.url.clone());
    }
    let started = Mlflow::start()?;
    let url = started.url.clone();
    *server = Some(started);
    Ok(url)
}

impl Mlflow {
    fn start() -> Result<Self> {
        let programs = programs()?;
        // Another process may take the port between its choice and its use.
        for _ in 0..3 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            if let Some(guard) = serve(&programs, port)? {
                return Ok(Self { url: format!("http://127.0.0.1:{port}"), _guard: guard });
            }
        }
        bail!("MLflow does not start")
    }
}

fn serve(programs: &Path, port: u16) -> Result<Option<Child>> {
    // Removed by the guard.
    let folder = tempfile::tempdir()?.keep();
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, "sh"])
        .arg(programs)
        .arg(port.to_string())
        .arg(&folder)
        .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .env("PYTHONUNBUFFERED", "1")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = BufReader::new(guard.stdout.take().context("no output")?);
    let mut line = String::new();
    while !line.contains("Application startup complete") {
        line.clear();
        if output.read_line(&mut line)? == 0 {
            return Ok(None);
        }
    }
    // Later output is discarded, so that it does not fill the pipe.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    Ok(Some(guard))
}

fn programs() -> Result<PathBuf> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let script = folders.find_map(|folder| {
        let script = folder.join("tests/support/mlflow.sh");
        script.is_file().then_some(script)
    });
    let found =
        Command::new(script.context("no tests/support/mlflow.sh")?).arg("--path").output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr).trim());
    Ok(PathBuf::from(String::from_utf8(found.stdout)?.trim()))
}

/// Sends a request to a path of the server, with parameters or with a body.
pub(crate) fn ask(path: &str, parameters: &[(&str, &str)], body: Option<&Value>) -> Result<Value> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "60"]);
    match body {
        Some(body) => {
            curl.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
        }
        None => {
            curl.arg("-G");
        }
    }
    for (name, value) in parameters {
        curl.args(["--data-urlencode", &format!("{name}={value}")]);
    }
    let said = curl.arg(format!("{}/api/2.0/mlflow/{path}", url()?)).output()?;
    ensure!(said.status.success(), "{path}: {}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout)
        .with_context(|| format!("{path}: {}", String::from_utf8_lossy(&said.stdout)))
}
