//! Errors say who has to act, and what to do; they never hold a secret.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod s3_servers;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use aws_sdk_s3::config::Credentials;
use contract::{ErrorKind, StepError};
use s3_servers::in_process::InProcess;
use s3_servers::minio::{Minio, minio};
use s3_servers::proxy::{Fault, Proxy, through};
use s3_servers::{Access, BUCKET, on_every_server};
use store::s3::Encryption;
use store::{Condition, ObjectStore as _, Put, S3Settings, S3Store};

/// What every operation of a store fails with.
fn errors(store: &S3Store) -> Vec<StepError> {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    contract::artifact::write_file(&file, b"1").unwrap();
    vec![
        store.get("a").unwrap_err(),
        store.put("a", b"1", Condition::Any).unwrap_err(),
        store.put("a", b"1", Condition::IfAbsent).unwrap_err(),
        store.list("", None, 9).unwrap_err(),
        store.delete("a").unwrap_err(),
        store.put_file("a", &file).unwrap_err(),
        store.get_file("a", &temp.path().join("other")).unwrap_err(),
    ]
}

fn all_say(store: &S3Store, kind: ErrorKind, words: &str) -> Result<()> {
    for error in errors(store) {
        ensure!(error.kind == kind, "{error}");
        ensure!(error.message.contains(words), "{error}");
        ensure!(error.message.contains("`s3://"), "{error}");
        ensure!(error.message.lines().count() == 1, "{error}");
        let text = format!("{error:?}").to_lowercase();
        for secret in ["-secret", "hunter2", "signature=", "x-amz-", "authorization"] {
            ensure!(!text.contains(secret), "{error}");
        }
    }
    Ok(())
}

fn open(settings: S3Settings) -> Result<S3Store> {
    Ok(S3Store::with_settings(&format!("s3://{BUCKET}/x"), settings)?)
}

#[test]
fn wrong_access_key_and_wrong_secret_have_different_errors() {
    let Some(minio) = minio().unwrap() else { return };
    let server = minio.access();
    let unknown = server.as_user("nobody", "hunter2hunter2").store("x").unwrap();
    all_say(&unknown, ErrorKind::Usage, "the store does not know this access key").unwrap();
    let wrong = server.as_user(&server.key, "hunter2hunter2").store("x").unwrap();
    let words = "the secret key does not belong to this access key";
    all_say(&wrong, ErrorKind::Usage, words).unwrap();
}

#[test]
fn a_wrong_session_token_is_named() {
    let Some(minio) = minio().unwrap() else { return };
    let server = minio.access();
    let token = Some("hunter2".to_owned());
    let credentials = Some(Credentials::new(&server.key, &server.secret, token, None, "test"));
    let store = open(S3Settings { credentials, ..server.settings() }).unwrap();
    all_say(&store, ErrorKind::Usage, "session token").unwrap();
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    let Some(minio) = minio().unwrap() else { return };
    let server = minio.access();
    let store = S3Store::with_settings("s3://no-such-bucket/x", server.settings()).unwrap();
    all_say(&store, ErrorKind::Usage, "has no bucket `no-such-bucket`").unwrap();
    all_say(&store, ErrorKind::Usage, &server.endpoint).unwrap();
}

#[test]
fn closed_endpoint_is_unavailable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = InProcess::start().unwrap();
    let nobody = server.access().by(format!("http://127.0.0.1:{port}"));
    let words = format!("endpoint `http://127.0.0.1:{port}` cannot be reached: Connection refused");
    all_say(&nobody.store("x").unwrap(), ErrorKind::Unavailable, &words).unwrap();
    // A name that cannot be, whatever a resolver makes of it:
    // https://www.rfc-editor.org/rfc/rfc2606#section-2
    let nowhere = server.access().by("http://store.invalid:9000".to_owned());
    let words = "endpoint `http://store.invalid:9000`";
    all_say(&nowhere.store("x").unwrap(), ErrorKind::Unavailable, words).unwrap();
}

#[test]
fn missing_credentials_error_names_the_settings() {
    // A missing profile file and an endpoint, so that no credentials are requested.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "store_without_credentials", "--nocapture"])
        .env_clear()
        .env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "the process of `missing_credentials_error_names_the_settings`"]
fn store_without_credentials() {
    let store = S3Store::open("s3://bucket/x").unwrap();
    all_say(&store, ErrorKind::Usage, "no credentials were found").unwrap();
    assert!(store.get("a").unwrap_err().to_string().contains("AWS_ACCESS_KEY_ID"));
}

