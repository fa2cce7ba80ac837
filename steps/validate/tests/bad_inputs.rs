//! The real binary: documents, features and flags that it rejects, and the errors.

#[path = "../../../tests/support/mangle.rs"]
mod mangle;
mod support;

use std::process::Command;

use fs_err as fs;
use support::{Fixture, SPLIT, document, remains, table};

#[test]
fn documents_that_do_not_fit_are_usage_errors() {
    for (expectations, split, words) in [
        ("[{range: {columns: [cpus]}}]", SPLIT, "did you mean `cpu`?"),
        ("[{null_share: {columns: [disk], max: 0}}]", SPLIT, "features: cpu, memory"),
        ("[{allowed_values: {columns: ['*', cpux], values: [1]}}]", SPLIT, "`cpux`"),
        ("[{rang: {min: 0}}]", SPLIT, "did you mean `range`?"),
        ("[{range: {min: 2, max: 1}}]", SPLIT, "above max"),
        ("[{null_share: {}}]", SPLIT, "max"),
        ("[{null_share: {max: 2}}]", SPLIT, "not between 0 and 1"),
        ("[{freshness: {max: 5}}]", SPLIT, "duration"),
        ("[{row_count: {min: -1}}]", SPLIT, "x.yaml"),
        ("[{row_count: {min: 1, severity: fatal}}]", SPLIT, "fatal"),
        ("[]", "{validation: 0.6, test: 0.6}", "the rest is for training"),
        ("[]", "{validation: 0}", "calibrate"),
        ("[]", "{validation: 0.2, gap: x}", "duration"),
        ("{}", SPLIT, "expected"),
    ] {
        let fixture = Fixture::new("[]", &table(82));
        fixture.document(&document(expectations, split));
        fixture.refused(2, words);
    }
    let fixture = Fixture::new("[]", &table(82));
    fs::remove_file(fixture.path("x.yaml")).unwrap();
    fixture.refused(2, "x.yaml");
}

#[test]
fn cut_and_mangled_features_are_refused() {
    let fixture = Fixture::new("[]", &table(82));
    let path = fixture.path("features.parquet");
    let whole = fs::read(&path).unwrap();
    for cut in mangle::cuts(&whole) {
        fs::write(&path, cut).unwrap();
        fixture.refused(3, "as Parquet");
    }
    fs::write(&path, "time,entity,cpu\n1,a,2\n").unwrap();
    fixture.refused(3, "as Parquet");
    fs::remove_file(&path).unwrap();
    fixture.refused(2, "features.parquet");
    fs::create_dir(&path).unwrap();
    fixture.refused(3, "features.parquet");
}

#[test]
fn no_changed_byte_makes_a_panic_or_half_a_data_set() {
    let fixture =
        Fixture::new("[{null_share: {max: 1}}, {time_monotonic: {severity: warn}}]", &table(82));
    let path = fixture.path("features.parquet");
    let whole = fs::read(&path).unwrap();
    mangle::no_changed_byte_makes_a_panic(&whole, |mangled| {
        fs::write(&path, mangled).unwrap();
        let output = fixture.run();
        let remains = remains(&fixture.path("out"));
        assert!(remains.iter().all(|name| !name.starts_with('.')), "{remains:?}");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    });
}

#[test]
fn tables_that_are_no_features_are_refused() {
    let fixture = Fixture::new("[]", &table(82));
    let path = fixture.path("features.parquet");
    frames::labels::write_labels(&path, &[]).unwrap();
    let said = fixture.refused(3, "has no feature contract");
    assert!(said.contains("hint: create it with the step `feature`"), "{said}");

    let mut newer = table(82);
    newer.contract.format = 2;
    newer.write(&path).unwrap();
    fixture.refused(3, "format 2");

    let mut misnamed = table(82);
    misnamed.contract.columns[0].name = "time".into();
    misnamed.write(&path).unwrap();
    fixture.refused(3, "column `time`");
}

#[test]
fn flags_are_checked_before_anything_is_read() {
    for flags in [["--now", "yesterday"], ["--now", "2026-11-21"], ["--threads", "0"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_validate")).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}
