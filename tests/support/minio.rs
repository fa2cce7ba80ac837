//! A real `MinIO`, built by `tests/support/minio.sh`, with its own folder and port.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// The access key of the server's owner.
pub(crate) const KEY: &str = "owner";
/// The secret key of the owner.
pub(crate) const SECRET: &str = "owner-secret";

/// Runs the server. When the standard input closes, because the test program has ended in any way,
/// the server is ended and its folder removed.
const GUARD: &str = r#"
exec 3<&0 </dev/null
( cat <&3 >/dev/null; kill -9 $$; rm -rf "$3" ) >/dev/null 2>&1 &
exec "$1" server --address "127.0.0.1:$2" --certs-dir "$3/certs" "$3/data" 2>&1 3<&-
"#;

/// A key for encryption at rest, for this server only.
const KEY_SERVICE: &str = "lynceus-test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A running server, without buckets.
pub(crate) struct Server {
    /// Its URL.
    pub(crate) endpoint: String,
    /// Holds the other end of the guard's standard input.
    _guard: Child,
}

/// Returns whether tests with `MinIO` are disabled.
#[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
pub(crate) fn is_off() -> bool {
    std::env::var("LYNCEUS_TEST_MINIO").is_ok_and(|value| value == "off")
}

/// Returns the folder of the programs `minio` and `mc`.
pub(crate) fn tools() -> Result<PathBuf> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let script = folders.find_map(|folder| {
        let script = folder.join("tests/support/minio.sh");
        script.is_file().then_some(script)
    });
    let found =
        Command::new(script.context("no tests/support/minio.sh")?).arg("--path").output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr).trim());
    Ok(PathBuf::from(String::from_utf8(found.stdout)?.trim()))
}

impl Server {
    /// Starts a server; with `certificates` (a folder with `public.crt` and `private.key`) it speaks
    /// TLS.
    pub(crate) fn start(certificates: Option<&Path>) -> Result<Self> {
        let program = tools()?.join("minio");
        // Another process may take the port between its choice and its use.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            if let Some(server) = Self::start_at(&program, port, certificates)? {
                return Ok(server);
            }
        }
        bail!("MinIO does not start")
    }

    fn start_at(program: &Path, port: u16, certificates: Option<&Path>) -> Result<Option<Self>> {
        // Removed by the guard.
        let folder = tempfile::tempdir()?.keep();
        let certs = folder.join("certs");
        fs_err::create_dir_all(&certs)?;
        for file in ["public.crt", "private.key"] {
            if let Some(certificates) = certificates {
                fs_err::copy(certificates.join(file), certs.join(file))?;
            }
        }
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(program)
            .arg(port.to_string())
            .arg(&folder)
            .env("HOME", &folder)
            .env("MINIO_ROOT_USER", KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET)
            .env("MINIO_KMS_SECRET_KEY", KEY_SERVICE)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(guard.stdout.take().context("no output")?);
        let mut line = String::new();
        while !line.starts_with("API: ") {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                return Ok(None);
            }
        }
        // Later output is discarded, so that it does not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://127.0.0.1:{port}");
        Ok(Some(Self { endpoint, _guard: guard }))
    }

    /// Environment variables of a process that acts as the owner.
    pub(crate) fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Runs `mc` as the owner, with the server's alias `test`, and returns its output.
    pub(crate) fn client(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let home = tempfile::tempdir()?;
        let host = self.endpoint.replacen("://", &format!("://{KEY}:{SECRET}@"), 1);
        let mut client = Command::new(tools()?.join("mc"));
        let done =
            client.args(arguments).env("HOME", home.path()).env("MC_HOST_test", host).output()?;
        ensure!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(done.stdout)
    }
}
