//! Servers with limited, different or incomplete replies: the resulting samples.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

#[path = "support/fake.rs"]
mod fake;

use std::io::Write as _;

use anyhow::{Result, ensure};
use contract::coverage::{Coverage, GapKind};
use contract::{Timestamp, read_json};
use fake::{Answer, Asked, Fake, matrix, refusal, with};
use support::{Place, stderr};

/// How a server answers.
type Answering = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// Noon of the tests, in seconds.
const NOON: i64 = 1_795_953_600;

fn at(seconds: i64) -> String {
    Timestamp::from_ms(seconds * 1000).to_string()
}

/// A document with these queries, one point per minute.
fn document(url: &str, settings: &str, queries: &[(&str, Option<&str>)], rest: &str) -> String {
    let queries: Vec<String> = queries
        .iter()
        .map(|(name, entity)| {
            let entity = entity.map_or(String::new(), |label| format!(", entity: {label}"));
            format!("{{name: {name}, promql: {name}{entity}}}")
        })
        .collect();
    format!(
        "step: 1m\nrange: 1d\nsources: {{main: {{prometheus: {{url: '{url}'{settings}}}, queries: [{}]}}}}\n{rest}",
        queries.join(", ")
    )
}

fn plain(asked: &Asked) -> Answer {
    matrix(&[asked.series("{}", |time| Some(time as f64))])
}

/// Collects the day before noon for a training, and returns the folder of the run.
fn train(fake: &Fake, settings: &str) -> Result<Place> {
    let place = Place::new(&document(&fake.url(), settings, &[("a", None)], ""))?;
    let samples = place.samples(&at(NOON), &[])?;
    let values = &samples.table.column("a").unwrap().values;
    let times: Vec<f64> = samples.table.times.iter().map(|time| time.ms() as f64 / 1e3).collect();
    ensure!(values.len() == 1440 && *values == times, "{} rows", values.len());
    Ok(place)
}

#[test]
fn requests_that_are_too_large_are_halved_until_the_server_takes_them() -> Result<()> {
    let too_many = "query processing would load too many samples into memory in query execution";
    let too_long =
        "the total query time range exceeds the limit (query length: 183h, limit: 6h0m0s)";
    let too_fine = "exceeded maximum resolution of 11,000 points per timeseries";
    for (status, kind, error, most) in [
        (422, "execution", too_many, 100),
        (422, "execution", too_long, 361),
        (400, "bad_data", too_fine, 400),
        (400, "bad_data", too_long, 1),
        (413, "", "", 700),
        (500, "internal", too_many, 700),
    ] {
        let fake = Fake::start(move |asked| match asked.points() {
            points if points > most => refusal(status, kind, error),
            _ => plain(asked),
        })?;
        let place = train(&fake, ", retries: 0")?;
        let refused = fake.asked().iter().filter(|asked| asked.points() > most).count();
        assert!(refused <= 11, "halved at most eleven times, not {refused}");
        let warnings = place.outcome()?["warnings"].clone();
        assert_eq!(warnings.as_array().unwrap().len(), 1, "{warnings}");
        assert!(warnings[0].as_str().unwrap().contains("sources.main.prometheus.max_points"));
    }
    Ok(())
}

#[test]
fn limits_that_the_document_names_are_kept_from_the_start() -> Result<()> {
    for (settings, most) in
        [(", max_points: 100", 100), (", max_range: 6h", 360), (", max_samples: 144", 144)]
    {
        let fake = Fake::start(plain)?;
        train(&fake, settings)?;
        let longest = fake.asked().iter().map(Asked::points).max();
        assert_eq!(longest, Some(most), "{settings}");
    }
    Ok(())
}

#[test]
fn a_request_that_times_out_is_halved() -> Result<()> {
    let fake = Fake::start(|asked| match asked.points() {
        points if points > 400 => (0, "", Vec::new()),
        _ => plain(asked),
    })?;
    train(&fake, ", timeout: 400ms, retries: 3")?;
    Ok(())
}

#[test]
fn oversized_point_is_refused_with_the_server_message() -> Result<()> {
    let fake = Fake::start(|_| refusal(422, "execution", "too many samples into memory"))?;
    let place = Place::new(&document(&fake.url(), "", &[("a", None)], ""))?;
    let said = place.fails(&at(NOON), &[], 2)?;
    assert!(said.contains("too many samples") && said.contains("fewer series"), "{said}");
    Ok(())
}

