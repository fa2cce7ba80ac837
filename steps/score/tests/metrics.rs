//! Scores as metrics: in a file that promtool approves of, and in a real Prometheus.

#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "../../../tests/support/fault_proxy.rs"]
mod fault_proxy;
#[path = "../../../tests/support/prometheus.rs"]
mod prometheus;
mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use fault_proxy::{Fault, FaultProxy};
use fs_err as fs;
use prometheus::Prometheus;
use score::metrics::Cursor;
use serde_json::Value;
use support::Scorer;
use support::small_model::{features, minute};

/// A minute that lies in the past for any clock: a server takes no samples of the future.
const LONG_AGO: i64 = -10_000_000;
const FLAGS: [&str; 2] = ["--web.enable-remote-write-receiver", "--query.lookback-delta=30s"];

fn remote_write(url: &str) -> String {
    format!("metrics: {{remote_write: {{url: '{url}/api/v1/write', retries: 0}}}}")
}

fn tick(scorer: &Scorer, minutes: std::ops::RangeInclusive<i64>, anomalous: &[i64]) -> String {
    let minutes: Vec<i64> = minutes.map(|number| LONG_AGO + number).collect();
    let anomalous: Vec<i64> = anomalous.iter().map(|number| LONG_AGO + number).collect();
    let rows = features(&minutes, &["a", "b"], &anomalous);
    let output = scorer.output(&rows, *minutes.last().unwrap());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Returns the values of a series by minute.
fn values(server: &Prometheus, query: &str) -> Vec<(i64, String)> {
    let (start, end) = (minute(LONG_AGO + 90), minute(LONG_AGO + 130));
    let form = format!("query={query}&start={start}&end={end}&step=60");
    let reply: Value = serde_json::from_slice(&server.query_range(&form).unwrap()).unwrap();
    let result = reply["data"]["result"].as_array().unwrap();
    assert!(result.len() <= 1, "one series: {reply}");
    let points = result.iter().flat_map(|series| series["values"].as_array().unwrap());
    let number = |point: &Value| point[0].as_i64().unwrap() / 60 - minute(LONG_AGO).ms() / 60_000;
    points.map(|point| (number(point), point[1].as_str().unwrap().to_owned())).collect()
}

fn minutes(values: &[(i64, String)]) -> Vec<i64> {
    values.iter().map(|(number, _)| *number).collect()
}

#[test]
fn the_file_is_what_promtool_approves_of() {
    let scorer = Scorer::begun_at(LONG_AGO + 100, "metrics: {textfile: out/lynceus.prom}");
    tick(&scorer, 101..=102, &[102]);
    let text = fs::read_to_string(scorer.path("out/lynceus.prom")).unwrap();
    for line in [
        "lynceus_anomaly{entity=\"a\",pipeline=\"cluster\"} 1",
        "lynceus_no_data{entity=\"b\",pipeline=\"cluster\"} 0",
        "lynceus_score_lag_seconds{pipeline=\"cluster\"} 0",
        "lynceus_windows_scored_total{pipeline=\"cluster\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("apt-get install prometheus");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_window_is_in_prometheus_once_at_its_time() {
    let server = Prometheus::empty(&FLAGS).unwrap();
    let scorer = Scorer::begun_at(LONG_AGO + 100, &remote_write(&server.url()));
    tick(&scorer, 101..=103, &[102]);
    tick(&scorer, 104..=104, &[]);
    tick(&scorer, 104..=104, &[]);
    let of = |query: &str| values(&server, query);
    let anomaly = of("lynceus_anomaly{entity=\"a\"}");
    let expected = [(101, "0"), (102, "1"), (103, "0"), (104, "0")];
    assert_eq!(anomaly, expected.map(|(number, value)| (number, value.to_owned())));
    let score = of("lynceus_anomaly_score{entity=\"b\",model=\"z_score\",pipeline=\"cluster\"}");
    assert_eq!(minutes(&score), [101, 102, 103, 104]);
    let version = scorer.live_version();
    assert_eq!(of(&format!("lynceus_model_info{{version=\"{version}\"}}")).len(), 4);
    let totals = of("lynceus_windows_scored_total");
    assert_eq!(totals, [(103, "3".to_owned()), (104, "4".to_owned())]);
}

#[test]
fn a_server_that_was_away_gets_what_it_missed_and_is_never_in_the_way() {
    let server = Prometheus::empty(&FLAGS).unwrap();
    let script = [
        Fault::HangUp,
        Fault::Reply(503, "", "starting"),
        Fault::Reply(429, "Retry-After: 1\r\n", "slow down"),
    ];
    let proxy = FaultProxy::start(Some(server.port()), &script, Fault::None).unwrap();
    let scorer = Scorer::begun_at(LONG_AGO + 100, &remote_write(&proxy.url()));
    for number in 101..=103 {
        let said = tick(&scorer, number..=number, &[]);
        assert!(said.contains("the next tick sends it"), "{said}");
    }
    assert_eq!(values(&server, "lynceus_anomaly{entity=\"a\"}"), []);
    let said = tick(&scorer, 104..=104, &[]);
    assert!(!said.contains("remote_write"), "{said}");
    assert_eq!(minutes(&values(&server, "lynceus_anomaly{entity=\"a\"}")), [101, 102, 103, 104]);
}

#[test]
fn a_server_without_a_receiver_is_said_once_an_hour_and_has_every_window_when_it_has_one() {
    let (without, with) =
        (Prometheus::empty(&FLAGS[1..]).unwrap(), Prometheus::empty(&FLAGS).unwrap());
    let scorer = Scorer::begun_at(LONG_AGO + 30, &remote_write(&without.url()));
    let said: Vec<i64> = (40..=120)
        .step_by(10)
        .filter(|last| tick(&scorer, last - 9..=*last, &[]).contains("status 404"))
        .collect();
    assert_eq!(said, [40, 100], "at the first tick, and an hour later");
    let cursor = || Cursor::read(&scorer.store(), "cluster").unwrap().unwrap().value;
    let failing = cursor().failing.unwrap();
    assert_eq!(failing.since, minute(LONG_AGO + 40));
    assert_eq!(cursor().sent_to, minute(LONG_AGO + 30));
    let document = fs::read_to_string(scorer.path("cluster.yaml")).unwrap();
    fs::write(scorer.path("cluster.yaml"), document.replace(&without.url(), &with.url())).unwrap();
    tick(&scorer, 121..=130, &[]);
    assert_eq!((cursor().failing, cursor().sent_to), (None, minute(LONG_AGO + 130)));
    let anomaly = values(&with, "lynceus_anomaly{entity=\"a\"}");
    assert_eq!(minutes(&anomaly), (90..=130).collect::<Vec<_>>());
}

#[test]
fn what_a_server_refuses_for_good_is_left_behind() {
    let server = Prometheus::empty(&FLAGS).unwrap();
    let script = [Fault::Reply(400, "", "out of bounds")];
    let proxy = FaultProxy::start(Some(server.port()), &script, Fault::None).unwrap();
    let scorer = Scorer::begun_at(LONG_AGO + 100, &remote_write(&proxy.url()));
    let said = tick(&scorer, 101..=102, &[]);
    assert!(said.contains("status 400: out of bounds"), "{said}");
    tick(&scorer, 103..=103, &[]);
    assert_eq!(minutes(&values(&server, "lynceus_anomaly{entity=\"a\"}")), [103]);
}