#[test]
fn s3_replies_map_to_distinct_errors() {
    let server = InProcess::start().unwrap();
    for (status, code, kind, words) in [
        (403, "RequestTimeTooSkewed", ErrorKind::Usage, "clocks"),
        (403, "AccessDenied", ErrorKind::Usage, "this user may not `s3:"),
        (400, "ExpiredToken", ErrorKind::Usage, "has expired"),
        (301, "PermanentRedirect", ErrorKind::Usage, "is in region"),
        (400, "AuthorizationHeaderMalformed", ErrorKind::Usage, "is in region"),
        (503, "SlowDown", ErrorKind::Unavailable, "rate limit"),
        (429, "TooManyRequests", ErrorKind::Unavailable, "rate limit"),
        (500, "InternalError", ErrorKind::Unavailable, "`InternalError` (HTTP status 500)"),
        (503, "ServiceUnavailable", ErrorKind::Unavailable, "`ServiceUnavailable`"),
        (400, "EntityTooLarge", ErrorKind::Usage, "`EntityTooLarge` (HTTP status 400)"),
    ] {
        let script = move |_: &s3_servers::proxy::Seen<'_>| Fault::Reply(status, code);
        let proxy = Proxy::start(server.access(), script).unwrap();
        all_say(&proxy.access().store("x").unwrap(), kind, words).unwrap();
    }
}

#[test]
fn server_that_implements_nothing_is_named_and_not_taken_for_an_outage() {
    let server = InProcess::start().unwrap();
    let script = |_: &s3_servers::proxy::Seen<'_>| Fault::Reply(501, "NotImplemented");
    let proxy = Proxy::start(server.access(), script).unwrap();
    for error in errors(&proxy.access().store("x").unwrap()) {
        assert_eq!(error.kind, ErrorKind::Usage, "{error}");
        let is_write = error.message.contains("does not honour `If-None-Match`");
        assert!(is_write || error.message.contains("does not implement this request"), "{error}");
    }
}

#[test]
fn a_reply_that_is_not_s3s_is_not_taken_for_one() {
    let server = InProcess::start().unwrap();
    let proxy = Proxy::start(server.access(), |_| Fault::Garbage).unwrap();
    let store = proxy.access().store("x").unwrap();
    let temp = tempfile::tempdir().unwrap();
    for error in [
        store.get("a").unwrap_err(),
        store.put("a", b"1", Condition::Any).unwrap_err(),
        store.list("", None, 9).unwrap_err(),
        store.get_file("a", &temp.path().join("other")).unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(error.message.contains("not one of S3"), "{error}");
    }
}

/// Makes an authority of its own and a certificate of it for this machine.
fn certificates(folder: &Path) -> Result<()> {
    let openssl = |arguments: &str| -> Result<()> {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&format!("req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.crt"))?;
    openssl(&format!(
        "req -x509 {key} -subj /CN=minio -addext subjectAltName=IP:127.0.0.1 -CA ca.crt -CAkey \
         ca.key -addext basicConstraints=critical,CA:FALSE -keyout private.key -out public.crt"
    ))
}

#[test]
fn a_certificate_counts_if_its_authority_is_trusted() {
    if minio().unwrap().is_none() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    certificates(temp.path()).unwrap();
    let minio = Minio::start(Some(temp.path())).unwrap();
    let settings = minio.access().settings();
    let stranger = open(settings.clone()).unwrap();
    all_say(&stranger, ErrorKind::Usage, "no secure connection to `https://127.0.0.1").unwrap();
    assert!(stranger.get("a").unwrap_err().to_string().contains("AWS_CA_BUNDLE"));
    let ca_bundle = Some(temp.path().join("ca.crt"));
    let friend = open(S3Settings { ca_bundle, ..settings.clone() }).unwrap();
    // It speaks TLS and gets as far as the bucket, which this server does not have.
    all_say(&friend, ErrorKind::Usage, "has no bucket").unwrap();
    // The server says so in plain text, or hangs up before it was read.
    let plain = minio.access().by(minio.access().endpoint.replace("https", "http"));
    for error in errors(&plain.store("x").unwrap()) {
        assert!(error.message.contains(&plain.endpoint), "{error}");
    }
}

