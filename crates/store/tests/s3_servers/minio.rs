//! A real `MinIO`, built by `tests/support/minio.sh`, with a folder and a port of its own.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Access, BUCKET};

/// Becomes the server, which is ended, and its folder removed, when the standard input ends: with
/// the test program, however that ends.
const GUARD: &str = r#"
exec 3<&0 </dev/null
( cat <&3 >/dev/null; kill -9 $$; rm -rf "$3" ) >/dev/null 2>&1 &
exec "$1" server --address "127.0.0.1:$2" --certs-dir "$3/certs" "$3/data" 2>&1 3<&-
"#;

/// A key for encryption at rest, for this server only.
const KEY_SERVICE: &str = "lynceus-test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A running server.
pub(crate) struct Minio {
    access: Access,
    /// Holds the other end of the guard's standard input.
    _guard: Child,
}

/// Returns the server of this test program; nothing if `LYNCEUS_TEST_MINIO` is `off`.
pub(crate) fn minio() -> Result<Option<&'static Minio>> {
    static MINIO: OnceLock<std::result::Result<Minio, String>> = OnceLock::new();
    if is_off() {
        return Ok(None);
    }
    let started = MINIO.get_or_init(|| Minio::start(None).map_err(|e| format!("{e:#}")));
    started.as_ref().map(Some).map_err(|error| anyhow::anyhow!("{error}"))
}

#[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
pub(crate) fn is_off() -> bool {
    std::env::var("LYNCEUS_TEST_MINIO").is_ok_and(|value| value == "off")
}

/// Returns the folder of the programs `minio` and `mc`.
pub(crate) fn tools() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support/minio.sh");
    let found = Command::new(script).arg("--path").output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr).trim());
    Ok(PathBuf::from(String::from_utf8(found.stdout)?.trim()))
}

impl Minio {
    /// Starts a server with the bucket; with `certificates` (a folder with `public.crt` and
    /// `private.key`) it speaks TLS, and the bucket is left to the caller.
    pub(crate) fn start(certificates: Option<&Path>) -> Result<Self> {
        let program = tools()?.join("minio");
        // Another process may take the port between its choice and its use.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            if let Some(minio) = Self::start_at(&program, port, certificates)? {
                if certificates.is_none() {
                    minio.access.with_client(async |client| {
                        client.create_bucket().bucket(BUCKET).send().await?;
                        Ok(())
                    })?;
                }
                return Ok(minio);
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
            .env("MINIO_ROOT_USER", "owner")
            .env("MINIO_ROOT_PASSWORD", "owner-secret")
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
        // What it says later is of no interest, but must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://127.0.0.1:{port}");
        let (key, secret) = ("owner".to_owned(), "owner-secret".to_owned());
        let access = Access { endpoint, key, secret, is_in_process: false };
        Ok(Some(Self { access, _guard: guard }))
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }
}
