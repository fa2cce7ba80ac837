//! `collect` against a real Prometheus, and against what may stand between them.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

#[path = "../../../tests/support/fault_proxy.rs"]
mod fault_proxy;
#[path = "../../../tests/support/prometheus.rs"]
mod prometheus;

use std::io::Read as _;

use anyhow::{Result, ensure};
use fault_proxy::{Fault, FaultProxy};
use frames::Samples;
use prometheus::Prometheus;
use support::{Place, RECORDED_END, prometheus_document, recording};

/// Queries whose series are all in the raw samples, as they were recorded.
const QUERIES: [(&str, &str); 6] = [
    (
        "container_cpu_usage_cores",
        r#"sum(rate(container_cpu_usage_seconds_total{container!=""}[$rate_window]))"#,
    ),
    (
        "container_memory_working_set_bytes",
        r#"sum(container_memory_working_set_bytes{container!=""})"#,
    ),
    (
        "container_network_receive_packets",
        r#"sum(rate(container_network_receive_packets_total{pod!=""}[$rate_window]))"#,
    ),
    ("workqueue_depth", "sum(workqueue_depth)"),
    ("scheduling_failed_pods", r#"sum(scheduler_pending_pods{queue="unschedulable"})"#),
    ("active_client_connections", "sum(nginx_connections_active)"),
];

/// A document whose range is three chunks: 25,200 seconds, of which the last 92 minutes were
/// recorded.
fn three_chunks(url: &str, settings: &str, queries: &[(&str, &str)]) -> String {
    prometheus_document(url, settings, queries)
        .replace("step: 5s\nrange: 92m", "step: 1s\nrange: 7h")
}

const ONE: [(&str, &str); 1] = [("workqueue_depth", "sum(workqueue_depth)")];

fn bits(samples: &Samples) -> Vec<Vec<u64>> {
    let columns = samples.table.columns.iter();
    columns.map(|column| column.values.iter().map(|value| value.to_bits()).collect()).collect()
}

/// Compares two columns; the order in which a server adds series up is not fixed.
fn agree(name: &str, one: &Samples, other: &Samples, from: usize) {
    let (one, other) = (one.table.column(name).unwrap(), other.table.column(name).unwrap());
    assert_eq!(one.values.len(), other.values.len());
    for (row, (a, b)) in one.values.iter().zip(&other.values).enumerate().skip(from) {
        let close = (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) || (a.is_nan() && b.is_nan());
        assert!(close, "{name}, row {row}: {a} and {b}");
    }
}

#[test]
fn a_server_with_the_recorded_samples_gives_the_recorded_replies() -> Result<()> {
    let server = Prometheus::recorded()?;
    let asked = Place::new(&prometheus_document(&server.url(), "", &QUERIES))?;
    let asked_samples = asked.samples(RECORDED_END, &[])?;
    assert_eq!(asked_samples.table.rows(), 1104);
    let counts = &asked.outcome()?["counts"];
    assert_eq!((counts["requests"].as_u64(), counts["retries"].as_u64()), (Some(6), Some(0)));

    let document = prometheus_document("x", "", &QUERIES)
        .replace("prometheus: {url: 'x'}", "recording: {path: nowhere}");
    let replayed = Place::new(&document)?;
    let folder = recording("cluster");
    let replayed_samples =
        replayed.samples(RECORDED_END, &["--source", folder.to_str().unwrap()])?;
    assert_eq!(asked_samples.table.times, replayed_samples.table.times);
    for (name, _) in QUERIES {
        // The raw samples begin where the recording does: a rate needs the minute before, and a
        // gauge that is scraped rarely the five minutes a server looks back.
        agree(name, &asked_samples, &replayed_samples, 66);
    }
    Ok(())
}

#[test]
fn chunks_are_merged_without_duplicates_or_holes() -> Result<()> {
    let server = Prometheus::recorded()?;
    let fine = Place::new(&three_chunks(&server.url(), "", &QUERIES[..2]))?;
    let fine_samples = fine.samples(RECORDED_END, &[])?;
    let outcome = fine.outcome()?;
    assert_eq!(outcome["counts"]["chunks"], 3);
    assert_eq!(outcome["counts"]["requests"], 6);
    let times = &fine_samples.table.times;
    assert!(times.len() > 5000 && times.last().unwrap().to_string() == RECORDED_END);
    assert!(times.windows(2).all(|pair| (pair[1] - pair[0]).ms() == 1000));

    let coarse = Place::new(&prometheus_document(&server.url(), "", &QUERIES[..2]))?;
    let coarse_samples = coarse.samples(RECORDED_END, &[])?;
    let columns = coarse_samples.table.columns.iter().zip(&fine_samples.table.columns);
    for (column, fine_column) in columns {
        for (time, value) in coarse_samples.table.times.iter().zip(&column.values) {
            let row = times.binary_search(time).unwrap();
            let fine_value = fine_column.values[row];
            let close = (value - fine_value).abs() <= 1e-9 * value.abs();
            assert!(close || (value.is_nan() && fine_value.is_nan()), "{time}");
        }
    }
    Ok(())
}

type Make = fn(&str, &str, &[(&str, &str)]) -> String;

#[test]
fn a_recording_is_what_the_server_sent_and_replays_to_the_same_bytes() -> Result<()> {
    let server = Prometheus::recorded()?;
    let queries = &QUERIES[2..5];
    for (make, chunks) in [(prometheus_document as Make, 1), (three_chunks as Make, 3)] {
        let document = make(&server.url(), "", queries);
        let place = Place::new(&document)?;
        place.samples(RECORDED_END, &["--record", "record"])?;
        assert_eq!(place.outcome()?["counts"]["chunks"], chunks);
        let recorded_bytes = fs_err::read(place.path("samples.parquet"))?;

        if chunks == 1 {
            let packed = fs_err::read(place.path("record/workqueue_depth.json.gz"))?;
            let mut body = Vec::new();
            flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut body)?;
            let form = "query=sum(workqueue_depth)&start=1795247405&end=1795252920&step=5";
            assert_eq!(String::from_utf8(body)?, String::from_utf8(server.query_range(form)?)?);
        }
        let replay = document.replace(
            &format!("prometheus: {{url: '{}'}}", server.url()),
            "recording: {path: record}",
        );
        let replayed = Place::new(&replay)?;
        let folder = place.path("record");
        replayed.samples(RECORDED_END, &["--source", folder.to_str().unwrap()])?;
        assert_eq!(fs_err::read(replayed.path("samples.parquet"))?, recorded_bytes);
    }
    Ok(())
}

