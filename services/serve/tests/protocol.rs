//! The protocol as clients meet it: a real server, requests by hand.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};
use support::{
    Reply, Server, infer, labelled, metrics, promote, promote_as, promote_shards, request,
};

fn output<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let outputs = reply["outputs"].as_array().unwrap();
    &outputs.iter().find(|output| output["name"] == name).unwrap()["data"]
}

#[test]
fn health_metadata_and_inference_are_those_of_the_protocol() {
    let server = Server::start(true, &[]);
    assert_eq!(server.get("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(server.get("/v2/health/ready").json(), json!({"ready": true}));
    assert_eq!(server.get("/v2").json()["extensions"], json!(["binary_tensor_data"]));
    let metadata = server.get("/v2/models/cluster").json();
    assert_eq!(
        metadata["inputs"][0],
        json!({"name": "features", "datatype": "FP64", "shape": [-1, 2]})
    );
    assert_eq!(server.get("/v2/models/cluster/ready").status, 200);

    let reply = infer(&server, &request(&json!([[0.5, 0.5], [9.0, 0.5], [null, null]]))).json();
    assert_eq!((&reply["id"], &reply["model_name"]), (&json!("a"), &json!("cluster")));
    assert_eq!(reply["model_version"], metadata["versions"][0]);
    assert_eq!(output(&reply, "alarm"), &json!([false, true, false]));
    assert!(output(&reply, "score")[2].is_null(), "no data has no score");
    let reasons = output(&reply, "reasons")[1].as_str().unwrap();
    assert!(reasons.contains("memory_used_bytes"), "{reasons}");
    assert!(
        output(&reply, "member:z_score")[1].as_f64() > output(&reply, "member:z_score")[0].as_f64()
    );

    let version = metadata["versions"][0].as_str().unwrap();
    let path = format!("/v2/models/cluster/versions/{version}/infer");
    let body = request(&json!([[0.5, 0.5]])).to_string();
    assert_eq!(server.send("POST", &path, "", body.as_bytes()).status, 200);
    let v1 = server.send("POST", "/v1/models/cluster:predict", "", br#"{"instances": [[9, 0.5]]}"#);
    assert_eq!(v1.json()["predictions"][0]["verdict"], "anomalous");
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("lynceus_serve_requests_total{status=\"200\"} 3"), "{metrics}");
}

#[test]
fn features_by_name_binary_tensors_and_gzip_give_the_same_answer() {
    let server = Server::start(true, &[]);
    let plain = infer(&server, &request(&json!([[0.5, 0.25], [9.0, 0.5]]))).json();
    let named = json!({"inputs": [
        {"name": "cpu_busy_ratio", "shape": [2], "datatype": "FP32", "data": [0.25, 0.5]},
        {"name": "memory_used_bytes", "shape": [2], "datatype": "FP64", "data": [0.5, 9.0]}]});
    assert_eq!(infer(&server, &named).json()["outputs"], plain["outputs"]);

    let numbers: Vec<u8> =
        [0.5_f64, 0.25, 9.0, 0.5].iter().flat_map(|it| it.to_le_bytes()).collect();
    let head = json!({"inputs": [{"name": "features", "shape": [2, 2], "datatype": "FP64",
        "parameters": {"binary_data_size": numbers.len()}}],
        "outputs": [{"name": "alarm", "parameters": {"binary_data": true}}]})
    .to_string();
    let header = format!("Inference-Header-Content-Length: {}\r\n", head.len());
    let body = [head.as_bytes(), &numbers].concat();
    let reply = server.send("POST", "/v2/models/cluster/infer", &header, &body);
    assert!(reply.head.contains("application/octet-stream"), "{}", reply.head);
    assert_eq!(reply.body[reply.body.len() - 2..], [0, 1]);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(named.to_string().as_bytes()).unwrap();
    let body = gzip.finish().unwrap();
    let reply =
        server.send("POST", "/v2/models/cluster/infer", "Content-Encoding: gzip\r\n", &body);
    assert_eq!(reply.json()["outputs"], plain["outputs"]);
}

#[test]
fn every_odd_request_gets_the_error_object_of_the_protocol() {
    let server = Server::start(true, &["--max-body-mib", "1"]);
    let infer = "/v2/models/cluster/infer";
    let features = |shape: &Value, data: &Value| {
        json!({"inputs": [{"name": "features", "shape": shape, "datatype": "FP64", "data": data}]})
            .to_string()
    };
    let contract = json!({"parameters": {"feature_contract": "0"}, "inputs": []}).to_string();
    let outputs = json!({"inputs": [{"name": "features", "shape": [1, 2], "datatype": "FP64",
        "data": [1, 2]}], "outputs": [{"name": "nope"}]})
    .to_string();
    for (method, path, body, status, words) in [
        ("POST", infer, "{", 400, "the request is not valid"),
        ("POST", infer, "{}", 400, "missing field `inputs`"),
        ("POST", infer, &features(&json!([1, 3]), &json!([1, 2, 3])), 400, "expected [rows, 2]"),
        ("POST", infer, &features(&json!([2, 2]), &json!([1, 2, 3])), 400, "its shape says 4"),
        ("POST", infer, &features(&json!([-1, 2]), &json!([])), 400, "the request is not valid"),
        ("POST", infer, r#"{"inputs": []}"#, 400, "missing memory_used_bytes, cpu_busy_ratio"),
        ("POST", infer, &contract, 409, "feature contract"),
        ("POST", infer, &outputs, 400, "no output `nope`"),
        ("GET", infer, "", 405, "does not take `GET`"),
        ("POST", "/v2/models/other/infer", "{}", 404, "no model `other`"),
        ("POST", "/v2/models/cluster/versions/9/infer", "{}", 404, "version `9` is not live"),
        ("GET", "/v2/models/cluster/config", "", 404, "no path"),
        ("GET", "/v2/repository/index", "", 404, "no path"),
        ("POST", "/v1/models/cluster:predict", r#"{"instances": [[1]]}"#, 400, "has 1 features"),
    ] {
        let reply = server.send(method, path, "", body.as_bytes());
        assert_eq!(reply.status, status, "{method} {path} {body}");
        assert!(reply.error().contains(words), "{path} {body}: {}", reply.error());
    }
    let large = vec![b' '; 2 * 1024 * 1024];
    let reply = server.send("POST", infer, "", &large);
    assert_eq!(reply.status, 413);
    let header = "Inference-Header-Content-Length: 99\r\n";
    assert_eq!(server.send("POST", infer, header, b"{}").status, 400);
}

#[test]
fn server_without_live_version_is_not_ready_until_one_appears() {
    let server = Server::start(false, &[]);
    assert_eq!(server.get("/v2/health/live").status, 200);
    assert_eq!(server.get("/v2/health/ready").status, 503);
    assert_eq!(infer(&server, &request(&json!([[1, 2]]))).status, 503);
    let folder = tempfile::tempdir().unwrap();
    let first = promote(&server.store, folder.path(), 100);
    Server::wait_for(|| server.get("/v2/health/ready").status == 200);
    assert_eq!(server.get("/v2/models/cluster").json()["versions"][0], first);
    let second = promote(&server.store, folder.path(), 200);
    // Every request during the change is answered by one of the two versions.
    Server::wait_for(|| {
        let reply = infer(&server, &request(&json!([[0.5, 0.5]])));
        assert_eq!(reply.status, 200);
        let version = reply.json()["model_version"].as_str().unwrap().to_owned();
        assert!(version == first || version == second);
        version == second
    });
}

#[test]
fn row_is_judged_by_the_model_of_its_entitys_shard() {
    let server = Server::start(false, &[]);
    let folder = tempfile::tempdir().unwrap();
    let version = promote_shards(&server.store, folder.path());
    Server::wait_for(|| server.get("/v2/health/ready").status == 200);
    let shards = contract::Shard::all(2);
    let names = ["a", "b", "c", "d", "e", "f"];
    let of = |shard: usize| *names.iter().find(|name| shards[shard].holds(name)).unwrap();
    let rows = json!([[5.0, 5.0], [5.0, 5.0], [0.5, 0.5]]);
    let mut asked = request(&rows);
    let entities = [of(1), of(0), of(0)];
    asked["inputs"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "entity", "shape": [3], "datatype": "BYTES", "data": entities}));
    let reply = infer(&server, &asked).json();
    assert_eq!(reply["model_version"], version);
    assert_eq!(output(&reply, "alarm"), &json!([false, true, false]));

    let reply = infer(&server, &request(&rows));
    assert_eq!(reply.status, 400);
    assert!(reply.error().contains("`entity` is missing"), "{}", reply.error());
    let v1 = server.send("POST", "/v1/models/cluster:predict", "", br#"{"instances": [[9, 0.5]]}"#);
    assert_eq!(v1.status, 400);
}

#[test]
fn token_is_asked_for_wherever_a_model_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs_err::write(&file, "hunter2\n").unwrap();
    let server = Server::start(true, &["--token-file", file.to_str().unwrap()]);
    assert_eq!(server.get("/v2/health/ready").status, 200, "probes carry no token");
    let path = "/v2/models/cluster/ready";
    assert_eq!(server.get(path).status, 401);
    assert_eq!(server.send("GET", path, "Authorization: Bearer hunter3\r\n", b"").status, 401);
    assert_eq!(server.send("GET", path, "Authorization: Bearer hunter2\r\n", b"").status, 200);
    let body = request(&json!([[1, 2]])).to_string();
    let infer = "/v2/models/cluster/infer";
    assert_eq!(server.send("POST", infer, "", body.as_bytes()).status, 401);
}

#[test]
fn server_shuts_down_gracefully_on_request() {
    let mut server = Server::start(true, &[]);
    // An idle connection may not hold the end up.
    let idle = TcpStream::connect(server.address).unwrap();
    Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(server.child.wait().unwrap().success());
    drop(idle);
}

#[test]
fn replay_sends_each_row_once_and_resumes_after_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("validation.parquet");
    labelled(&table);
    let flags = ["--replay", table.to_str().unwrap(), "--rate", "200"];
    let server = Server::start(true, &flags);
    assert_eq!(server.get("/replay/about").json()["rows"], 10);
    assert!(String::from_utf8(server.get("/replay").body).unwrap().contains("<title>Replay"));
    let ids = |reply: &Reply| -> Vec<usize> {
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
        ids.map(|id| id.trim().parse().unwrap()).collect()
    };
    assert_eq!(ids(&server.get("/replay/events")), (0..10).collect::<Vec<_>>());
    assert_eq!(ids(&server.get("/replay/events?from=3&count=2")), [3, 4]);
    let resumed = server.send("GET", "/replay/events?from=0", "Last-Event-ID: 7\r\n", b"");
    assert_eq!(ids(&resumed), [8, 9]);
    let all = String::from_utf8(server.get("/replay/events").body).unwrap();
    assert_eq!(all.matches("\"is_anomalous\":true").count(), 2);
    assert_eq!(server.get("/replay/next?from=0").json(), json!({"number": 5}));
    assert_eq!(server.get("/replay/next?from=6").json(), json!({"number": 6}));
    assert_eq!(server.get("/replay/next?from=7").status, 404);
    assert_eq!(server.get("/replay/events?rate=0").status, 400);
}

#[test]
fn flags_and_files_that_cannot_be_used_end_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let run = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_serve"))
            .args(["--pipeline", "cluster", "--store"])
            .arg(folder.path())
            .args(flags)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flags, words) in [
        (vec!["--address", address.as_str()], "cannot listen"),
        (vec!["--token-file", "/no/such/file"], "cannot read `/no/such/file`"),
        (vec!["--tls-certificate", "/x"], "--tls-key"),
        (vec!["--tls-certificate", "/no/x", "--tls-key", "/no/y"], "cannot use `/no/x` for TLS"),
    ] {
        let (code, said) = run(&flags);
        assert_eq!(code, Some(2), "{flags:?}: {said}");
        assert!(said.contains(words), "{flags:?}: {said}");
    }
}

