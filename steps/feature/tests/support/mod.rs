//! A folder with a document and a table, and the real binary to run on them.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use contract::Timestamp;
use frames::samples::SampleRows;
use frames::{FeatureTable, SamplesWriter};
use fs_err as fs;
use tempfile::TempDir;

/// A folder with a document and samples, and the binary to run on them.
pub(crate) struct Fixture {
    folder: TempDir,
}

pub(crate) const RULES: &str = "[{raw: {}}, {rolling: {window: 5m, statistics: [mean, std]}}]";

pub(crate) fn document(fill: &str, features: &str) -> String {
    format!(
        "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: r}}, queries: [\
         {{name: cpu, unit: cores, promql: 'rate(cpu[$rate_window])'}}, \
         {{name: requests, promql: requests_total}}]}}}}\n\
         fill: {fill}\nfeatures: {features}\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n"
    )
}

/// Twenty minutes of two entities.
pub(crate) fn rows() -> SampleRows {
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
    pub(crate) fn new() -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        fixture.document(&document("none", RULES));
        fixture.samples(&rows());
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn document(&self, text: &str) {
        fs::write(self.path("x.yaml"), text).unwrap();
    }

    pub(crate) fn samples(&self, rows: &SampleRows) {
        self.samples_named(&["cpu", "requests"], rows);
    }

    pub(crate) fn samples_named(&self, columns: &[&str], rows: &SampleRows) {
        let path = self.path("samples.parquet");
        let mut writer = SamplesWriter::create(&path, columns, !rows.labels.is_empty()).unwrap();
        writer.write(rows).unwrap();
        writer.publish().unwrap();
    }

    pub(crate) fn run(&self, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_feature"));
        for port in [("document", "x.yaml"), ("samples", "samples.parquet")] {
            command.arg(format!("--{}", port.0)).arg(self.path(port.1));
        }
        command.arg("--features").arg(self.path("out/features.parquet"));
        command.arg("--outcome").arg(self.path("outcome.json"));
        command.args(more).output().unwrap()
    }

    pub(crate) fn features(&self) -> FeatureTable {
        FeatureTable::read(&self.path("out/features.parquet")).unwrap()
    }

    pub(crate) fn outcome(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path("outcome.json")).unwrap()).unwrap()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.outcome()["counts"][name].as_u64().unwrap()
    }

    /// Runs, and checks that it fails with this exit code and message, and leaves no file.
    pub(crate) fn refused(&self, code: i32, words: &str) {
        let output = self.run(&[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "`{words}` is not in: {said}");
        assert!(said.starts_with("error: feature: "), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(remains(&self.path("out")).is_empty(), "{:?}", remains(&self.path("out")));
    }
}

pub(crate) fn remains(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

pub(crate) fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
}
