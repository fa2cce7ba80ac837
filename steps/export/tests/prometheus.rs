//! Scores as metrics: in a file that promtool accepts, and in a real Prometheus.

#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "../../../tests/support/fault_proxy.rs"]
mod fault_proxy;
#[path = "../../../tests/support/prometheus.rs"]
mod prometheus;
mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use contract::score::WindowScore;
use contract::steps::ExportArgs;
use contract::{Shard, Span};
use export::Cursor;
use fault_proxy::{Fault, FaultProxy};
use fs_err as fs;
use prometheus::Prometheus;
use serde_json::Value;
use store::{Watermark, scores, watermark};
use support::{Place, minute};

const FLAGS: [&str; 2] = ["--web.enable-remote-write-receiver", "--query.lookback-delta=30s"];

fn remote_write(url: &str) -> String {
    format!("  tsdb: {{remote_write: {{url: '{url}/api/v1/write', retries: 0}}}}\n")
}

/// A pipeline that was exported up to minute 100.
fn exported_to_100(sinks: &str) -> Place {
    let place = Place::new(sinks, 100);
    assert_eq!(place.export(100), [""; 0]);
    place
}

/// Returns the values of a series by minute.
fn values(server: &Prometheus, query: &str) -> Vec<(i64, String)> {
    let (start, end) = (minute(90), minute(230));
    let form = format!("query={query}&start={start}&end={end}&step=60");
    let reply: Value = serde_json::from_slice(&server.query_range(&form).unwrap()).unwrap();
    let result = reply["data"]["result"].as_array().unwrap();
    assert!(result.len() <= 1, "one series: {reply}");
    let points = result.iter().flat_map(|series| series["values"].as_array().unwrap());
    let number = |point: &Value| point[0].as_i64().unwrap() / 60 - minute(0).ms() / 60_000;
    points.map(|point| (number(point), point[1].as_str().unwrap().to_owned())).collect()
}

fn minutes(values: &[(i64, String)]) -> Vec<i64> {
    values.iter().map(|(number, _)| *number).collect()
}

fn anomalies(server: &Prometheus) -> Vec<(i64, String)> {
    values(server, "lynceus_anomaly{entity=\"a\"}")
}

