//! The real binary: accepted inputs, and the files it writes.

mod support;

use frames::RowLabels;
use fs_err as fs;
use support::{Fixture, MINUTE_MS, document, table};

#[test]
fn rows_are_split_in_order_of_time_without_warm_up() {
    let fixture = Fixture::new("[{row_count: {min: 100}}]", &table(82));
    let dataset = fixture.accepted();
    assert_eq!(
        [dataset.train.rows(), dataset.validation.rows(), dataset.test.rows()],
        [80, 40, 40]
    );
    assert_eq!(dataset.train.table.times[0].ms(), 2 * MINUTE_MS);
    assert_eq!(dataset.validation.table.times[0].ms(), 42 * MINUTE_MS);
    assert_eq!(dataset.test.table.times[0].ms(), 62 * MINUTE_MS);
    let report = fixture.json("out/validation.json");
    assert_eq!(report["passed"], true);
    assert_eq!(report["warm_up_rows"], 4);
    assert_eq!(report["parts"][1]["first"], "1970-01-01T00:42:00Z");
    assert_eq!(report["expectations"][0]["found"], "160 rows");
}

#[test]
fn statistics_describe_the_train_part() {
    let mut table = table(82);
    table.table.columns[1].values[10] = f64::NAN;
    let fixture = Fixture::new("[]", &table);
    fixture.accepted();
    let statistics = fixture.json("out/dataset/statistics.json");
    let memory = &statistics["columns"]["memory"];
    assert_eq!((memory["count"].as_u64(), memory["nulls"].as_u64()), (Some(79), Some(1)));
    assert_eq!((memory["min"].as_f64(), memory["max"].as_f64()), (Some(2.0), Some(41.0)));
    // Minutes 2 to 41 twice, without one of minute 5.
    let mean = (2.0 * f64::from((2..=41).sum::<i32>()) - 5.0) / 79.0;
    assert!((memory["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert_eq!(memory["quantiles"]["0.5"].as_f64(), Some(22.0));
    let cpu = &statistics["columns"]["cpu"];
    assert!((cpu["std"].as_f64().unwrap() - 1.964_529_205_687_714).abs() < 1e-12, "{}", cpu["std"]);
}

#[test]
fn the_gap_is_left_out_between_the_parts() {
    let fixture = Fixture::new("[]", &table(82));
    fixture.document(&document("[]", "{validation: 0.25, test: 0.25, gap: 5m}"));
    let dataset = fixture.accepted();
    assert_eq!(dataset.train.table.times.last().unwrap().ms(), 41 * MINUTE_MS);
    assert_eq!(dataset.validation.table.times[0].ms(), 47 * MINUTE_MS);
    assert_eq!(fixture.json("outcome.json")["counts"]["gap_rows"], 20);
}

#[test]
fn scenarios_are_left_out_of_train_and_kept_in_the_other_parts() {
    let mut table = table(82);
    let rows = table.rows();
    let mut labels = RowLabels {
        label: vec!["normal".into(); rows],
        scenario: vec![String::new(); rows],
        excluded: vec![false; rows],
    };
    for row in [20, 21, 120] {
        labels.label[row] = "stress".into();
        labels.scenario[row] = "stress-1".into();
    }
    labels.excluded[30] = true;
    labels.excluded[121] = true;
    table.labels = Some(labels);
    let fixture = Fixture::new("[]", &table);
    let dataset = fixture.accepted();
    assert_eq!(
        [dataset.train.rows(), dataset.validation.rows(), dataset.test.rows()],
        [77, 40, 40]
    );
    let kept = dataset.validation.labels.unwrap();
    assert_eq!(kept.label.iter().filter(|label| *label == "stress").count(), 1);
    assert_eq!(kept.excluded.iter().filter(|excluded| **excluded).count(), 1);
    let outcome = fixture.json("outcome.json");
    assert_eq!(outcome["counts"]["train_left_out_rows"], 3);
    assert!(outcome["details"]["train"].as_str().unwrap().contains("3 rows of scenarios"));
}

#[test]
fn neither_threads_nor_a_second_run_change_a_byte() {
    let fixture =
        Fixture::new("[{null_share: {max: 1}}, {time_unique: {}}, {constant: {}}]", &table(400));
    let bytes = |threads: &str| {
        let output = fixture
            .command()
            .args(["--threads", threads])
            .env("POLARS_MAX_THREADS", threads)
            .output()
            .unwrap();
        assert!(output.status.success());
        let dataset = contract::artifact::sha256_path(&fixture.path("out/dataset")).unwrap();
        (dataset, fs::read(fixture.path("out/validation.json")).unwrap())
    };
    let one = bytes("1");
    assert_eq!(one, bytes("4"));
    assert_eq!(one, bytes("1"));
}

#[test]
fn failed_expectation_refuses_data_and_names_the_value() {
    let mut table = table(82);
    for row in [50, 51, 60] {
        table.table.columns[0].values[row] = f64::NAN;
    }
    let fixture = Fixture::new(
        "[{null_share: {columns: [cpu], max: 0.01}}, {row_count: {min: 1000}}]",
        &table,
    );
    let said = fixture.refused(
        3,
        "2 of 2 expectations do not hold: null_share of `cpu`: expected a share of at most 0.01 \
         gaps, found 0.0187 (3 of 160 rows); row_count: expected at least 1000 rows, found 160 rows",
    );
    let (_, hint) = said.split_once('\n').unwrap_or_default();
    assert_eq!(
        hint.trim_end(),
        "hint: correct the data, remove queries for which this source has none, or change \
         `expectations` in the document"
    );
    let report = fixture.json("out/validation.json");
    assert_eq!(report["passed"], false);
    let finding = fixture.finding(0);
    assert_eq!(finding["failing_rows"], 3);
    let times = ["1970-01-01T00:25:00Z", "1970-01-01T00:30:00Z"];
    assert_eq!(finding["failing_times"], serde_json::json!(times));
}

#[test]
fn a_failed_expectation_of_severity_warn_is_a_warning() {
    let fixture = Fixture::new("[{row_count: {min: 1000, severity: warn}}]", &table(82));
    fixture.accepted();
    let outcome = fixture.json("outcome.json");
    assert_eq!(outcome["warnings"][0], "row_count: expected at least 1000 rows, found 160 rows");
    assert_eq!(fixture.finding(0)["passed"], false);
}

#[test]
fn each_expectation_can_hold_and_can_fail() {
    for (holds, fails, words) in [
        ("row_count: {min: 160, max: 160}", "row_count: {max: 159}", "found 160 rows"),
        (
            "range: {columns: [cpu], min: 0, max: 6}",
            "range: {columns: [cpu], min: 1, max: 6}",
            "0 to 6",
        ),
        (
            "range: {columns: [cpu], max: 5, max_outside_ratio: 0.15}",
            "range: {columns: [cpu], max: 5, max_outside_ratio: 0.1}",
            "22 of 160 rows outside",
        ),
        (
            "allowed_values: {columns: [cpu], values: [0, 1, 2, 3, 4, 5, 6]}",
            "allowed_values: {columns: [cpu], values: [0, 1, 2, 3, 4, 5]}",
            "22 rows with others",
        ),
        ("freshness: {max: 39m}", "freshness: {max: 38m}", "1970-01-01T01:21:00Z, 39m before"),
        ("gap_length: {max: 1m}", "gap_length: {max: 59s}", "found 1m"),
        ("null_share: {max: 0}", "null_share: {columns: ['!*'], max: 0}", ""),
    ] {
        let fixture = Fixture::new(&format!("[{{{holds}}}]"), &table(82));
        fixture.accepted();
        if words.is_empty() {
            continue;
        }
        let fixture = Fixture::new(&format!("[{{{fails}}}]"), &table(82));
        fixture.refused(3, words);
    }
}

#[test]
fn columns_that_never_change_or_have_no_value_are_found() {
    let mut table = table(82);
    table.table.columns[0].values.fill(3.5);
    let fixture = Fixture::new("[{constant: {}}]", &table);
    fixture.refused(3, "constant of `cpu`: expected values that change, found 3.5 in every row");
    assert_eq!(fixture.finding(1)["passed"], true);
    table.table.columns[0].values.fill(f64::NAN);
    for expectation in
        ["constant: {}", "range: {min: 0}", "allowed_values: {columns: [cpu], values: [1]}"]
    {
        let fixture = Fixture::new(&format!("[{{{expectation}}}]"), &table);
        fixture.refused(3, "found no value");
    }
}

#[test]
fn rows_out_of_order_and_twice_at_a_time_are_found() {
    let mut unsorted = table(82);
    unsorted.table.times.swap(40, 60);
    let fixture = Fixture::new("[{time_monotonic: {}}]", &unsorted);
    fixture.refused(3, "time_monotonic: expected time to grow");
    assert!(fixture.finding(0)["failing_rows"].as_u64().unwrap() > 0);

    let mut repeated = table(82);
    repeated.table.entity[41] = 0;
    let fixture = Fixture::new("[{time_unique: {}}]", &repeated);
    fixture.refused(3, "time_unique: expected one row for each entity and time, found 2 rows");
    assert_eq!(fixture.finding(0)["failing_times"][0], "1970-01-01T00:20:00Z");
}

#[test]
fn unsorted_rows_are_split_by_time() {
    let mut unsorted = table(82);
    let rows: Vec<usize> = (0..unsorted.rows()).rev().collect();
    unsorted = unsorted.select(&rows);
    let dataset = Fixture::new("[]", &unsorted).accepted();
    assert!(dataset.train.table.times.is_sorted());
    assert!(dataset.train.table.times.last() < dataset.validation.table.times.first());
}

#[test]
fn rows_without_any_sample_are_a_gap_of_their_entity() {
    let mut table = table(82);
    for minute in 20..30 {
        // Only entity `b` stops sending data.
        table.table.columns.iter_mut().for_each(|column| column.values[2 * minute + 1] = f64::NAN);
    }
    let fixture = Fixture::new("[{gap_length: {max: 10m}}]", &table);
    fixture.refused(3, "found 11m");
    assert_eq!(fixture.finding(0)["failing_times"], serde_json::json!(["1970-01-01T00:30:00Z"]));
    Fixture::new("[{gap_length: {max: 11m}}]", &table).accepted();
}

#[test]
fn infinite_values_are_refused_without_being_asked_for() {
    for value in [f64::INFINITY, f64::NEG_INFINITY] {
        let mut table = table(82);
        table.table.columns[0].values[30] = value;
        let fixture = Fixture::new("[]", &table);
        fixture.refused(3, "finite of `cpu`: expected finite values, found 1 infinite values");
    }
}

#[test]
fn too_few_rows_are_refused_with_the_range_it_would_take() {
    let said = Fixture::new("[]", &table(20))
        .refused(3, "the train part has 18 rows, at least 40 are needed");
    assert!(said.contains("hint: set `range` to at least `45m`"), "{said}");
    for minutes in [0, 1, 2, 3] {
        Fixture::new("[]", &table(minutes)).refused(3, "the train part has");
    }
    // The number of rows that the hint names is sufficient.
    Fixture::new("[]", &table(46)).accepted();

    let fixture = Fixture::new("[]", &table(82));
    fixture.document(&document("[]", "{validation: 0.05, test: 0.25}"));
    fixture.refused(3, "the validation part has 8 rows, at least 20 are needed");
    fixture.document(&document("[]", "{validation: 0.25, test: 0.25, gap: 1d}"));
    fixture.refused(3, "the validation part has 0 rows");
    assert_eq!(fixture.json("out/validation.json")["passed"], false);
}

#[test]
fn too_few_normal_rows_are_refused_as_such() {
    let mut table = table(82);
    let rows = table.rows();
    table.labels = Some(RowLabels {
        label: vec!["stress".into(); rows],
        scenario: vec!["stress-1".into(); rows],
        excluded: vec![false; rows],
    });
    let fixture = Fixture::new("[]", &table);
    fixture.refused(3, "the train part has 0 normal rows");
    // The cause is a label that is not listed as normal, not the length of the collected range.
    fixture.refused(3, "`labels.normal` (now normal, benign, 0); there are `stress`");
    table.labels.as_mut().unwrap().label.fill("BENIGN".into());
    Fixture::new("[]", &table).accepted();
}

#[test]
fn entity_that_predicts_the_label_is_warned_of() {
    let mut table = table(82);
    let rows = table.rows();
    // Entity `b` is always under attack, at the same times at which `a` is not.
    let label = |row: usize| if row % 2 == 1 { "stress" } else { "normal" };
    table.labels = Some(RowLabels {
        label: (0..rows).map(|row| label(row).to_owned()).collect(),
        scenario: vec![String::new(); rows],
        excluded: vec![false; rows],
    });
    let fixture = Fixture::new("[]", &table);
    fixture.accepted();
    assert!(fixture.json("outcome.json")["details"].get("leakage").is_none());
    let supervised = "models: {z_score: {}, decision_tree: {}}";
    fixture.document(&document("[]", support::SPLIT).replace("models: {z_score: {}}", supervised));
    fixture.accepted();
    let outcome = fixture.json("outcome.json");
    let warnings = outcome["warnings"].to_string();
    assert!(warnings.contains("the entity alone predicts the label"), "{warnings}");
    assert!(!warnings.contains("time alone"), "{warnings}");
    assert_eq!(outcome["details"]["leakage"]["the entity"], 1.0);
}