#[test]
fn dialects_of_other_servers_are_understood() -> Result<()> {
    let body = |body: &str| (200, "", body.as_bytes().to_vec());
    let null = r#"{"status":"success","data":{"resultType":"","result":null}}"#;
    let cases: [(&str, Answering); 4] = [
        (
            "null",
            Box::new(move |asked| match asked.query.as_str() {
                "b" => body(null),
                _ => plain(asked),
            }),
        ),
        (
            "get",
            Box::new(|asked| match asked.method.as_str() {
                "POST" => (403, "", b"may not create services/proxy".to_vec()),
                _ => plain(asked),
            }),
        ),
        (
            "get",
            Box::new(|asked| match asked.method.as_str() {
                "POST" => (405, "Allow: GET\r\n", Vec::new()),
                _ => plain(asked),
            }),
        ),
        (
            "gzip",
            Box::new(|asked| {
                let mut packer =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packer.write_all(&plain(asked).2).unwrap();
                (200, "Content-Encoding: gzip\r\n", packer.finish().unwrap())
            }),
        ),
    ];
    for (name, answer) in cases {
        let fake = Fake::start(answer)?;
        let queries = [("a", None), ("b", None)];
        let place = Place::new(&document(&fake.url(), ", parallel: 1", &queries, ""))?;
        let samples = place.samples(&at(NOON), &[])?;
        assert_eq!(samples.table.rows(), 1440, "{name}");
        let posts = fake.asked().iter().filter(|asked| asked.method == "POST").count();
        assert_eq!(posts, if name == "get" { 1 } else { 2 }, "{name}");
        let said = place.outcome()?["warnings"].to_string();
        assert_eq!(said.contains("were sent with GET"), name == "get", "{said}");
    }
    Ok(())
}

#[test]
fn parameters_of_the_url_are_sent_and_a_missing_one_is_named() -> Result<()> {
    let tenant = |asked: &Asked| match asked.others.as_slice() {
        [one] if one == "namespace=monitoring" => plain(asked),
        _ => refusal(400, "prom-label-proxy", "the namespace query parameter must be provided"),
    };
    let fake = Fake::start(tenant)?;
    let url = |query: &str| format!("{}{query}", fake.url());
    let place = Place::new(&document(&url("/?namespace=monitoring"), "", &[("a", None)], ""))?;
    place.samples(&at(NOON), &[])?;
    let place = Place::new(&document(&url(""), "", &[("a", None)], ""))?;
    let said = place.fails(&at(NOON), &[], 2)?;
    assert!(said.contains("must be provided") && said.contains("?namespace="), "{said}");
    Ok(())
}

#[test]
fn a_bad_minute_of_a_training_is_missing_values_of_that_minute() -> Result<()> {
    let fake = Fake::start(|asked| {
        if asked.times().any(is_overlap) {
            refusal(422, "execution", "many-to-many matching not allowed")
        } else {
            plain(asked)
        }
    })?;
    let place = Place::new(&document(&fake.url(), "", &[("a", None)], ""))?;
    let samples = place.samples(&at(NOON), &[])?;
    let values = &samples.table.column("a").unwrap().values;
    let missing = values.iter().filter(|value| value.is_nan()).count();
    assert_eq!((values.len(), missing), (1440, 5));
    let said = place.outcome()?["warnings"].to_string();
    assert!(said.contains("5 points") && said.contains("many-to-many"), "{said}");
    assert!(fake.asked().len() < 60, "{}", fake.asked().len());
    Ok(())
}

/// Five minutes, an hour before noon.
fn is_overlap(time: i64) -> bool {
    (NOON - 3600..NOON - 3300).contains(&time)
}