#[test]
fn shadow_version_scores_every_request_and_answers_none() {
    let server = Server::start(true, &["--shadow", "next"]);
    let live = server.get("/v2/models/cluster").json()["versions"][0].clone();
    let folder = tempfile::tempdir().unwrap();
    let shadow = promote_as("next", &server.store, folder.path(), 200);
    assert_ne!(live, shadow.as_str());
    let rows = request(&json!([[0.5, 0.5], [9.0, 0.5]]));
    // Requests before the alias is seen have no shadow; the first one after has.
    Server::wait_for(|| {
        let reply = infer(&server, &rows).json();
        assert_eq!(reply["model_version"], live);
        !metrics(&server).contains("lynceus_serve_shadow_rows_total 0\n")
    });
    let text = metrics(&server);
    assert!(text.contains("lynceus_serve_shadow_disagreements_total"), "{text}");
    assert!(text.contains(&format!("version=\"{}\"", live.as_str().unwrap())), "{text}");
}

#[test]
fn server_with_a_certificate_speaks_tls_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (path("tls.key"), path("tls.crt"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "3650", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = Server::start(true, &["--tls-certificate", &certificate, "--tls-key", &key]);
    let curl = |scheme: &str, trusted: &[&str]| {
        Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20"])
            .args(trusted)
            .arg(format!("{scheme}://{}/v2/health/ready", server.address))
            .output()
            .unwrap()
    };
    let good = curl("https", &["--cacert", &certificate]);
    let said = String::from_utf8_lossy(&good.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&good.stdout), r#"{"ready":true}"#, "{said}");
    assert!(!curl("https", &[]).status.success(), "an untrusted certificate");
    assert!(!curl("http", &[]).status.success(), "no plain text at the same port");
}

#[test]
fn request_log_has_path_status_and_rows_and_no_payload() {
    let server = Server::start(true, &["--log", "json", "--request-log"]);
    let secret = 31_337.125_5;
    assert_eq!(infer(&server, &request(&json!([[secret, 0.5]]))).status, 200);
    Server::wait_for(|| fs_err::read_to_string(&server.log).unwrap().contains("Answered"));
    let log = fs_err::read_to_string(&server.log).unwrap();
    let line = log.lines().find(|line| line.contains("Answered")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["model"], &line["status"]), (&json!("cluster"), &json!(200)));
    assert!(line["bytes"].as_u64().unwrap() > 50 && line["seconds"].is_number(), "{line}");
    assert!(!log.contains("31337"), "{log}");
}

