//! A folder with a document and a table, and the real binary to run on them.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use contract::{FeatureColumn, FeatureContract, Span, Timestamp};
use frames::{Column, Dataset, FeatureTable, Table};
use fs_err as fs;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const NOW: &str = "1970-01-01T02:00:00Z";

pub(crate) fn document(expectations: &str, split: &str) -> String {
    format!(
        "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {{main: {{table: {{path: t, time: t}}}}}}\n\
         features: [{{raw: {{}}}}]\nexpectations: {expectations}\nsplit: {split}\n\
         models: {{z_score: {{}}}}\nvote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n"
    )
}

pub(crate) const SPLIT: &str = "{validation: 0.25, test: 0.25}";

/// Rows of two entities, a minute apart; the first two minutes are warm-up.
pub(crate) fn table(minutes: i32) -> FeatureTable {
    let column = |name: &str| FeatureColumn {
        name: name.into(),
        unit: String::new(),
        formula: "sample".into(),
    };
    let contract = FeatureContract {
        format: 1,
        step: Span::from_ms(MINUTE_MS),
        lookback: Span::from_ms(2 * MINUTE_MS),
        fill: "none".into(),
        columns: vec![column("cpu"), column("memory")],
    };
    let rows: Vec<i32> = (0..minutes).flat_map(|minute| [minute, minute]).collect();
    let values = |of: fn(i32) -> f64| rows.iter().map(|minute| of(*minute)).collect();
    let table = Table {
        times: rows.iter().map(|m| Timestamp::from_ms(i64::from(*m) * MINUTE_MS)).collect(),
        entity: (0..rows.len()).map(|row| u32::from(row % 2 == 1)).collect(),
        entities: vec!["a".into(), "b".into()],
        columns: vec![
            Column { name: "cpu".into(), values: values(|minute| f64::from(minute % 7)) },
            Column { name: "memory".into(), values: values(f64::from) },
        ],
    };
    let warm_up = rows.iter().map(|minute| *minute < 2).collect();
    FeatureTable { contract, table, warm_up, labels: None }
}

pub(crate) struct Fixture {
    folder: TempDir,
}

impl Fixture {
    pub(crate) fn new(expectations: &str, table: &FeatureTable) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        fixture.document(&document(expectations, SPLIT));
        table.write(&fixture.path("features.parquet")).unwrap();
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn document(&self, text: &str) {
        fs::write(self.path("x.yaml"), text).unwrap();
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_validate"));
        for (flag, name) in [
            ("document", "x.yaml"),
            ("features", "features.parquet"),
            ("dataset", "out/dataset"),
            ("validation", "out/validation.json"),
            ("outcome", "outcome.json"),
        ] {
            command.arg(format!("--{flag}")).arg(self.path(name));
        }
        command.args(["--now", NOW]);
        command
    }

    pub(crate) fn run(&self) -> Output {
        self.command().output().unwrap()
    }

    pub(crate) fn accepted(&self) -> Dataset {
        let output = self.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(remains(&self.path("out")), ["dataset", "validation.json"]);
        Dataset::read(&self.path("out/dataset")).unwrap()
    }

    /// Runs, and checks that it fails with this exit code and message, and writes no data set.
    pub(crate) fn refused(&self, code: i32, words: &str) -> String {
        let output = self.run();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "`{words}` is not in: {said}");
        assert!(said.starts_with("error: validate: "), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        let remains = remains(&self.path("out"));
        assert!(remains.iter().all(|name| name == "validation.json"), "{remains:?}");
        said
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    pub(crate) fn finding(&self, index: usize) -> Value {
        self.json("out/validation.json")["expectations"][index].clone()
    }
}

pub(crate) fn remains(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
