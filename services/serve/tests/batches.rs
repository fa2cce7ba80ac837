//! Requests that are scored together: a real server, many clients at once.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use serde_json::{Value, json};
use support::{Reply, Server, infer, metrics, promote_as, request};

/// Returns the value of a metric without labels.
fn metric(server: &Server, name: &str) -> u64 {
    let text = metrics(server);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("lynceus_serve_{name} ")));
    line.unwrap().parse().unwrap()
}

/// Sends requests at the same time; returns their replies in order.
fn together(server: &Server, requests: &[Value]) -> Vec<Reply> {
    std::thread::scope(|scope| {
        let sent: Vec<_> =
            requests.iter().map(|request| scope.spawn(|| infer(server, request))).collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    })
}

/// Returns requests of one to four rows, one of them refused, one without data.
fn requests() -> Vec<Value> {
    let of = |number: u32| {
        let value = f64::from(number);
        let rows = (0..=number % 4).map(|row| json!([value + f64::from(row) / 3.0, 0.5]));
        let mut request = request(&rows.collect());
        request["id"] = json!(format!("request-{number}"));
        request
    };
    let mut requests: Vec<Value> = (0..14).map(of).collect();
    requests[5] = request(&json!([[null, null], [0.5, 0.25]]));
    requests[9] = request(&json!([[1.0, 2.0, 3.0]]));
    requests
}

#[test]
fn batched_requests_get_the_bytes_that_each_gets_alone() {
    let flags = ["--batch-rows", "64", "--batch-delay", "100ms", "--threads", "1"];
    let (alone, batched) = (Server::start(true, &[]), Server::start(true, &flags));
    let requests = requests();
    let expected: Vec<Reply> = requests.iter().map(|request| infer(&alone, request)).collect();
    // Whether requests meet is up to the machine: they are sent until they do.
    Server::wait_for(|| {
        for (found, expected) in together(&batched, &requests).iter().zip(&expected) {
            assert_eq!((found.status, &found.body), (expected.status, &expected.body));
        }
        metric(&batched, "batches_total") < metric(&batched, "batched_requests_total")
    });
    assert_eq!(expected[9].status, 400, "it never comes into a batch");
    assert!(metric(&batched, "batched_rows_total") > metric(&batched, "batched_requests_total"));
    assert_eq!(metric(&alone, "batches_total"), 0);
}

#[test]
fn request_larger_than_a_batch_and_idle_server_are_answered_without_waiting_for_others() {
    let server = Server::start(true, &["--batch-rows", "2"]);
    let rows = json!([[0.5, 0.5], [9.0, 0.5], [0.1, 0.2]]);
    assert_eq!(infer(&server, &request(&rows)).status, 200);
    assert_eq!(metric(&server, "batches_total"), 0);
    assert_eq!(infer(&server, &request(&json!([[0.5, 0.5]]))).status, 200);
    assert_eq!(metric(&server, "batched_requests_total"), 1);
}

#[test]
fn batch_with_a_client_that_is_gone_and_a_new_version_answers_the_others() {
    let flags = ["--batch-rows", "64", "--batch-delay", "200ms", "--threads", "1"];
    let server = Server::start(true, &flags);
    let body = request(&json!([[0.5, 0.5]])).to_string();
    let mut gone = TcpStream::connect(server.address).unwrap();
    let length = body.len();
    let head = format!(
        "POST /v2/models/cluster/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    );
    gone.write_all(format!("{head}{body}").as_bytes()).unwrap();
    gone.shutdown(Shutdown::Both).unwrap();
    for reply in together(&server, &requests()[..5]) {
        assert_eq!(reply.status, 200);
    }
    // The version changes while requests come: each is answered by the one or the other.
    let folder = tempfile::tempdir().unwrap();
    let next = promote_as("live", &server.store, folder.path(), 200);
    Server::wait_for(|| {
        let replies = together(&server, &requests()[..5]);
        assert!(replies.iter().all(|reply| reply.status == 200));
        replies.iter().all(|reply| reply.json()["model_version"] == next.as_str())
    });
}

#[test]
fn requests_in_a_batch_keep_the_limits_of_time_and_of_number() {
    let flags = ["--batch-rows", "8", "--batch-delay", "100ms", "--max-in-flight", "1"];
    let server = Server::start(true, &flags);
    Server::wait_for(|| {
        let replies = together(&server, &requests()[..4]);
        let count = |status| replies.iter().filter(|reply| reply.status == status).count();
        assert_eq!(count(200) + count(503), 4);
        count(200) > 0 && count(503) > 0
    });
    let hurried = Server::start(true, &["--batch-rows", "20000", "--timeout", "1ms"]);
    let rows = (0..20_000).map(|row| json!([f64::from(row % 7), 0.5])).collect();
    let reply = infer(&hurried, &request(&rows));
    assert_eq!(reply.status, 504);
    assert!(reply.error().contains("took too long"), "{}", reply.error());
    Server::wait_for(|| infer(&hurried, &request(&json!([[0.5, 0.5]]))).status == 200);
    let run = Command::new(env!("CARGO_BIN_EXE_serve"))
        .args(["--pipeline", "cluster", "--batch-delay", "10s", "--store"])
        .arg(&server.store)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{said}");
    assert!(said.contains("`--batch-delay 10s` must be less than `--timeout 10s`"), "{said}");
}
