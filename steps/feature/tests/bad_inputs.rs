//! The real binary: documents, samples and flags that it rejects, and the errors.

#[path = "../../../tests/support/mangle.rs"]
mod mangle;
mod support;

use std::process::Command;

use contract::Timestamp;
use frames::LabelInterval;
use fs_err as fs;
use support::{Fixture, RULES, document, remains, rows};

#[test]
fn documents_that_do_not_fit_are_usage_errors() {
    for (features, words) in [
        ("[{raw: {columns: [cpus]}}]", "did you mean `cpu`?"),
        ("[{raw: {}}, {raw: {columns: [cpu]}}]", "feature `cpu` is computed twice"),
        ("[{rolling: {window: 30s, statistics: [mean]}}]", "not a whole number of steps"),
        ("[{rolling: {window: 90s, statistics: [mean]}}]", "not a whole number of steps"),
        ("[{rolling: {window: 5m, statistics: [mean, mean]}}]", "is computed twice"),
        ("[{rolling: {window: 5m, statistics: []}}]", "is empty"),
        ("[{rolling: {window: 5m, statistics: [median]}}]", "median"),
        ("[{rolling: {window: 5m, statistics: [{quantile: 1.5}]}}]", "not between 0 and 1"),
        ("[{rolling: {window: 5m, statistics: [mean], min_share: 2}}]", "not between 0 and 1"),
        ("[{rolling: {window: 5, statistics: [mean]}}]", "duration"),
        ("[{difference: {lag: 0s}}]", "not a whole number of steps"),
        ("[{difference: {lag: 61s}}]", "not a whole number of steps"),
        (
            "[{ratio: {name: cpu, numerator: cpu, denominator: requests}}, {raw: {}}]",
            "is computed twice",
        ),
        (
            "[{ratio: {name: x_ratio, numerator: cpu, denominator: request}}]",
            "did you mean `requests`?",
        ),
        (
            "[{ratio: {name: warm_up, numerator: cpu, denominator: requests}}]",
            "reserved column of feature tables",
        ),
        ("[{calendar: {}}]", "must be true"),
        ("[{raw: {columns: ['!*']}}]", "give no feature"),
        ("[]", "at least one rule"),
        ("[{rawr: {}}]", "did you mean `raw`?"),
        ("{}", "expected"),
    ] {
        let fixture = Fixture::new();
        fixture.document(&document("none", features));
        fixture.refused(2, words);
    }
    let fixture = Fixture::new();
    fixture.document("features: [");
    fixture.refused(2, "x.yaml");
    fs::remove_file(fixture.path("x.yaml")).unwrap();
    fixture.refused(2, "x.yaml");
}

#[test]
fn samples_without_the_columns_of_a_query_are_a_usage_error() {
    let fixture = Fixture::new();
    fixture.document(&document("none", "[{raw: {columns: [requests]}}]"));
    let mut rows = rows();
    rows.columns.pop();
    fixture.samples_named(&["cpu"], &rows);
    // A query without data is left out, so these rules have no columns left.
    fixture.refused(
        2,
        "rules give no feature\nhint: sample columns: cpu; not in the samples: requests\n",
    );
    fixture.samples_named(&["scenario"], &rows);
    fixture.document(&document("none", RULES));
    fixture.refused(2, "reserved column of feature tables");
}

#[test]
fn cut_and_mangled_samples_are_refused() {
    let fixture = Fixture::new();
    let path = fixture.path("samples.parquet");
    let whole = fs::read(&path).unwrap();
    for cut in mangle::cuts(&whole) {
        fs::write(&path, cut).unwrap();
        fixture.refused(3, "as Parquet");
    }
    fs::write(&path, "time,entity,cpu\n1,a,2\n").unwrap();
    fixture.refused(3, "as Parquet");
    let mut footer = whole.clone();
    let place = footer.len() - 6;
    footer[place] ^= 0xff;
    fs::write(&path, &footer).unwrap();
    fixture.refused(3, "as Parquet");
    fs::remove_file(&path).unwrap();
    fixture.refused(2, "samples.parquet");
    fs::create_dir(&path).unwrap();
    fixture.refused(3, "samples.parquet");
}

#[test]
fn no_changed_byte_makes_a_panic_or_half_a_file() {
    let fixture = Fixture::new();
    let path = fixture.path("samples.parquet");
    let whole = fs::read(&path).unwrap();
    mangle::no_changed_byte_makes_a_panic(&whole, |mangled| {
        fs::write(&path, mangled).unwrap();
        let output = fixture.run(&[]);
        let remains = remains(&fixture.path("out"));
        assert!(remains.iter().all(|name| name == "features.parquet"), "{remains:?}");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    });
}

#[test]
fn tables_of_another_kind_are_refused() {
    let fixture = Fixture::new();
    let path = fixture.path("samples.parquet");
    frames::labels::write_labels(&path, &[]).unwrap();
    fixture.refused(2, "reserved column of feature tables");
    let interval = LabelInterval {
        start: Timestamp::from_ms(0),
        end: Timestamp::from_ms(1),
        label: "x".into(),
        target: String::new(),
        scenario: "x".into(),
        guard: false,
    };
    frames::labels::write_labels(&path, &[interval]).unwrap();
    fixture.refused(3, "column `time` is missing");
}

#[test]
fn times_that_make_no_grid_are_refused() {
    let fixture = Fixture::new();
    for (ms, words) in [
        (i64::MAX, "time of sample 41"),
        (i64::MIN, "time of sample 41"),
        (4_102_444_800_000, "windows of 1m"),
    ] {
        let mut rows = rows();
        rows.times.push(Timestamp::from_ms(ms));
        rows.entities.push("a".into());
        rows.columns.iter_mut().for_each(|column| column.push(Some(1.0)));
        fixture.samples(&rows);
        fixture.refused(3, words);
    }
}

#[test]
fn labels_that_cannot_be_read_are_refused() {
    let fixture = Fixture::new();
    let samples = fixture.path("samples.parquet");
    let output = fixture.run(&["--labels", samples.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let output = fixture.run(&["--labels", "/nowhere/labels.parquet"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(remains(&fixture.path("out")).is_empty());
}

#[test]
fn flags_are_checked_before_anything_is_read() {
    for flags in [["--threads", "0"], ["--threads", "x"], ["--window", "5m"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_feature")).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}
