//! The real binary: what it writes, and how it refuses what it cannot use.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use contract::Timestamp;
use frames::samples::SampleRows;
use frames::{FeatureTable, LabelInterval, SamplesWriter};
use fs_err as fs;
use tempfile::TempDir;

/// A folder with a document and samples, and the binary to run on them.
struct Fixture {
    folder: TempDir,
}

const RULES: &str = "[{raw: {}}, {rolling: {window: 5m, statistics: [mean, std]}}]";

fn document(fill: &str, features: &str) -> String {
    format!(
        "format: 1\nname: x\nstep: 1m\nrange: 1d\nsource: {{recording: {{path: r}}}}\n\
         queries:\n- {{name: cpu, unit: cores, promql: 'rate(cpu[$rate_window])'}}\n\
         - {{name: requests, promql: requests_total}}\n\
         fill: {fill}\nfeatures: {features}\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: mean, limit: {{quantile: {{share: 0.99}}}}}}\n"
    )
}

/// Twenty minutes of two entities.
fn rows() -> SampleRows {
    let mut rows = SampleRows { columns: vec![Vec::new(); 2], ..SampleRows::default() };
    for minute in 0..20_i32 {
        for entity in ["b", "a"] {
            rows.times.push(Timestamp::from_ms(i64::from(minute) * 60_000));
            rows.entities.push(entity.into());
            rows.columns[0].push(Some(f64::from(minute * minute)));
            rows.columns[1].push(Some(f64::from(100 * minute)));
        }
    }
    rows
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        fixture.document(&document("none", RULES));
        fixture.samples(&rows());
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn document(&self, text: &str) {
        fs::write(self.path("x.yaml"), text).unwrap();
    }

    fn samples(&self, rows: &SampleRows) {
        self.samples_named(&["cpu", "requests"], rows);
    }

    fn samples_named(&self, columns: &[&str], rows: &SampleRows) {
        let path = self.path("samples.parquet");
        let mut writer = SamplesWriter::create(&path, columns, !rows.labels.is_empty()).unwrap();
        writer.write(rows).unwrap();
        writer.publish().unwrap();
    }

    fn run(&self, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_feature"));
        for port in [("document", "x.yaml"), ("samples", "samples.parquet")] {
            command.arg(format!("--{}", port.0)).arg(self.path(port.1));
        }
        command.arg("--features").arg(self.path("out/features.parquet"));
        command.arg("--outcome").arg(self.path("outcome.json"));
        command.args(more).output().unwrap()
    }

    fn features(&self) -> FeatureTable {
        FeatureTable::read(&self.path("out/features.parquet")).unwrap()
    }

    fn outcome(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path("outcome.json")).unwrap()).unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        self.outcome()["counts"][name].as_u64().unwrap()
    }

    /// Runs, and checks that it is refused in words, with a code, and without leaving a file.
    fn refused(&self, code: i32, words: &str) {
        let output = self.run(&[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "`{words}` is not in: {said}");
        assert!(said.starts_with("error: feature: "), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(remains(&self.path("out")).is_empty(), "{:?}", remains(&self.path("out")));
    }
}

fn remains(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
}

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
fn what_became_of_samples_is_counted() {
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
fn each_fill_does_what_it_says() {
    let mut rows = rows();
    rows.columns[0][20] = None;
    rows.columns[0][22] = None;
    rows.columns[0][24] = None;
    for (fill, filled, dropped, gaps_left) in [
        ("none", 0, 0, 3),
        ("zero", 3, 0, 0),
        ("{forward: {limit: 2}}", 2, 0, 1),
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

#[test]
fn documents_that_do_not_fit_are_usage_errors() {
    for (features, words) in [
        ("[{raw: {columns: [cpus]}}]", "did you mean `cpu`?"),
        ("[{raw: {}}, {raw: {columns: [cpu]}}]", "feature `cpu` is made twice"),
        ("[{rolling: {window: 30s, statistics: [mean]}}]", "not a whole number of steps"),
        ("[{rolling: {window: 90s, statistics: [mean]}}]", "not a whole number of steps"),
        ("[{rolling: {window: 5m, statistics: [mean, mean]}}]", "is made twice"),
        ("[{rolling: {window: 5m, statistics: []}}]", "is empty"),
        ("[{rolling: {window: 5m, statistics: [median]}}]", "median"),
        ("[{rolling: {window: 5m, statistics: [{quantile: 1.5}]}}]", "not between 0 and 1"),
        ("[{rolling: {window: 5m, statistics: [mean], min_share: 2}}]", "not between 0 and 1"),
        ("[{rolling: {window: 5, statistics: [mean]}}]", "duration"),
        ("[{difference: {lag: 0s}}]", "not a whole number of steps"),
        ("[{difference: {lag: 61s}}]", "not a whole number of steps"),
        (
            "[{ratio: {name: cpu, numerator: cpu, denominator: requests}}, {raw: {}}]",
            "is made twice",
        ),
        (
            "[{ratio: {name: x_ratio, numerator: cpu, denominator: request}}]",
            "did you mean `requests`?",
        ),
        (
            "[{ratio: {name: warm_up, numerator: cpu, denominator: requests}}]",
            "column of every feature table",
        ),
        ("[{calendar: {}}]", "must be true"),
        ("[{raw: {columns: ['!*']}}]", "make no column"),
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
    fixture.refused(2, "no sample column is named `requests`");
    fixture.samples_named(&["scenario"], &rows);
    fixture.document(&document("none", RULES));
    fixture.refused(2, "column of every feature table");
}

#[test]
fn cut_and_mangled_samples_are_refused() {
    let fixture = Fixture::new();
    let path = fixture.path("samples.parquet");
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 4, 100, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
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
    for place in (0..whole.len()).step_by(whole.len() / 24) {
        let mut mangled = whole.clone();
        mangled[place] ^= 0x55;
        fs::write(&path, &mangled).unwrap();
        let output = fixture.run(&[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // A changed value is a value; anything else must be refused.
        assert!(matches!(output.status.code(), Some(0 | 2 | 3)), "byte {place}: {said}");
        assert!(!said.contains("panicked"), "byte {place}: {said}");
        let remains = remains(&fixture.path("out"));
        assert!(remains.iter().all(|name| name == "features.parquet"), "{remains:?}");
    }
}

#[test]
fn tables_of_another_kind_are_refused() {
    let fixture = Fixture::new();
    let path = fixture.path("samples.parquet");
    frames::labels::write_labels(&path, &[]).unwrap();
    fixture.refused(2, "column of every feature table");
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
