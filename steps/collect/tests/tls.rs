//! `collect` over TLS: trusted certificates and client authentication, against a real Prometheus.

mod support;

#[path = "../../../tests/support/prometheus.rs"]
mod prometheus;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use prometheus::Prometheus;
use support::{Place, RECORDED_END, prometheus_document};

/// Hash of `U*U`: a test vector of `crypt_blowfish`'s `wrapper.c` (public domain).
const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
const PASSWORD: &str = "U*U";

fn openssl(folder: &Path, line: &str) -> Result<()> {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(line.split(' '))
        .output()
        .context("cannot start `openssl`: apt-get install openssl")?;
    ensure!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// Makes a CA, and certificates it signed for the server and for the client.
fn certificates(folder: &Path) -> Result<()> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650";
    for ca in ["ca", "other"] {
        openssl(folder, &format!("req -x509 {key} -keyout {ca}.key -out {ca}.pem -subj /CN={ca}"))?;
    }
    fs_err::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1\n")?;
    fs_err::write(folder.join("client.ext"), "extendedKeyUsage=clientAuth\n")?;
    for name in ["server", "client"] {
        let request = key.replace(" -days 3650", "");
        openssl(
            folder,
            &format!("req {request} -keyout {name}.key -out {name}.csr -subj /CN={name}"),
        )?;
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out {name}.pem -extfile {name}.ext"
            ),
        )?;
    }
    let identity =
        [fs_err::read(folder.join("client.pem"))?, fs_err::read(folder.join("client.key"))?];
    fs_err::write(folder.join("identity.pem"), identity.concat())?;
    Ok(())
}

#[test]
fn server_requiring_tls_client_certificate_and_password_gets_them() -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificates(folder.path())?;
    let web = folder.path().join("web.yml");
    fs_err::write(
        &web,
        format!(
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\nbasic_auth_users:\n  me: {HASH}\n"
        ),
    )?;
    let server = Prometheus::start(&[&format!("--web.config.file={}", web.display())])?;
    let url = format!("https://127.0.0.1:{}", server.port());
    let queries = [("workqueue_depth", "sum(workqueue_depth)")];

    let tls = |fields: &str| format!(", tls: {{{fields}}}");
    let identity = "client_identity_file: identity.pem";
    let both = tls(&format!("ca_file: ca.pem, {identity}"));
    let with = |ca: &str| tls(&format!("ca_file: {ca}, {identity}"));
    let password = ", auth: {basic: {username: me, password: {file: password}}}";
    let wrong = ", auth: {basic: {username: me, password: {file: wrong}}}";
    for (settings, code, part) in [
        (format!("{both}{password}"), 0, ""),
        (format!("{}{password}", tls(identity)), 2, "certificate"),
        (format!("{}{password}", with("other.pem")), 2, "certificate"),
        (format!("{}{password}", tls("ca_file: ca.pem")), 2, "Certificate"),
        (both.clone(), 2, "401 Unauthorized"),
        (format!("{both}{wrong}"), 2, "401 Unauthorized"),
        (format!("{}{password}", with("password")), 2, "holds no certificate"),
        (both.replace("identity.pem", "ca.pem") + password, 2, "certificate with its key"),
        (format!("{}{password}", with("nowhere.pem")), 2, "nowhere.pem"),
    ] {
        let place = Place::new(&prometheus_document(&url, &settings, &queries))?;
        for name in ["ca.pem", "other.pem", "identity.pem"] {
            place.file(name, fs_err::read(folder.path().join(name))?)?;
        }
        place.file("password", PASSWORD)?;
        place.file("wrong", "hunter2")?;
        if code == 0 {
            assert_eq!(place.samples(RECORDED_END, &[])?.table.rows(), 1104);
            continue;
        }
        let said = place.fails(RECORDED_END, &[], code)?;
        ensure!(said.contains(part), "{settings}: {said}");
        ensure!(!said.contains("hunter2") && !said.contains(PASSWORD), "{said}");
        assert_eq!(place.outcome()?["counts"]["retries"].as_u64().unwrap_or(0), 0, "{settings}");
    }

    // A plain request to a TLS port, and the other way round.
    let place = Place::new(&prometheus_document(&url.replace("https", "http"), "", &queries))?;
    place.fails(RECORDED_END, &[], 2)?;
    Ok(())
}
