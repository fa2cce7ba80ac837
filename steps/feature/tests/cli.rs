//! The real binary: accepted inputs, and the files it writes.

mod support;

use contract::Timestamp;
use frames::LabelInterval;
use frames::samples::SampleRows;
use fs_err as fs;
use support::{Fixture, RULES, document, done, rows};

#[test]
fn features_come_sorted_by_time_and_entity_with_their_contract() {
    let fixture = Fixture::new();
    done(&fixture.run(&[]));
    let table = fixture.features();
    assert_eq!(table.rows(), 40);
    assert_eq!(table.table.entity_of(0), "a");
    assert_eq!(table.table.entity_of(1), "b");
    assert!(table.table.times.is_sorted());
    let names =
        ["cpu", "requests", "cpu_mean_5m", "cpu_std_5m", "requests_mean_5m", "requests_std_5m"];
    assert_eq!(table.contract.names(), names);
    assert_eq!(table.contract.columns[2].unit, "cores");
    assert_eq!(table.contract.lookback.to_string(), "4m");
    assert_eq!(table.warm_up.iter().filter(|warm_up| **warm_up).count(), 8);
    let mean = &table.table.column("cpu_mean_5m").unwrap().values;
    assert_eq!(mean[38].to_bits(), 291.0_f64.to_bits(), "of 225, 256, 289, 324 and 361");
    assert_eq!(fixture.count("warm_up_rows"), 8);
    assert_eq!(fixture.count("entities"), 2);
    assert!(table.labels.is_none());
}

#[test]
fn threads_change_no_byte() {
    let fixture = Fixture::new();
    let bytes = |threads: &str| {
        done(&fixture.run(&["--threads", threads]));
        fs::read(fixture.path("out/features.parquet")).unwrap()
    };
    let one = bytes("1");
    assert!(one == bytes("2") && one == bytes("7"));
}

#[test]
fn dropped_and_merged_samples_are_counted() {
    let fixture = Fixture::new();
    let mut rows = rows();
    let mut add = |ms: i64, entity: &str, value: f64| {
        rows.times.push(Timestamp::from_ms(ms));
        rows.entities.push(entity.into());
        rows.columns[0].push(Some(value));
        rows.columns[1].push(None);
    };
    add(60_000, "a", f64::INFINITY); // a duplicate, infinite, unsorted
    add(19 * 60_000 + 1, "a", 5.0); // off the grid: belongs to the next window
    add(22 * 60_000, "a", 6.0); // leaves minute 21 without a sample
    add(2 * 60_000 - 5, "b", 7.0); // off the grid, and superseded by the sample at minute 2
    fixture.samples(&rows);
    done(&fixture.run(&[]));
    let counts: Vec<u64> = [
        "samples",
        "rows",
        "duplicates",
        "off_grid",
        "superseded",
        "non_finite",
        "missing_rows",
        "gaps",
    ]
    .map(|name| fixture.count(name))
    .to_vec();
    assert_eq!(counts, [44, 43, 1, 2, 1, 1, 1, 6]);
    let table = fixture.features();
    let cpu = &table.table.column("cpu").unwrap().values;
    assert!(cpu[2].is_nan(), "the infinite duplicate won and is a gap");
    assert_eq!(cpu[5].to_bits(), 4.0_f64.to_bits());
}

#[test]
fn each_fill_rule_fills_as_documented() {
    let mut rows = rows();
    rows.columns[0][20] = None;
    rows.columns[0][22] = None;
    rows.columns[0][24] = None;
    for (fill, filled, dropped, gaps_left) in [
        ("none", 0, 0, 3),
        ("zero", 3, 0, 0),
        ("{forward: {max_windows: 2}}", 2, 0, 1),
        ("drop_row", 0, 3, 0),
    ] {
        let fixture = Fixture::new();
        fixture.document(&document(fill, RULES));
        fixture.samples(&rows);
        done(&fixture.run(&[]));
        assert_eq!(fixture.count("filled"), filled, "{fill}");
        assert_eq!(fixture.count("dropped_rows"), dropped, "{fill}");
        let table = fixture.features();
        let gaps = table.table.columns[0].values.iter().filter(|value| value.is_nan()).count();
        assert_eq!(gaps, gaps_left, "{fill}");
        assert_eq!(table.rows() as u64, 40 - dropped, "{fill}");
    }
}

#[test]
fn a_scenario_log_labels_rows_and_the_samples_own_labels_stand_in_for_it() {
    let fixture = Fixture::new();
    let mut rows = rows();
    rows.labels =
        (0..40).map(|row| if row < 30 { "benign" } else { "attack" }.to_owned()).collect();
    fixture.samples(&rows);
    done(&fixture.run(&[]));
    let labels = fixture.features().labels.unwrap();
    assert_eq!(labels.label[31], "attack");
    assert_eq!(labels.scenario[31], "attack@1970-01-01T00:15:00Z@b");
    assert_eq!(labels.scenario[39], labels.scenario[31], "one scenario for each entity");
    assert_eq!(labels.scenario[29], "");

    // An unlabelled row is not a fault, and counts in no metric.
    rows.labels.iter_mut().skip(34).for_each(String::clear);
    fixture.samples(&rows);
    done(&fixture.run(&[]));
    let labels = fixture.features().labels.unwrap();
    assert_eq!((labels.label[33].as_str(), labels.label[34].as_str()), ("attack", "normal"));
    assert_eq!((labels.scenario[34].as_str(), labels.excluded[34]), ("", true));

    let interval = LabelInterval {
        start: Timestamp::from_ms(60_000),
        end: Timestamp::from_ms(180_000),
        label: "stress".into(),
        target: "b".into(),
        scenario: "stress-1".into(),
        guard: false,
    };
    let path = fixture.path("labels.parquet");
    frames::labels::write_labels(&path, &[interval]).unwrap();
    done(&fixture.run(&["--labels", path.to_str().unwrap()]));
    let labels = fixture.features().labels.unwrap();
    let stressed: Vec<usize> = (0..40).filter(|row| labels.label[*row] == "stress").collect();
    assert_eq!(stressed, [5, 7], "b at minutes 2 and 3");
    assert_eq!(labels.label[0], "normal");
}

#[test]
fn a_column_without_any_value_is_a_warning() {
    let fixture = Fixture::new();
    let mut rows = rows();
    rows.columns[1].fill(None);
    fixture.samples(&rows);
    done(&fixture.run(&[]));
    let warning = fixture.outcome()["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.starts_with("feature `requests` and 2 more have no value"), "{warning}");
}

#[test]
fn no_samples_make_an_empty_table_and_one_makes_one_row() {
    let fixture = Fixture::new();
    fixture.samples(&SampleRows { columns: vec![Vec::new(); 2], ..SampleRows::default() });
    done(&fixture.run(&[]));
    let empty = fixture.features();
    assert_eq!((empty.rows(), empty.table.columns.len()), (0, 6));
    assert_eq!(fixture.outcome()["warnings"][0], "no samples, so no feature rows");

    fixture.samples(&SampleRows {
        times: vec![Timestamp::from_ms(0)],
        entities: vec![String::new()],
        columns: vec![vec![Some(1.0)], vec![None]],
        ..SampleRows::default()
    });
    done(&fixture.run(&[]));
    assert_eq!(fixture.features().warm_up, [true]);
}
