//! `collect` with a faulty proxy in front of a real Prometheus.

mod support;

#[path = "../../../tests/support/fault_proxy.rs"]
mod fault_proxy;
#[path = "../../../tests/support/prometheus.rs"]
mod prometheus;

use anyhow::{Result, ensure};
use fault_proxy::{Fault, FaultProxy};
use prometheus::Prometheus;
use support::{ONE, Place, QUERIES, RECORDED_END, prometheus_document, three_chunks};

/// Runs one query through a proxy with a script; returns the folder of the run.
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
    // A reply that the request is too large is followed by requests for its two halves.
    for (script, settings, pieces) in [
        (vec![Fault::Reply(503, "", "overloaded"); 2], "", 2),
        (vec![Fault::Reply(500, "", ""), Fault::Reply(502, "", "<html>")], "", 1),
        (vec![Fault::Reply(429, "Retry-After: 0\r\n", ""), Fault::Reply(429, "", "")], "", 1),
        (vec![Fault::Reply(503, "Retry-After: 1\r\n", "")], "", 1),
        (vec![Fault::Silence], ", timeout: 500ms", 2),
        (vec![Fault::CutBody, Fault::HalfBody], "", 1),
        (vec![Fault::HangUp, Fault::HangUp], "", 1),
        (vec![cut_json, Fault::Reply(200, "", "")], "", 1),
        (vec![timed_out], "", 2),
    ] {
        let (place, proxy) = through(&script, settings)?;
        assert_eq!(fs_err::read(place.path("samples.parquet"))?, expected, "{script:?}");
        let counts = &place.outcome()?["counts"];
        assert_eq!(counts["retries"].as_u64(), Some(script.len() as u64), "{script:?}");
        assert_eq!(proxy.requests().len(), script.len() + pieces, "{script:?}");
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
fn server_asking_for_a_long_delay_is_unavailable_at_once() -> Result<()> {
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
fn immutable_answers_are_cached() -> Result<()> {
    let vector = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let bad = r#"{"status":"error","errorType":"bad_data","error":"no such thing"}"#;
    for (fault, part) in [
        (Fault::Reply(400, "", bad), "400 Bad Request: no such thing"),
        (Fault::Reply(422, "", bad), "422 Unprocessable Entity: no such thing"),
        (Fault::Reply(200, "", bad), "bad_data: no such thing"),
        (Fault::Reply(200, "", "<!doctype html><title>Sign in</title>"), "web page"),
        (Fault::Reply(200, "", vector), "resultType is `vector`"),
        (Fault::Reply(200, "", r#"{"hello":"world"}"#), "not one of `query_range`"),
        (Fault::Reply(401, "", ""), "sources.main.prometheus.auth"),
        (Fault::Reply(403, "", "<html>"), "a web page"),
        (Fault::Reply(404, "", "404 page not found"), "without /api/v1"),
        (
            Fault::Reply(302, "Location: https://sso.example/?secret=hunter2\r\n", ""),
            "https://sso.example; redirects",
        ),
        (Fault::Reply(308, "Location: /elsewhere\r\n", ""), "/elsewhere; redirects"),
    ] {
        let server = Prometheus::recorded()?;
        let proxy = FaultProxy::start(Some(server.port()), &[], fault.clone())?;
        let place = Place::new(&prometheus_document(&proxy.url(), ", retries: 0", &ONE))?;
        let said = place.fails(RECORDED_END, &[], 2)?;
        assert!(said.contains(part), "{fault:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
        // A server that refuses POST may still allow GET.
        let is_refused = matches!(fault, Fault::Reply(403, ..));
        assert_eq!(proxy.requests().len(), 1 + usize::from(is_refused), "{fault:?}");
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
fn server_warnings_and_infos_are_in_the_outcome_once() -> Result<()> {
    let fault = Fault::Answer(
        r#"{"status":"success","#,
        r#"{"status":"success","warnings":["half of the stores are away"],"infos":["look"],"#,
    );
    let server = Prometheus::recorded()?;
    let proxy = FaultProxy::start(Some(server.port()), &[], fault)?;
    let document = three_chunks(&proxy.url(), "", &ONE) + "collect: {partial_answers: score}\n";
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
        // The proxy may still be closing one connection when the next one is open.
        ensure!(proxy.most_active() <= 2 * parallel, "{}", proxy.most_active());
    }
    Ok(())
}

#[test]
fn samples_do_not_depend_on_request_parallelism() -> Result<()> {
    let server = Prometheus::recorded()?;
    let mut written = Vec::new();
    for settings in [", parallel: 1", ", parallel: 16"] {
        // Plain sums of a gauge, because the server computes other functions in varying order.
        let document = three_chunks(&server.url(), settings, &QUERIES[3..]);
        let place = Place::new(&document)?;
        let samples = place.samples(RECORDED_END, &[])?;
        assert_eq!(samples.table.columns.len(), 3);
        written.push(fs_err::read(place.path("samples.parquet"))?);
    }
    assert_eq!(written[0], written[1]);
    Ok(())
}

#[test]
fn secrets_are_sent_and_never_shown() -> Result<()> {
    let server = Prometheus::recorded()?;
    for (settings, header) in [
        (", auth: {bearer_token: {file: token}}", "authorization: Bearer hunter2"),
        (
            ", auth: {basic: {username: me, password: {file: token}}}",
            "authorization: Basic bWU6aHVudGVyMg==",
        ),
        (", headers: {X-Scope-OrgID: hunter2}", "x-scope-orgid: hunter2"),
    ] {
        let denied =
            [Fault::Reply(503, "", ""), Fault::Reply(403, "", ""), Fault::Reply(403, "", "")];
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