/// Returns a request of many rows, which take the server a while.
fn large() -> Value {
    let rows: Vec<Value> = (0..20_000).map(|row| json!([f64::from(row % 7), 0.5])).collect();
    request(&Value::from(rows))
}

#[test]
fn request_that_takes_too_long_is_told_so_and_the_next_one_is_answered() {
    let server = Server::start(true, &["--timeout", "1ms"]);
    let reply = infer(&server, &large());
    assert_eq!(reply.status, 504);
    assert!(reply.error().contains("took too long"), "{}", reply.error());
    assert_eq!(infer(&server, &request(&json!([[0.5, 0.5]]))).status, 200);
}

#[test]
fn requests_above_the_limit_in_flight_are_refused_and_none_is_queued() {
    let server = Server::start(true, &["--max-in-flight", "1"]);
    let (large, small) = (large(), request(&json!([[0.5, 0.5]])));
    // Whether two requests meet is up to the machine: they are sent until they do.
    Server::wait_for(|| {
        std::thread::scope(|scope| {
            let long = scope.spawn(|| infer(&server, &large).status);
            let mut refused = false;
            while !long.is_finished() {
                let reply = infer(&server, &small);
                assert!(matches!(reply.status, 200 | 503), "{}", reply.status);
                if reply.status == 503 {
                    assert!(reply.error().contains("too many requests in flight"));
                    refused = true;
                }
            }
            assert!(matches!(long.join().unwrap(), 200 | 503));
            refused
        })
    });
    assert_eq!(infer(&server, &small).status, 200);
}
