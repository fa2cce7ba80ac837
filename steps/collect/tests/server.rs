//! `collect` against a real Prometheus, directly and through proxies.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

#[path = "../../../tests/support/prometheus.rs"]
mod prometheus;

use std::io::Read as _;

use anyhow::Result;
use frames::Samples;
use prometheus::Prometheus;
use support::{ONE, Place, QUERIES, RECORDED_END, prometheus_document, recording, three_chunks};

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
        // The raw samples begin with the recording: a rate needs the previous minute, and a rarely
        // scraped gauge the five minutes of the server's lookback.
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
    let coarse_times = &coarse_samples.table.times;
    // Most of the fine range is before the recording: its samples begin where both queries have
    // values. A coarse row before that lacks one.
    let early = coarse_times.partition_point(|time| *time < times[0]);
    assert!(early <= 13, "{early} rows are before {}", times[0]);
    for (row, time) in coarse_times[..early].iter().enumerate() {
        let mut columns = coarse_samples.table.columns.iter();
        assert!(columns.any(|column| column.values[row].is_nan()), "{time}");
    }
    let columns = coarse_samples.table.columns.iter().zip(&fine_samples.table.columns);
    for (column, fine_column) in columns {
        for (time, value) in coarse_times.iter().zip(&column.values).skip(early) {
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
fn recording_replays_to_the_same_bytes() -> Result<()> {
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
fn prometheus_parse_error_is_quoted() -> Result<()> {
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
fn a_query_without_series_is_left_out_unless_it_is_required_or_all_are_so() -> Result<()> {
    let server = Prometheus::recorded()?;
    let queries = [ONE[0], ("nothing", "sum(no_such_metric)")];
    let place = Place::new(&prometheus_document(&server.url(), "", &queries))?;
    let samples = place.samples(RECORDED_END, &[])?;
    assert!(samples.table.column("nothing").is_none());
    assert_eq!((samples.table.columns.len(), samples.table.rows()), (1, 1104));
    let outcome = place.outcome()?;
    assert!(outcome["warnings"][0].as_str().unwrap().contains("query `nothing` gave no series"));
    assert_eq!(outcome["details"]["absent"], serde_json::json!(["nothing"]));

    let required = prometheus_document(&server.url(), "", &queries)
        .replace("'sum(no_such_metric)'", "'sum(no_such_metric)', required: true");
    let said = Place::new(&required)?.fails(RECORDED_END, &[], 3)?;
    assert!(said.contains("query `nothing` is required"), "{said}");

    let place = Place::new(&prometheus_document(&server.url(), "", &queries[1..]))?;
    place.fails(RECORDED_END, &[], 3)?;
    Ok(())
}

#[test]
fn non_finite_values_are_kept() -> Result<()> {
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
        + "scoring: {every: 1m, delay: 30s, catch_up: 10m}\nfill: {forward: {max_windows: 2}}\n";
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
        let watermark = store::Watermark::new(scored_to.parse().unwrap());
        tag = Some(store::watermark::write(store.as_ref(), "x", &watermark, tag.as_deref())?);
        let (found, from, _) = range(&place)?;
        assert_eq!((found, from.as_str()), (rows, first), "{scored_to}");
    }
    assert_eq!(place.outcome()?["counts"]["requests"], 0, "nothing is due");
    Ok(())
}
