//! Where keys come from: the environment, profile files, a session, a web identity.

mod s3_servers;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use fs_err as fs;
use s3_servers::minio::minio;
use s3_servers::{Access, BUCKET};
use store::{Condition, Put};

/// Uses a store that is described by the environment alone.
#[test]
#[ignore = "the process of the other tests"]
fn user() {
    let store = store::open(&format!("s3://{BUCKET}/identity")).unwrap();
    assert_ne!(store.put("a", b"1", Condition::Any).unwrap(), Put::Conflict);
    assert_eq!(store.get("a").unwrap().unwrap().bytes, b"1");
}

/// Runs [`user`] with nothing else in its environment.
fn run_user(environment: &[(&str, &str)]) -> Result<()> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "user", "--nocapture"])
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .envs(environment.iter().copied())
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}

/// Asks the server for keys that last for a while.
fn session(server: &Access) -> Result<[String; 3]> {
    let config = aws_sdk_sts::config::Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(&server.endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new(&server.key, &server.secret, None, None, "test"))
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = aws_sdk_sts::Client::from_conf(config);
    let assume = client.assume_role().role_arn("arn:x:y:z:role/lynceus").role_session_name("test");
    let keys = runtime.block_on(assume.send())?.credentials.context("no keys")?;
    Ok([keys.access_key_id, keys.secret_access_key, keys.session_token])
}

#[test]
fn keys_and_endpoint_come_from_a_profile() {
    let Some(minio) = minio().unwrap() else { return };
    let server = minio.access();
    let temp = tempfile::tempdir().unwrap();
    let (config, keys) = (temp.path().join("config"), temp.path().join("credentials"));
    let endpoint = &server.endpoint;
    let text = format!(
        "[profile lynceus]\nregion = us-east-1\nservices = here\n\n[services here]\ns3 =\n  \
         endpoint_url = {endpoint}\n"
    );
    fs::write(&config, text).unwrap();
    let (key, secret) = (&server.key, &server.secret);
    let text = format!("[lynceus]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    fs::write(&keys, text).unwrap();
    run_user(&[
        ("AWS_PROFILE", "lynceus"),
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
        ("AWS_SHARED_CREDENTIALS_FILE", keys.to_str().unwrap()),
    ])
    .unwrap();
}

#[test]
fn a_session_has_a_token_too() {
    let Some(minio) = minio().unwrap() else { return };
    let [key, secret, token] = session(minio.access()).unwrap();
    let keys = [
        ("AWS_ENDPOINT_URL_S3", minio.access().endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", &key),
        ("AWS_SECRET_ACCESS_KEY", &secret),
    ];
    run_user(&[keys.as_slice(), &[("AWS_SESSION_TOKEN", &token)]].concat()).unwrap();
    run_user(&keys).unwrap_err();
}

/// Answers one request for keys as the provider's service does; returns what it was asked.
fn answer_once(listener: &TcpListener, [key, secret, token]: &[String; 3]) -> Result<String> {
    let (mut client, _) = listener.accept()?;
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(reader.read_line(&mut head)? > 0, "the client went away");
    }
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut asked = vec![0; length.context("no length")?.trim().parse()?];
    reader.read_exact(&mut asked)?;
    let body = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{key}</AccessKeyId>\
         <SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>\
         <Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    Ok(String::from_utf8(asked)?)
}

#[test]
fn a_web_identity_is_exchanged_for_a_session() {
    let Some(minio) = minio().unwrap() else { return };
    let keys = session(minio.access()).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let token = temp.path().join("token");
    fs::write(&token, "a-pods-token").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || answer_once(&listener, &keys));
    run_user(&[
        ("AWS_ENDPOINT_URL_S3", &minio.access().endpoint),
        ("AWS_ENDPOINT_URL_STS", &service),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/lynceus"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
    ])
    .unwrap();
    let asked = answering.join().unwrap().unwrap();
    assert!(asked.contains("Action=AssumeRoleWithWebIdentity"), "{asked}");
    assert!(asked.contains("a-pods-token") && asked.contains("role%2Flynceus"), "{asked}");
}
