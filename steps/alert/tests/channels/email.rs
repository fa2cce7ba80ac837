//! E-mail through a real SMTP server: Debian's `python3-aiosmtpd`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fs_err as fs;

use super::support::{FILE, Pipeline};
use super::{AT_ONCE, Run, run};

const SERVER: &str = include_str!("smtp_server.py");

/// A running server; it is killed when this is dropped.
pub(crate) struct Smtp {
    server: Child,
    pub(crate) port: String,
    folder: tempfile::TempDir,
}

fn openssl(folder: &Path, line: &str) {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(line.split(' '))
        .output()
        .expect("cannot start `openssl`: apt-get install openssl");
    assert!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
}

impl Smtp {
    /// `mode` is `starttls`, `tls` or `plain`.
    pub(crate) fn start(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for ca in ["ca", "other"] {
            let line =
                format!("req -x509 {key} -days 3650 -keyout {ca}.key -out {ca}.pem -subj /CN={ca}");
            openssl(folder.path(), &line);
        }
        fs::write(folder.path().join("server.ext"), "subjectAltName=DNS:localhost\n").unwrap();
        openssl(
            folder.path(),
            &format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"),
        );
        openssl(
            folder.path(),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out server.pem -extfile server.ext",
        );
        let script = folder.path().join("smtp_server.py");
        fs::write(&script, SERVER).unwrap();
        // Debian's Python finds Debian's packages, even if another Python is installed.
        let mut server = Command::new("/usr/bin/python3")
            .args([&script, folder.path()])
            .arg(mode)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start it: apt-get install python3-aiosmtpd");
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        assert!(!port.is_empty(), "no server: apt-get install python3-aiosmtpd");
        Self { server, port: port.trim().to_owned(), folder }
    }

    fn pipeline(&self, further: &str, rules: &str) -> Pipeline {
        let port = &self.port;
        let channels = format!(
            "    - email: {{host: localhost, port: {port}, timeout: 5s, from: 'Lynceus <watch@example.com>', to: [one@example.com, two@example.com]{further}}}\n{FILE}"
        );
        let pipeline = Pipeline::new(&format!("{AT_ONCE}{rules}"), &channels).unwrap();
        for name in ["ca.pem", "other.pem"] {
            fs::copy(self.folder.path().join(name), pipeline.folder().join(name)).unwrap();
        }
        fs::write(pipeline.folder().join("password"), "hunter2\n").unwrap();
        fs::write(pipeline.folder().join("wrong"), "hunter3\n").unwrap();
        pipeline.score(0, ["a"]).unwrap();
        pipeline
    }

    pub(crate) fn mail(&self, number: usize) -> Option<String> {
        let path = self.folder.path().join(format!("{number}.mail"));
        path.exists().then(|| fs::read_to_string(path).unwrap().replace("\r\n", "\n"))
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        drop(self.server.kill().and_then(|()| self.server.wait()));
    }
}

const LOGIN: &str = ", username: me, password: {file: password}, tls: {ca_file: ca.pem}";

#[test]
fn a_mail_goes_out_encrypted_with_the_title_as_its_subject() {
    for (mode, security) in [("starttls", ""), ("tls", ", security: tls")] {
        let smtp = Smtp::start(mode);
        let pipeline = smtp.pipeline(&format!("{LOGIN}{security}"), "");
        let done = run(&pipeline, 0);
        done.result.clone().unwrap();
        assert!(!done.kept.contains("hunter2"));
        let mail = smtp.mail(1).unwrap();
        for words in [
            "MAIL watch@example.com RCPT one@example.com,two@example.com TLS True\n",
            "\nFrom: Lynceus <watch@example.com>\n",
            "\nSubject: cluster is anomalous\n",
            "\nDate: Sat, 21 Nov 2026 08:00:00 +0000\n",
            "\nContent-Type: text/plain; charset=utf-8\n",
            "\ncluster is anomalous\nsince 2026-11-21 08:00 UTC\n- memory_used_bytes 7.9 GiB",
        ] {
            let mail =
                if mode == "tls" { mail.replace("TLS False", "TLS True") } else { mail.clone() };
            assert!(mail.contains(words), "{words} in {mail}");
        }
        let id = mail.lines().find(|line| line.starts_with("Message-ID: <")).unwrap();
        assert!(id.ends_with("@lynceus.invalid>"), "{id}");
        assert!(smtp.mail(2).is_none());
    }
}

#[test]
fn server_refusal_is_reported_without_the_password() {
    let smtp = Smtp::start("starttls");
    for (settings, rules, words) in [
        (LOGIN.replace("file: password", "file: wrong"), "", "535"),
        (", tls: {ca_file: ca.pem}".to_owned(), "", "530"),
        (LOGIN.replace("ca.pem", "other.pem"), "", "certificate"),
        (LOGIN.replace(", tls: {ca_file: ca.pem}", ""), "", "certificate"),
        (LOGIN.replace("ca.pem", "password"), "", "ca_file"),
    ] {
        let pipeline = smtp.pipeline(&settings, rules);
        let refused = run(&pipeline, 0);
        let text = refused.failure().to_lowercase();
        assert!(text.contains(words), "{words} in {text}");
        assert!(!refused.kept.contains("hunter"), "{}", refused.kept);
        assert_eq!(
            pipeline.told().unwrap().len(),
            2,
            "the other channels get it, and a message about it"
        );
    }
    let pipeline = smtp.pipeline(LOGIN, "  templates: {title: refuse}\n");
    let minutes = [0, 1, 2, 3, 4, 24 * 60 + 1];
    let runs: Vec<Run> = minutes.map(|minute| run(&pipeline, minute)).into();
    assert!(runs.iter().all(|run| run.result.is_ok() && !run.kept.contains("hunter")));
    assert_eq!(runs[4].waiting().len(), 1, "it may be corrected");
    assert!(runs[5].waiting().is_empty() && runs[5].messages.refused[0].why.contains("554"));
    assert!(smtp.mail(1).is_none());
}

#[test]
fn server_without_encryption_gets_no_mail_by_default() {
    let smtp = Smtp::start("plain");
    let pipeline = smtp.pipeline(", tls: {ca_file: ca.pem}", "");
    assert!(run(&pipeline, 0).failure().contains("STARTTLS"));
    assert!(smtp.mail(1).is_none());
    run(&smtp.pipeline(", security: none", ""), 0).result.unwrap();
    assert!(smtp.mail(1).unwrap().contains("TLS False"));
}
