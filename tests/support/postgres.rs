//! A real `PostgreSQL` for tests: Debian's package `postgresql`, in a temporary folder, on a unix
//! socket and a free port of 127.0.0.1, ended with the test program. As root, it runs as `nobody`,
//! because it refuses to run as root.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context as _, Result, bail, ensure};

/// The user `nobody`.
const NOBODY: u32 = 65_534;

/// Runs the server. When the standard input closes, at the end of the test program or earlier, the
/// server and all its processes are ended, and its folder is removed.
const GUARD: &str = r#"
exec 3<&0 </dev/null
( cat <&3 >/dev/null; kill -QUIT $$; while [ -e "$2/data/postmaster.pid" ]; do sleep 0.05; done; rm -rf "$2" ) >/dev/null 2>&1 &
exec "$1/postgres" -D "$2/data" 2>&1 3<&-
"#;

/// A running server. Its superuser is `postgres`, without a password on the socket.
pub(crate) struct Postgres {
    guard: Child,
    folder: PathBuf,
    port: u16,
    databases: AtomicUsize,
}

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

/// Roles belong to all databases of the server, so two tests do not make them at once.
static ROLES: Mutex<()> = Mutex::new(());

/// Returns whether tests with `PostgreSQL` are disabled.
#[expect(clippy::disallowed_methods, reason = "a switch of the tests")]
pub(crate) fn is_off() -> bool {
    std::env::var("LYNCEUS_TEST_POSTGRES").is_ok_and(|value| value == "off")
}

impl Postgres {
    /// Returns a server that is shared by the tests that run at this time.
    pub(crate) fn shared() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// Starts a server: over TCP it accepts only encrypted connections with passwords, and its
    /// certificate, signed by `ca.pem`, is for `127.0.0.1`.
    pub(crate) fn start() -> Result<Self> {
        // Removed by the guard.
        let folder = tempfile::Builder::new().prefix("pg").tempdir()?.keep();
        certificates(&folder)?;
        fs_err::create_dir(folder.join("data"))?;
        if is_root() {
            give(&folder)?;
        }
        let data = folder.join("data");
        let made = as_server(&mut Command::new(programs()?.join("initdb")))
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"])
            .current_dir("/")
            .output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let rules = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        fs_err::write(data.join("pg_hba.conf"), rules)?;
        // Another process may take the port between its choice and its use.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            if let Some(guard) = serve(&folder, port)? {
                return Ok(Self { guard, folder, port, databases: AtomicUsize::new(0) });
            }
        }
        bail!("PostgreSQL does not start")
    }

    /// Makes a database for a test, and returns its name.
    pub(crate) fn database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(name)
    }

    /// Makes a database with the roles of `roles.sql`; returns its name, and its URL for the role that
    /// writes.
    pub(crate) fn database_to_write(&self) -> Result<(String, String)> {
        let database = self.database()?;
        self.make_roles(&database)?;
        let url = self.url("lynceus_writer", &database);
        Ok((database, url))
    }

    /// Makes the roles of `roles.sql`, and their rights in a database.
    pub(crate) fn make_roles(&self, database: &str) -> Result<()> {
        let _alone = ROLES.lock().unwrap_or_else(PoisonError::into_inner);
        self.run(database, include_str!("../../crates/postgres/roles.sql")).map(drop)
    }

    /// Runs statements as the superuser, and returns their result: one row per line, `|` between
    /// cells.
    pub(crate) fn run(&self, database: &str, statements: &str) -> Result<String> {
        let done = self.psql(database).args(["-c", statements]).output()?;
        ensure!(done.status.success(), "{statements}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8(done.stdout)?.trim_end().to_owned())
    }

    /// Returns the superuser's `psql`.
    pub(crate) fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        psql.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-d", database]);
        psql
    }

    /// Returns the URL of a database over the socket.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        let (folder, port) = (self.folder.display(), self.port);
        format!("postgresql://{user}@/{database}?host={folder}&port={port}")
    }

    /// Returns the URL of a database over TCP.
    pub(crate) fn tcp_url(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the file with the certificate that signed the server's.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Ends the server immediately, like a power failure, and waits for its end.
    pub(crate) fn stop(&mut self) -> Result<()> {
        drop(self.guard.stdin.take());
        self.guard.wait()?;
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

fn serve(folder: &Path, port: u16) -> Result<Option<Child>> {
    let settings = format!(
        "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{0}'\nssl = on\n\
         ssl_cert_file = '{0}/server.pem'\nssl_key_file = '{0}/server.key'\ntimezone = 'UTC'\nfsync = off\n\
         full_page_writes = off\nsynchronous_commit = off\nmax_connections = 50\n",
        folder.display()
    );
    fs_err::write(folder.join("data/postgresql.auto.conf"), settings)?;
    let mut guard = as_server(&mut Command::new("sh"))
        .args(["-c", GUARD, "sh"])
        .arg(programs()?)
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = BufReader::new(guard.stdout.take().context("no output")?);
    let mut line = String::new();
    while !line.contains("database system is ready") {
        line.clear();
        if output.read_line(&mut line)? == 0 {
            guard.wait()?;
            return Ok(None);
        }
    }
    // Later output is discarded, so that it does not fill the pipe.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    Ok(Some(guard))
}

/// Returns the folder of the server's programs, which Debian keeps off PATH.
fn programs() -> Result<PathBuf> {
    let versions = fs_err::read_dir("/usr/lib/postgresql").ok();
    let folders = versions.into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let newest = folders.filter(|folder| folder.join("initdb").is_file()).max();
    newest.context("no PostgreSQL: apt-get install postgresql")
}

fn is_root() -> bool {
    // /proc/self belongs to the user that runs the process.
    use std::os::unix::fs::MetadataExt as _;
    fs_err::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn as_server(command: &mut Command) -> &mut Command {
    if is_root() { command.uid(NOBODY).gid(NOBODY) } else { command }
}

fn give(folder: &Path) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        std::os::unix::fs::chown(entry?.path(), Some(NOBODY), Some(NOBODY))?;
    }
    Ok(std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY))?)
}

fn certificates(folder: &Path) -> Result<()> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for ca in ["ca", "other"] {
        let out = format!("-keyout {ca}.key -out {ca}.pem -subj /CN={ca}");
        openssl(folder, &format!("req -x509 {key} -days 3650 {out}"))?;
    }
    fs_err::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1,DNS:database\n")?;
    openssl(folder, &format!("req {key} -keyout server.key -out server.csr -subj /CN=server"))?;
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out server.pem -extfile server.ext",
    )
}

fn openssl(folder: &Path, line: &str) -> Result<()> {
    let mut program = Command::new("openssl");
    let made = program.current_dir(folder).args(line.split(' ')).output();
    let made = made.context("cannot start `openssl`: apt-get install openssl")?;
    ensure!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
