//! The channel against a real Alertmanager: Debian's `prometheus-alertmanager`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use contract::{Span, Timestamp};
use serde_json::Value;
use store::scores;

use super::support::{FILE, Pipeline, window};
use super::{AT_ONCE, run_at};

/// A running server; it is killed when this is dropped.
struct Alertmanager {
    server: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("alertmanager.yml");
        fs_err::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut server = Command::new("/usr/bin/prometheus-alertmanager")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(["--cluster.listen-address=", "--log.level=debug"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("cannot start it: apt-get install prometheus-alertmanager");
            let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
            let listens = |line: String| line.to_lowercase().contains("listening");
            let ready = lines.by_ref().map_while(Result::ok).any(listens);
            // A full pipe would stop the server.
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            if ready {
                return Self { server, port, _folder: folder };
            }
            drop(server.kill().and_then(|()| server.wait()));
        }
        panic!("the Alertmanager did not become ready");
    }

    /// Returns the firing alerts.
    fn alerts(&self) -> Vec<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET /api/v2/alerts?active=true HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        drop(self.server.kill().and_then(|()| self.server.wait()));
    }
}

#[expect(clippy::disallowed_methods, reason = "the real server knows no other clock")]
fn clock() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_ms(i64::try_from(now.as_millis()).unwrap()).floor(Span::from_seconds(60))
}

fn score(pipeline: &Pipeline, time: Timestamp, verdicts: &str, urgent: bool) {
    let mut score = window(time, verdicts);
    score.entities.iter_mut().for_each(|entity| entity.urgent = urgent);
    scores::write_once(&pipeline.store().unwrap(), &score).unwrap();
}

fn time(alert: &Value, field: &str) -> Timestamp {
    alert[field].as_str().unwrap().parse().unwrap()
}

#[test]
fn alertmanager_gets_labelled_alerts_with_end_times() {
    let server = Alertmanager::start();
    let channel = format!(
        "    - alertmanager: {{url: 'http://127.0.0.1:{}', labels: {{team: platform}}, expire_after: 4m}}\n",
        server.port
    );
    let rules = format!(
        "{AT_ONCE}  links: {{grafana: 'https://g/d/x?from={{from}}&var-entity={{entity}}'}}\n"
    );
    let pipeline = Pipeline::new(&rules, &channel).unwrap();
    let minute = Span::from_seconds(60);
    let start = clock();

    score(&pipeline, start, "a.n", false);
    run_at(&pipeline, start).result.unwrap();
    let alerts = server.alerts();
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    let of = |alerts: &[Value], entity: &str| {
        let found = alerts.iter().find(|alert| alert["labels"]["entity"] == entity);
        found.cloned().unwrap_or_else(|| panic!("no {entity} in {alerts:?}"))
    };
    let anomaly = of(&alerts, "node-00");
    assert_eq!(
        anomaly["labels"],
        serde_json::json!({
            "alertname": "LynceusAnomaly", "pipeline": "cluster", "entity": "node-00",
            "kind": "anomaly", "severity": "warning", "team": "platform",
        })
    );
    assert_eq!(anomaly["annotations"]["summary"], "cluster: node-00 is anomalous");
    let description = anomaly["annotations"]["description"].as_str().unwrap();
    assert!(description.starts_with("memory_used_bytes 7.9 GiB, usually"), "{description}");
    let generator = anomaly["generatorURL"].as_str().unwrap();
    let from = (start - Span::from_seconds(1800)).ms();
    assert_eq!(generator, format!("https://g/d/x?from={from}&var-entity=node-00"));
    assert_eq!(of(&alerts, "node-02")["labels"]["alertname"], "LynceusNoData");
    assert_eq!(time(&anomaly, "startsAt"), start);
    assert_eq!(time(&anomaly, "endsAt"), start + Span::from_seconds(240));

    // Nothing changed: the alert is sent again, so that it does not expire.
    let later = start + minute;
    score(&pipeline, later, "a.n", false);
    let quiet = run_at(&pipeline, later);
    assert_eq!(quiet.sent(), 0);
    assert_eq!(time(&of(&server.alerts(), "node-00"), "endsAt"), later + Span::from_seconds(240));

    // It becomes urgent: the severity changes, so the former alert is resolved.
    let urgent = later + minute;
    score(&pipeline, urgent, "a.n", true);
    run_at(&pipeline, urgent).result.unwrap();
    let page = of(&server.alerts(), "node-00");
    assert_eq!(page["labels"]["severity"], "page");
    assert_eq!(page["annotations"]["summary"], "cluster: node-00 is anomalous, now urgent");
}

#[test]
fn resolved_alert_ends_in_the_alertmanager() {
    let server = Alertmanager::start();
    let channel = format!("    - alertmanager: {{url: 'http://127.0.0.1:{}/'}}\n", server.port);
    let pipeline = Pipeline::new(AT_ONCE, &channel).unwrap();
    // Both windows are in the past of the server's clock.
    let start = clock() - Span::from_seconds(120);
    score(&pipeline, start, "aa", true);
    run_at(&pipeline, start).result.unwrap();
    assert_eq!(server.alerts().len(), 2);
    score(&pipeline, start + Span::from_seconds(60), "..", false);
    run_at(&pipeline, start + Span::from_seconds(60)).result.unwrap();
    assert_eq!(server.alerts(), Vec::<Value>::new());
}

#[test]
fn missing_alertmanager_is_reported_to_other_channels() {
    let server = Alertmanager::start();
    let channel = format!(
        "    - alertmanager: {{url: 'http://127.0.0.1:{}/nowhere', timeout: 2s}}\n{FILE}",
        server.port
    );
    let pipeline = Pipeline::new(AT_ONCE, &channel).unwrap();
    let start = clock();
    score(&pipeline, start, "a", false);
    let refused = run_at(&pipeline, start);
    assert!(refused.failure().contains("/nowhere/api/v2/alerts`: 404 Not Found"));
    assert_eq!(pipeline.told().unwrap().len(), 2);
}