#[test]
fn rows_of_entities_are_in_order_of_time_and_name() -> Result<()> {
    let server = Prometheus::recorded()?;
    let document = prometheus_document(
        &server.url(),
        "",
        &[("memory_bytes", r#"sum by (pod) (container_memory_working_set_bytes{pod!=""})"#)],
    )
    .replace("'}", "', entity: pod}")
    .replacen("', entity: pod}", "'}", 1);
    let place = Place::new(&document)?;
    let samples = place.samples(RECORDED_END, &[])?;
    let rows: Vec<(i64, &str)> = (0..samples.table.rows())
        .map(|row| (samples.table.times[row].ms(), samples.table.entity_of(row)))
        .collect();
    assert!(rows.is_sorted() && rows.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(samples.table.entities.len() > 10);
    let counts = &place.outcome()?["counts"];
    assert_eq!(counts["gaps"], 0, "a pod has rows only where it has values");
    assert!(counts["chunks"].as_u64() > Some(1), "the number of entities was not known");
    Ok(())
}

#[test]
fn several_series_without_an_entity_are_refused_with_two_of_them() -> Result<()> {
    let server = Prometheus::recorded()?;
    let document = prometheus_document(&server.url(), "", &[("depth", "workqueue_depth")]);
    let said = Place::new(&document)?.fails(RECORDED_END, &[], 3)?;
    assert!(said.contains("several series, such as `{__name__=\"workqueue_depth\""), "{said}");
    assert!(said.contains("` and `{") && said.contains("entity: "), "{said}");
    Ok(())
}

#[test]
fn prometheus_own_words_tell_what_is_wrong_with_a_query() -> Result<()> {
    let server = Prometheus::recorded()?;
    for (promql, part) in [
        ("sum(", "parse error"),
        ("sum by (x) (rate(workqueue_depth))", "parse error"),
        ("workqueue_depth + on (nothing) workqueue_depth", "duplicate series"),
    ] {
        let document = prometheus_document(&server.url(), "", &[("broken", promql)]);
        let place = Place::new(&document)?;
        let said = place.fails(RECORDED_END, &[], 2)?;
        assert!(said.contains(part) && said.contains("query `broken`"), "{said}");
        assert_eq!(place.outcome()?["counts"]["retries"], 0);
    }
    Ok(())
}

#[test]
fn a_query_without_series_is_a_column_of_gaps_and_all_of_them_are_refused() -> Result<()> {
    let server = Prometheus::recorded()?;
    let queries = [ONE[0], ("nothing", "sum(no_such_metric)")];
    let place = Place::new(&prometheus_document(&server.url(), "", &queries))?;
    let samples = place.samples(RECORDED_END, &[])?;
    assert!(samples.table.column("nothing").unwrap().values.iter().all(|value| value.is_nan()));
    let outcome = place.outcome()?;
    assert_eq!(outcome["warnings"][0], "query `nothing` gave no series; its column is empty");
    assert_eq!(outcome["counts"]["gaps"], 1104);

    let place = Place::new(&prometheus_document(&server.url(), "", &queries[1..]))?;
    place.fails(RECORDED_END, &[], 3)?;
    Ok(())
}

#[test]
fn values_that_are_no_finite_numbers_stay_what_they_are() -> Result<()> {
    let server = Prometheus::recorded()?;
    let queries = [
        ("nan", "sum(workqueue_depth) * 0 / 0"),
        ("positive", "sum(workqueue_depth) * 0 + Inf"),
        ("negative", "sum(workqueue_depth) * 0 - Inf"),
    ];
    let place = Place::new(&prometheus_document(&server.url(), "", &queries))?;
    let samples = place.samples(RECORDED_END, &[])?;
    let last = |name| *samples.table.column(name).unwrap().values.last().unwrap();
    assert!(last("nan").is_nan());
    assert!(last("positive").is_infinite() && last("positive") > 0.0);
    assert!(last("negative").is_infinite() && last("negative") < 0.0);
    let counts = &place.outcome()?["counts"];
    assert!(counts["nan_values"].as_u64() > Some(1000), "{counts}");
    assert!(counts["infinite_values"].as_u64() > Some(2000), "{counts}");
    Ok(())
}

#[test]
fn a_scoring_asks_from_the_watermark_minus_the_lookback() -> Result<()> {
    let server = Prometheus::recorded()?;
    let document = prometheus_document(&server.url(), "", &ONE)
        + "scoring: {every: 1m, delay: 30s, catch_up: 10m}\nfill: {forward: {limit: 2}}\n";
    let place = Place::new(&document)?;
    let url = format!("file://{}", place.path("store").display());
    let range = |place: &Place| -> Result<(usize, String, String)> {
        let samples = place.samples("2026-11-21T09:00:02Z", &["--store", &url])?;
        let times = &samples.table.times;
        let text =
            |time: Option<&contract::Timestamp>| time.map(ToString::to_string).unwrap_or_default();
        Ok((times.len(), text(times.first()), text(times.last())))
    };
    // Two steps of lookback for the fill, five of history before it, and a single window.
    let expected = (8, "2026-11-21T08:58:55Z".to_owned(), "2026-11-21T08:59:30Z".to_owned());
    assert_eq!(range(&place)?, expected);

    let store = store::open(&url)?;
    let mut tag = None;
    for (scored_to, rows, first) in [
        ("2026-11-21T08:58:30Z", 12 + 7, "2026-11-21T08:58:00Z"),
        ("2026-11-21T08:00:00Z", 120 + 7, "2026-11-21T08:49:00Z"),
        ("2026-11-21T08:59:30Z", 0, ""),
        ("2026-11-21T09:10:00Z", 0, ""),
    ] {
        let watermark = store::Watermark {
            format: store::Watermark::FORMAT,
            scored_to: scored_to.parse().unwrap(),
            state: serde_json::Value::Null,
        };
        tag = Some(store::watermark::write(store.as_ref(), "x", &watermark, tag.as_deref())?);
        let (found, from, _) = range(&place)?;
        assert_eq!((found, from.as_str()), (rows, first), "{scored_to}");
    }
    assert_eq!(place.outcome()?["counts"]["requests"], 0, "nothing is due");
    Ok(())
}

/// Runs one query through a proxy with a script; returns what was left.
fn through(script: &[Fault], settings: &str) -> Result<(Place, FaultProxy)> {
    let server = Prometheus::recorded()?;
    let proxy = FaultProxy::start(Some(server.port()), script, Fault::None)?;
    let place = Place::new(&prometheus_document(&proxy.url(), settings, &ONE))?;
    place.samples(RECORDED_END, &[])?;
    Ok((place, proxy))
}

#[test]
fn faults_that_pass_leave_no_trace_in_the_samples() -> Result<()> {
    let (undisturbed, _) = through(&[], "")?;
    let expected = fs_err::read(undisturbed.path("samples.parquet"))?;
    let cut_json = Fault::Reply(200, "", r#"{"status":"success","data":{"resultType":"mat"#);
    let timed_out =
        Fault::Reply(200, "", r#"{"status":"error","errorType":"timeout","error":"slow"}"#);
    for (script, settings) in [
        (vec![Fault::Reply(503, "", "overloaded"); 2], ""),
        (vec![Fault::Reply(500, "", ""), Fault::Reply(502, "", "<html>")], ""),
        (vec![Fault::Reply(429, "Retry-After: 0\r\n", ""), Fault::Reply(429, "", "")], ""),
        (vec![Fault::Reply(503, "Retry-After: 1\r\n", "")], ""),
        (vec![Fault::Silence], ", timeout: 500ms"),
        (vec![Fault::CutBody, Fault::HalfBody], ""),
        (vec![Fault::HangUp, Fault::HangUp], ""),
        (vec![cut_json, Fault::Reply(200, "", "")], ""),
        (vec![timed_out], ""),
    ] {
        let (place, proxy) = through(&script, settings)?;
        assert_eq!(fs_err::read(place.path("samples.parquet"))?, expected, "{script:?}");
        let counts = &place.outcome()?["counts"];
        assert_eq!(counts["retries"].as_u64(), Some(script.len() as u64), "{script:?}");
        assert_eq!(proxy.requests().len(), script.len() + 1);
    }
    Ok(())
}

#[test]
fn faults_that_stay_end_as_unavailable_after_the_last_retry() -> Result<()> {
    for (fault, settings, part) in [
        (Fault::Reply(503, "", "over\nloaded"), "", "503 Service Unavailable: over loaded"),
        (Fault::Silence, ", timeout: 300ms", "no whole reply within 300ms"),
        (Fault::CutBody, "", "was cut"),
        (Fault::HalfBody, "", "cut or no JSON"),
        (Fault::HangUp, "", "was cut"),
        (Fault::Reply(200, "", "tomorrow"), "", "cut or no JSON"),
    ] {
        let server = Prometheus::recorded()?;
        let proxy = FaultProxy::start(Some(server.port()), &[], fault.clone())?;
        let settings = format!(", retries: 1{settings}");
        let place = Place::new(&prometheus_document(&proxy.url(), &settings, &ONE))?;
        let said = place.fails(RECORDED_END, &[], 4)?;
        assert!(said.contains(part), "{fault:?}: {said}");
        assert!(said.contains("/api/v1/query_range") && said.contains("2 attempts"), "{said}");
        assert_eq!(proxy.requests().len(), 2, "{fault:?}");
    }
    Ok(())
}

#[test]
fn a_server_that_asks_for_a_long_pause_is_unavailable_at_once() -> Result<()> {
    let fault = Fault::Reply(429, "Retry-After: 86400\r\n", "");
    let proxy = FaultProxy::start(None, &[], fault)?;
    let place = Place::new(&prometheus_document(&proxy.url(), "", &ONE))?;
    place.fails(RECORDED_END, &[], 4)?;
    assert_eq!(proxy.requests().len(), 1);
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_unavailable() -> Result<()> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}");
    let place = Place::new(&prometheus_document(&url, ", retries: 1", &ONE))?;
    let said = place.fails(RECORDED_END, &[], 4)?;
    assert!(said.contains("cannot connect") && said.contains("refused"), "{said}");
    Ok(())
}

#[test]
fn answers_that_will_not_change_are_not_asked_for_again() -> Result<()> {
    let vector = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let bad = r#"{"status":"error","errorType":"bad_data","error":"no such thing"}"#;
    for (fault, part) in [
        (Fault::Ask("step=5", "step=0.1"), "exceeded maximum resolution of 11,000 points"),
        (Fault::Reply(400, "", bad), "400 Bad Request: no such thing"),
        (Fault::Reply(422, "", bad), "422 Unprocessable Entity: no such thing"),
        (Fault::Reply(200, "", bad), "bad_data: no such thing"),
        (Fault::Reply(200, "", "<!doctype html><title>Sign in</title>"), "web page"),
        (Fault::Reply(200, "", vector), "resultType is `vector`"),
        (Fault::Reply(200, "", r#"{"hello":"world"}"#), "not one of `query_range`"),
        (Fault::Reply(401, "", ""), "bearer_token_file"),
        (Fault::Reply(403, "", "<html>"), "a web page"),
        (Fault::Reply(404, "", "404 page not found"), "without /api/v1"),
        (
            Fault::Reply(302, "Location: https://sso.example/?secret=hunter2\r\n", ""),
            "https://sso.example/;",
        ),
        (Fault::Reply(308, "Location: /elsewhere\r\n", ""), "/elsewhere; redirects"),
    ] {
        let server = Prometheus::recorded()?;
        let proxy = FaultProxy::start(Some(server.port()), &[], fault.clone())?;
        let place = Place::new(&prometheus_document(&proxy.url(), ", retries: 0", &ONE))?;
        let said = place.fails(RECORDED_END, &[], 2)?;
        assert!(said.contains(part), "{fault:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(proxy.requests().len(), 1, "{fault:?}");
    }
    Ok(())
}

#[test]
fn nan_values_of_an_answer_are_counted() -> Result<()> {
    let server = Prometheus::recorded()?;
    let fault = Fault::Answer(r#","0"]"#, r#","NaN"]"#);
    let proxy = FaultProxy::start(Some(server.port()), &[], fault)?;
    let queries = [("depth", "sum(workqueue_depth) * 0")];
    let place = Place::new(&prometheus_document(&proxy.url(), "", &queries))?;
    place.samples(RECORDED_END, &[])?;
    assert_eq!(place.outcome()?["counts"]["nan_values"].as_u64(), Some(1104));
    Ok(())
}

#[test]
fn warnings_and_infos_of_the_server_are_in_the_outcome_once() -> Result<()> {
    let fault = Fault::Answer(
        r#"{"status":"success","#,
        r#"{"status":"success","warnings":["half of the stores are away"],"infos":["look"],"#,
    );
    let server = Prometheus::recorded()?;
    let proxy = FaultProxy::start(Some(server.port()), &[], fault)?;
    let document = three_chunks(&proxy.url(), "", &ONE);
    let place = Place::new(&document)?;
    place.samples(RECORDED_END, &[])?;
    let outcome = place.outcome()?;
    assert_eq!(outcome["counts"]["chunks"], 3);
    let warnings = outcome["warnings"].as_array().unwrap();
    let about_stores = |text: &&serde_json::Value| text.to_string().contains("stores are away");
    assert_eq!(warnings.iter().filter(about_stores).count(), 1);
    assert_eq!(outcome["details"]["infos"][0], "query `workqueue_depth`: look");
    Ok(())
}

#[test]
fn peak_memory_does_not_grow_with_the_number_of_chunks() -> Result<()> {
    let server = Prometheus::recorded()?;
    let names = ["a", "b", "c", "d"];
    let queries = names.map(|name| (name, "vector(time())"));
    let mut peaks = Vec::new();
    for chunks in [10, 100] {
        let range = format!("step: 1s\nrange: {}s", 11_000 * chunks);
        let document = prometheus_document(&server.url(), "", &queries)
            .replace("step: 5s\nrange: 92m", &range);
        let place = Place::new(&document)?;
        let output = place.collect(RECORDED_END, &[])?;
        ensure!(output.status.success(), "{}", support::stderr(&output));
        let outcome = place.outcome()?;
        assert_eq!(outcome["counts"]["chunks"], chunks);
        assert_eq!(outcome["counts"]["points"], 4 * 11_000 * chunks);
        peaks.push(outcome["peak_memory_bytes"].as_f64().unwrap());
    }
    ensure!(peaks[1] < 1.25 * peaks[0], "{peaks:?}");
    Ok(())
}

#[test]
fn no_more_requests_are_open_than_the_document_allows() -> Result<()> {
    let server = Prometheus::recorded()?;
    for parallel in [1, 3] {
        let proxy = FaultProxy::start(Some(server.port()), &[], Fault::None)?;
        let settings = format!(", parallel: {parallel}");
        let document = three_chunks(&proxy.url(), &settings, &QUERIES);
        let place = Place::new(&document)?;
        place.samples(RECORDED_END, &[])?;
        assert_eq!(proxy.requests().len(), 18);
        // The proxy may still be closing one while the next has come in.
        ensure!(proxy.most_active() <= 2 * parallel, "{}", proxy.most_active());
    }
    Ok(())
}

#[test]
fn the_samples_do_not_depend_on_how_many_requests_run_at_once() -> Result<()> {
    let server = Prometheus::recorded()?;
    let mut written = Vec::new();
    for settings in [", parallel: 1", ", parallel: 16"] {
        // Plain sums of a gauge: nothing the server itself computes in changing order.
        let document = three_chunks(&server.url(), settings, &QUERIES[3..]);
        let place = Place::new(&document)?;
        let samples = place.samples(RECORDED_END, &[])?;
        assert_eq!(bits(&samples).len(), 3);
        written.push(fs_err::read(place.path("samples.parquet"))?);
    }
    assert_eq!(written[0], written[1]);
    Ok(())
}

#[test]
fn secrets_are_sent_and_never_shown() -> Result<()> {
    let server = Prometheus::recorded()?;
    for (settings, header) in [
        (", bearer_token_file: token", "authorization: Bearer hunter2"),
        (
            ", basic_auth: {username: me, password_file: token}",
            "authorization: Basic bWU6aHVudGVyMg==",
        ),
        (", headers: {X-Scope-OrgID: hunter2}", "x-scope-orgid: hunter2"),
    ] {
        let denied = [Fault::Reply(503, "", ""), Fault::Reply(403, "", "")];
        for (script, code) in [(&denied[..0], 0), (&denied[..], 2)] {
            let proxy = FaultProxy::start(Some(server.port()), script, Fault::None)?;
            let place = Place::new(&prometheus_document(&proxy.url(), settings, &ONE))?;
            place.file("token", "hunter2\n")?;
            let output = place.collect(RECORDED_END, &["--log", "json"])?;
            let said = support::stderr(&output);
            ensure!(output.status.code() == Some(code), "{said}");
            for request in proxy.requests() {
                let head = request.head.to_lowercase();
                ensure!(head.contains(&header.to_lowercase()), "{head}");
                ensure!(request.head.contains(header.split_once(' ').unwrap().1), "{head}");
            }
            let outcome = fs_err::read_to_string(place.path("outcome.json"))?;
            ensure!(!said.contains("hunter2") && !said.contains("aHVudGVy"), "{said}");
            ensure!(!outcome.contains("hunter2") && !outcome.contains("aHVudGVy"), "{outcome}");
        }
    }
    Ok(())
}