#[test]
fn textfile_passes_promtool_check() {
    let place = exported_to_100("  node: {textfile: {path: out/lynceus.prom}}\n");
    place.score(101..=102, &[102]);
    place.export(102);
    let text = fs::read_to_string(place.path("out/lynceus.prom")).unwrap();
    for line in [
        "lynceus_anomaly{entity=\"a\",pipeline=\"cluster\"} 1",
        "lynceus_no_data{entity=\"b\",pipeline=\"cluster\"} 0",
        "lynceus_score_lag_seconds{pipeline=\"cluster\"} 30",
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
    // Without a new window the lag grows.
    place.export(104);
    let text = fs::read_to_string(place.path("out/lynceus.prom")).unwrap();
    assert!(text.contains("lynceus_score_lag_seconds{pipeline=\"cluster\"} 150"), "{text}");
}

#[test]
fn every_window_is_in_prometheus_once_at_its_time() {
    let server = Prometheus::empty(&FLAGS).unwrap();
    let place = exported_to_100(&remote_write(&server.url()));
    place.score(101..=103, &[102]);
    place.export(103);
    place.score(104..=104, &[]);
    place.export(104);
    place.export(104);
    let of = |query: &str| values(&server, query);
    let expected = [(101, "0"), (102, "1"), (103, "0"), (104, "0")];
    assert_eq!(anomalies(&server), expected.map(|(number, value)| (number, value.to_owned())));
    let score = of("lynceus_anomaly_score{entity=\"b\",model=\"z_score\",pipeline=\"cluster\"}");
    assert_eq!(minutes(&score), [101, 102, 103, 104]);
    assert_eq!(of("lynceus_model_info{version=\"v1\"}").len(), 4);
    let totals = of("lynceus_windows_scored_total");
    assert_eq!(totals, [(103, "3".to_owned()), (104, "4".to_owned())]);
}

#[test]
fn returning_server_gets_missed_windows() {
    let server = Prometheus::empty(&FLAGS).unwrap();
    let script = [
        Fault::HangUp,
        Fault::Reply(503, "", "starting"),
        Fault::Reply(429, "Retry-After: 1\r\n", "slow down"),
    ];
    let proxy = FaultProxy::start(Some(server.port()), &script, Fault::None).unwrap();
    let place = exported_to_100(&remote_write(&proxy.url()));
    for number in 101..=103 {
        place.score(number..=number, &[]);
        let warnings = place.export(number);
        assert!(warnings[0].contains("the next run sends it"), "{warnings:?}");
    }
    assert_eq!(anomalies(&server), []);
    place.score(104..=104, &[]);
    assert_eq!(place.export(104), [""; 0]);
    assert_eq!(minutes(&anomalies(&server)), [101, 102, 103, 104]);
}

#[test]
fn server_delay_after_429_is_kept_before_the_retry() {
    let server = Prometheus::empty(&FLAGS).unwrap();
    let script = [Fault::Reply(429, "Retry-After: 1\r\n", "slow down")];
    let proxy = FaultProxy::start(Some(server.port()), &script, Fault::None).unwrap();
    let place = exported_to_100(&remote_write(&proxy.url()).replace("retries: 0", "retries: 1"));
    place.score(101..=101, &[]);
    let begin = std::time::Instant::now();
    assert_eq!(place.export(101), [""; 0]);
    assert!(begin.elapsed() >= std::time::Duration::from_secs(1));
    assert_eq!((proxy.requests().len(), minutes(&anomalies(&server))), (2, vec![101]));
}

#[test]
fn failing_sink_is_reported_once_an_hour_and_keeps_no_other_from_its_windows() {
    let (without, with) =
        (Prometheus::empty(&FLAGS[1..]).unwrap(), Prometheus::empty(&FLAGS).unwrap());
    let other = remote_write(&with.url()).replace("tsdb", "zabbix");
    let place = exported_to_100(&(remote_write(&without.url()) + &other));
    let mut reported = Vec::new();
    for last in (110..=190).step_by(10) {
        place.score(last - 9..=last, &[]);
        let warnings = place.export(last);
        if warnings.iter().any(|warning| warning.contains("404 Not Found")) {
            reported.push(last);
        }
    }
    assert_eq!(reported, [110, 170], "in the first run, and an hour later");
    assert_eq!(minutes(&anomalies(&with)), (101..=190).collect::<Vec<_>>());
    let cursor = || Cursor::read(&place.store(), "cluster", "tsdb").unwrap().unwrap().value;
    let failing = cursor().failing.unwrap();
    assert_eq!(failing.since, minute(110) + Span::from_seconds(30));
    assert_eq!(cursor().exported_to, minute(99), "a new sink begins with the last window");
    let good = Prometheus::empty(&FLAGS).unwrap();
    place.sinks(&remote_write(&good.url()));
    place.score(191..=191, &[]);
    place.export(191);
    assert_eq!((cursor().failing, cursor().exported_to), (None, minute(191)));
    assert_eq!(minutes(&anomalies(&good)), (101..=191).collect::<Vec<_>>());
}

#[test]
fn windows_that_a_server_rejects_permanently_are_left_behind() {
    let server = Prometheus::empty(&FLAGS).unwrap();
    let script = [Fault::Reply(400, "", "out of bounds")];
    let proxy = FaultProxy::start(Some(server.port()), &script, Fault::None).unwrap();
    let place = exported_to_100(&remote_write(&proxy.url()));
    place.score(101..=102, &[]);
    let warnings = place.export(102);
    assert!(warnings[0].contains("400 Bad Request: out of bounds"), "{warnings:?}");
    place.score(103..=103, &[]);
    place.export(103);
    assert_eq!(minutes(&anomalies(&server)), [103]);
}

#[test]
fn export_without_time_left_continues_in_the_next_run() {
    let server = Prometheus::empty(&FLAGS).unwrap();
    let place = exported_to_100(&remote_write(&server.url()));
    place.score(101..=221, &[]);
    let mut args = place.args(minute(221));
    args.budget = Span::ZERO;
    for (run, exported_to) in [(0, 160), (1, 220), (2, 221)] {
        let output = place.output(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(place.exported().sinks[0].exported_to, minute(exported_to), "{run}");
    }
    assert_eq!(minutes(&anomalies(&server)), (101..=221).collect::<Vec<_>>());
}

#[test]
fn sink_with_wrong_settings_is_a_warning_that_names_the_field() {
    let sinks =
        "  tsdb: {remote_write: {url: 'http://127.0.0.1:1', tls: {ca_file: nowhere.pem}}}\n";
    let place = Place::new(sinks, 100);
    let warnings = place.export(100);
    assert!(warnings[0].contains("`exports.tsdb`") && warnings[0].contains("nowhere.pem"));
    assert_eq!(place.exported().sinks[0].failing.clone().unwrap().kind, "settings");
}

#[test]
fn each_shard_writes_a_file_of_its_own_with_its_label() {
    let place = Place::new("  node: {textfile: {path: out/lynceus.prom}}\n", 100);
    let url = place.path("store").to_string_lossy().into_owned();
    for shard in Shard::all(2) {
        let store = store::open_shard(&url, Some(shard)).unwrap();
        let window = WindowScore::new("cluster", minute(101), "v1", Vec::new());
        assert!(scores::write_once(store.as_ref(), &window).unwrap());
        watermark::write(store.as_ref(), "cluster", &Watermark::new(minute(101)), None).unwrap();
        let now = minute(101) + Span::from_seconds(30);
        let args = ExportArgs { shard: Some(shard), ..place.args(now) };
        let output = place.output(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = place.path(&format!("out/lynceus-shard-{}.prom", shard.index()));
        let text = fs::read_to_string(file).unwrap();
        let lag = format!(
            "lynceus_score_lag_seconds{{pipeline=\"cluster\",shard=\"{}\"}} 30",
            shard.index()
        );
        assert!(text.contains(&lag), "{text}");
    }
    assert!(!place.path("out/lynceus.prom").exists());
}