/// Runs a tick of a pipeline that was last scored `minutes` before noon; returns what is missing.
fn tick(place: &Place, minutes: i64, code: i32) -> Result<Option<Coverage>> {
    let url = format!("file://{}", place.path("store").display());
    let watermark = store::Watermark::new(Timestamp::from_ms((NOON - 60 * minutes) * 1000));
    let opened = store::open(&url)?;
    let before = store::watermark::read(opened.as_ref(), "x")?.map(|stored| stored.etag);
    store::watermark::write(opened.as_ref(), "x", &watermark, before.as_deref())?;
    let flags = ["--store", &url, "--coverage", "coverage.json"];
    let output = place.collect(&at(NOON + 30), &flags)?;
    ensure!(output.status.code() == Some(code), "{}", stderr(&output));
    if code != 0 {
        return Ok(None);
    }
    Ok(Some(read_json(&place.path("coverage.json"))?))
}

#[test]
fn windows_that_the_server_refuses_are_bisected_out_of_a_tick() -> Result<()> {
    let fake = Fake::start(|asked| {
        if asked.query == "b" && asked.times().any(is_overlap) {
            refusal(422, "execution", "many-to-many matching")
        } else {
            plain(asked)
        }
    })?;
    let queries = [("a", None), ("b", None)];
    let place = Place::new(&document(&fake.url(), "", &queries, ""))?;
    let coverage = tick(&place, 120, 0)?.unwrap();
    assert_eq!((coverage.until.to_string(), coverage.waiting), (at(NOON), None));
    let minutes: Vec<i64> = coverage
        .gaps
        .iter()
        .flat_map(|gap| {
            assert_eq!((gap.kind, gap.query.as_str()), (GapKind::Refused, "b"));
            (gap.first.ms() / 1000..=gap.last.ms() / 1000).step_by(60)
        })
        .collect();
    assert_eq!(minutes, (NOON - 3600..NOON - 3300).step_by(60).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn two_series_for_an_entity_are_gaps_of_that_entity_alone() -> Result<()> {
    let fake = Fake::start(|asked| {
        let some = |yes: bool| yes.then_some(10.0);
        matrix(&[
            asked.series(r#"{"node":"n1","instance":"a"}"#, |t| some(t < NOON - 3300)),
            asked.series(r#"{"node":"n1","instance":"b"}"#, |t| some(t >= NOON - 3600)),
            asked.series(r#"{"node":"n2","instance":"c"}"#, |_| Some(1.0)),
        ])
    })?;
    let place = Place::new(&document(&fake.url(), "", &[("a", Some("node"))], ""))?;
    let coverage = tick(&place, 120, 0)?.unwrap();
    let [gap] = coverage.gaps.as_slice() else { anyhow::bail!("{:?}", coverage.gaps) };
    assert_eq!((gap.kind, gap.entity.as_deref()), (GapKind::Ambiguous, Some("n1")));
    let ends = (gap.first.to_string(), gap.last.to_string());
    assert_eq!(ends, (at(NOON - 3600), at(NOON - 3360)));
    let samples = frames::Samples::read(&place.path("samples.parquet"))?;
    assert_eq!(samples.table.rows(), 2 * 120 - 5);
    Ok(())
}

#[test]
fn incomplete_answers_wait_then_become_no_data_unless_accepted() -> Result<()> {
    for fields in [r#""isPartial":true,"#, r#""warnings":["store 10.0.0.7:10901 did not answer"],"#]
    {
        let fake = Fake::start(move |asked| with(fields, &[asked.series("{}", |_| Some(5.05))]))?;
        let place = Place::new(&document(&fake.url(), "", &[("a", None)], ""))?;
        let coverage = tick(&place, 30, 0)?.unwrap();
        assert_eq!(coverage.until.to_string(), at(NOON - 600), "ten minutes are waited for");
        assert!(coverage.waiting.unwrap().contains("incomplete"));
        let first = coverage.gaps.first().unwrap();
        let last = coverage.gaps.last().unwrap();
        assert_eq!((first.kind, last.kind), (GapKind::Incomplete, GapKind::Incomplete));
        assert_eq!(
            (first.first.to_string(), last.last.to_string()),
            (at(NOON - 1740), at(NOON - 600))
        );
        let samples = frames::Samples::read(&place.path("samples.parquet"))?;
        assert!(samples.table.columns[0].values.iter().all(|value| value.is_nan()));

        let taken = "collect: {partial_answers: score}\n";
        let place = Place::new(&document(&fake.url(), "", &[("a", None)], taken))?;
        let coverage = tick(&place, 30, 0)?.unwrap();
        assert_eq!((coverage.until.to_string(), coverage.gaps.len()), (at(NOON), 0));
    }
    Ok(())
}

#[test]
fn a_server_that_fails_at_some_windows_loses_those_alone_once_they_are_old() -> Result<()> {
    let fake = Fake::start(|asked| {
        if asked.times().any(is_overlap) {
            (500, "", b"broken block".to_vec())
        } else {
            plain(asked)
        }
    })?;
    let settings = ", retries: 0";
    let place = Place::new(&document(&fake.url(), settings, &[("a", None)], ""))?;
    let coverage = tick(&place, 120, 0)?.unwrap();
    assert_eq!(coverage.until.to_string(), at(NOON));
    let of_kind = coverage.gaps.iter().filter(|gap| gap.kind == GapKind::Unavailable);
    let windows: i64 = of_kind.map(|gap| (gap.last - gap.first).ms() / 60_000 + 1).sum();
    assert_eq!(windows, 5);

    // If they are recent, the windows before them are scored, and the rest waits.
    let patient = "collect: {give_up_after: 2h}\n";
    let place = Place::new(&document(&fake.url(), settings, &[("a", None)], patient))?;
    let coverage = tick(&place, 120, 0)?.unwrap();
    assert!(coverage.until.to_string() <= at(NOON - 3660) && coverage.gaps.is_empty());
    assert!(coverage.waiting.unwrap().contains("broken block"));
    Ok(())
}

#[test]
fn a_server_that_is_not_there_gives_up_no_window() -> Result<()> {
    let url = Fake::start(plain)?.url();
    let place = Place::new(&document(&url, ", retries: 0", &[("a", None)], ""))?;
    tick(&place, 120, 4)?;
    Ok(())
}

#[test]
fn a_pause_longer_than_the_range_limit_of_the_server_is_caught_up_with() -> Result<()> {
    let too_long =
        "the total query time range exceeds the limit (query length: 24h, limit: 6h0m0s)";
    for hours in [8, 12, 24] {
        let fake = Fake::start(move |asked| match asked.points() {
            points if points > 361 => refusal(422, "execution", too_long),
            _ => plain(asked),
        })?;
        let place = Place::new(&document(&fake.url(), ", retries: 0", &[("a", None)], ""))?;
        let coverage = tick(&place, 60 * hours, 0)?.unwrap();
        assert_eq!((coverage.gaps.len(), coverage.waiting), (0, None), "{hours} h");
        assert!(coverage.until > Timestamp::from_ms((NOON - 3600 * hours) * 1000), "{hours} h");
        let samples = frames::Samples::read(&place.path("samples.parquet"))?;
        let times = &samples.table.times;
        let is_due = |time: &&Timestamp| time.ms() > (NOON - 3600 * hours) * 1000;
        let due = times.iter().filter(is_due).count();
        let until = (coverage.until.ms() / 1000 - (NOON - 3600 * hours)) / 60;
        assert_eq!(i64::try_from(due)?, until, "{hours} h: no window is left out");
    }
    Ok(())
}

#[test]
fn incomplete_answers_are_missing_values_of_a_training_and_are_named() -> Result<()> {
    for fields in [r#""isPartial":true,"#, r#""warnings":["store 10.0.0.7:10901 did not answer"],"#]
    {
        let fake = Fake::start(move |asked| {
            let value = |time| Some(if is_overlap(time) { 5.05 } else { 10.1 });
            let fields = if asked.times().any(is_overlap) { fields } else { "" };
            with(fields, &[asked.series("{}", value)])
        })?;
        let place = Place::new(&document(&fake.url(), "", &[("a", None)], ""))?;
        let samples = place.samples(&at(NOON), &[])?;
        let values = &samples.table.column("a").unwrap().values;
        assert!(values.iter().all(|value| value.is_nan() || *value > 10.0), "{fields}");
        let missing = values.iter().filter(|value| value.is_nan()).count();
        assert!((5..60).contains(&missing), "{missing} of {} values", values.len());
        let said = place.outcome()?["warnings"].to_string();
        assert!(said.contains("incomplete"), "{said}");
    }
    Ok(())
}