#[test]
fn objects_are_encrypted_as_asked() {
    let Some(minio) = minio().unwrap() else { return };
    let server: &Access = minio.access();
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    fs_err::write(&source, vec![7; 17 * 1024 * 1024]).unwrap();
    for (encryption, name, expected) in [
        (Encryption::Store, "sse-s3", "AES256"),
        (Encryption::KeyService(Some("lynceus-test".to_owned())), "sse-kms", "aws:kms"),
    ] {
        let url = format!("s3://{BUCKET}/{name}");
        let settings = S3Settings { encryption, ..server.settings() };
        let store = S3Store::with_settings(&url, settings).unwrap();
        let Put::Written(etag) = store.put("a", b"1", Condition::IfAbsent).unwrap() else {
            panic!("a conflict")
        };
        assert_eq!(store.get("a").unwrap().unwrap().etag, etag);
        assert_ne!(store.put("a", b"2", Condition::IfMatch(&etag)).unwrap(), Put::Conflict);
        store.put_file("large", &source).unwrap();
        assert!(store.get_file("large", &target).unwrap());
        assert_eq!(fs_err::read(&target).unwrap(), fs_err::read(&source).unwrap());
        for key in ["a", "large"] {
            let found = server.with_client(async |client| {
                let head = client.head_object().bucket(BUCKET).key(format!("{name}/{key}"));
                Ok(head.send().await?.server_side_encryption().map(ToString::to_string))
            });
            assert_eq!(found.unwrap().as_deref(), Some(expected));
        }
    }
}

#[test]
fn a_server_that_ignores_conditions_is_refused_before_the_first_one() {
    let server = InProcess::ignoring_conditions().unwrap();
    let store = server.access().store("x").unwrap();
    assert_ne!(store.put("plain", b"1", Condition::Any).unwrap(), Put::Conflict);
    for condition in [Condition::IfAbsent, Condition::IfMatch("\"x\"")] {
        let error = store.put("a", b"1", condition).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage);
        assert!(error.message.contains("does not honour `If-"), "{error}");
        assert!(error.to_string().contains("minio/README.md"), "{error}");
    }
    assert_eq!(store.get("a").unwrap(), None, "nothing was written");
}

#[test]
fn a_check_of_a_server_without_conditions_names_them_and_not_the_policy() {
    let server = InProcess::ignoring_conditions().unwrap();
    let check = store::check::check(&server.access().store("checked").unwrap()).unwrap();
    let trainer = check.roles.iter().find(|role| role.role == "trainer").unwrap();
    assert!(!trainer.lacks.is_empty());
    for lack in &trainer.lacks {
        assert!(lack.starts_with("conditional writes in "), "{lack}");
    }
    for area in check.areas.iter().filter(|area| area.write) {
        let [refusal] = area.refusals.as_slice() else { panic!("{:?}", area.refusals) };
        assert!(refusal.why.contains("does not honour `If-"), "{}", refusal.why);
        assert!(refusal.hint.as_ref().unwrap().contains("minio/README.md"), "{:?}", refusal.hint);
    }
}

#[test]
fn a_server_that_does_not_know_conditions_is_refused() {
    let server = InProcess::start().unwrap();
    let (_proxy, store) =
        through(server.access(), "x", |_| Fault::Reply(501, "NotImplemented")).unwrap();
    let error = store.put("a", b"1", Condition::IfAbsent).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.message.contains("does not honour `If-None-Match`"), "{error}");
}

#[test]
fn a_good_server_is_asked_once() {
    on_every_server(|server| {
        let (proxy, store) = through(server, "asked", |_| Fault::None)?;
        for number in 0..5 {
            let key = format!("k{number}");
            let Put::Written(etag) = store.put(&key, b"1", Condition::IfAbsent)? else {
                anyhow::bail!("a conflict")
            };
            ensure!(store.put(&key, b"2", Condition::IfMatch(&etag))? != Put::Conflict);
        }
        let asked = |proxy: &Proxy| {
            proxy.seen().iter().filter(|request| request.contains(".lynceus")).count()
        };
        ensure!(
            asked(&proxy) == 3,
            "the first process of all makes the object that is asked about"
        );
        let (proxy, store) = through(server, "asked", |_| Fault::None)?;
        ensure!(store.put("k", b"1", Condition::IfAbsent)? != Put::Conflict);
        ensure!(asked(&proxy) == 1);
        ensure!(store.list("", None, 9)?.len() == 6, "the object is not one of the store's");
        Ok(())
    })
    .unwrap();
}
