//! The webhook: guarantees for a receiver.

use std::io::Write as _;
use std::process::{Command, Stdio};

use alert::message::Message;
use fs_err as fs;

use super::double::{Answer, Double};
use super::support::{FILE, Pipeline};
use super::{AT_ONCE, run};

const KEY: &str = "hunter2 and more";
pub(crate) const OK: Answer = Answer(204, "", "");

pub(crate) fn webhook(double: &Double) -> Pipeline {
    let url = double.url();
    let channels = format!(
        "    - webhook: {{url: '{url}/hook?caller=hunter2', signing_key: {{file: key}}, timeout: 2s}}\n{FILE}"
    );
    let pipeline = Pipeline::new(AT_ONCE, &channels).unwrap();
    fs::write(pipeline.folder().join("key"), KEY).unwrap();
    pipeline
}

/// The signature, computed by another program.
fn signed(timestamp: &str, body: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", KEY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cannot start `openssl`: apt-get install openssl");
    write!(openssl.stdin.take().unwrap(), "{timestamp}.{body}").unwrap();
    let output = openssl.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256={}", text.split_whitespace().last().unwrap())
}

#[test]
fn webhook_message_is_signed_and_repeats_are_recognisable() {
    let double = Double::new(OK);
    double.answers(Some(Answer(500, "", "later")));
    let pipeline = webhook(&double);
    pipeline.score(0, ["a"]).unwrap();
    let failed = run(&pipeline, 0);
    assert!(failed.failure().contains("/hook`: 500 Internal Server Error: later"));
    double.answers(Some(OK));
    let done = run(&pipeline, 1);
    done.result.clone().unwrap();
    assert!(!failed.kept.contains("hunter2") && !done.kept.contains("hunter2"));

    let asked = double.asked();
    assert_eq!(asked.len(), 2);
    for (request, timestamp) in asked.iter().zip(["1795248000", "1795248060"]) {
        assert_eq!(request.path, "/hook?caller=hunter2");
        assert_eq!(request.headers["idempotency-key"], "cluster/20261121T080000Z");
        assert_eq!(request.headers["x-lynceus-timestamp"], timestamp);
        assert_eq!(request.headers["x-lynceus-signature"], signed(timestamp, &request.body));
        let message: Message = serde_json::from_str(&request.body).unwrap();
        assert_eq!(message, pipeline.told().unwrap()[0], "all of it, as in the file");
    }
}

#[test]
fn busy_receiver_is_retried_after_its_delay() {
    let double = Double::new(OK);
    double.answers(Some(Answer(503, "Retry-After: 150\r\n", "")));
    let pipeline = webhook(&double);
    pipeline.score(0, ["a"]).unwrap();
    assert!(run(&pipeline, 0).failure().contains("503 Service Unavailable"));
    double.answers(Some(OK));
    let sent: Vec<_> = (1..5).map(|minute| run(&pipeline, minute).sent()).collect();
    assert_eq!(sent, [0, 0, 2, 0], "the alert, and to the others that it is back");
}
