//! A training run and its scores, made by hand from a small model: the files that the runner and
//! the steps would write.

#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "../../../../tests/support/small_model.rs"]
mod small_model;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use contract::artifact::{write_file, write_json};
use contract::bundle::Provenance;
use contract::score::WindowScore;
use contract::{Span, Timestamp};
use frames::labels::write_labels;
use frames::{Dataset, FeatureTable, LabelInterval};
use models::{Bundle, Candidate, Recipe, ScoreOptions, ScoreState, assemble};
use serde_json::json;
pub(crate) use small_model::{features, minute};
use store::{Change, FolderStore, Registry, scores};

/// Minutes of the features: training, validation, test, and the later minutes that are scored.
const TRAIN: i64 = 120;
const VALIDATION: i64 = 180;
const TEST: i64 = 200;
const SCORED: i64 = 320;

/// Minutes in which something is wrong, within a labelled fault.
pub(crate) const FAULT: std::ops::Range<i64> = 240..250;

/// A folder with a run, a store and a document.
pub(crate) struct Made {
    temp: tempfile::TempDir,
    entities: Vec<String>,
}

impl Made {
    /// Makes a run that succeeded, and scores of two hours with one labelled fault.
    pub(crate) fn new(entities: &[&str]) -> Result<Self> {
        let entities = entities.iter().map(ToString::to_string).collect();
        let made = Self { temp: tempfile::tempdir()?, entities };
        small_model::document(&made.path("run/document.yaml"))?;
        made.write_data()?;
        made.write_models()?;
        made.write_records()?;
        made.write_scores()?;
        Ok(made)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Returns rows for some minutes; those of the fault are far outside.
    fn rows(&self, minutes: std::ops::Range<i64>) -> FeatureTable {
        let minutes: Vec<i64> = minutes.collect();
        let entities: Vec<&str> = self.entities.iter().map(String::as_str).collect();
        features(&minutes, &entities, &FAULT.collect::<Vec<_>>())
    }

    fn write_data(&self) -> Result<()> {
        self.rows(0..TEST).write(&self.path("run/feature/features.parquet"))?;
        let interval = |start, end, guard| LabelInterval {
            start: minute(start),
            end: minute(end),
            label: "memory_stress".into(),
            target: "nobody of this name".into(),
            scenario: "memory_stress@1".into(),
            guard,
        };
        // The first fault is missed, because no feature changes in it.
        let (start, end) = (FAULT.start - 1, FAULT.end - 1);
        let intervals = [
            interval(209, 214, false),
            interval(start - 1, start + 1, true),
            interval(start + 1, end - 1, false),
            interval(end - 1, end + 1, true),
        ];
        write_labels(&self.path("run/label/labels.parquet"), &intervals)?;
        let dataset = Dataset {
            train: self.rows(0..TRAIN),
            validation: self.rows(TRAIN + 2..VALIDATION),
            test: self.rows(VALIDATION + 2..TEST),
        };
        fs_err::create_dir_all(self.path("run/validate/dataset"))?;
        Ok(dataset.write(&self.path("run/validate/dataset"))?)
    }

    /// Writes the features of the scored minutes, and returns their path.
    pub(crate) fn later(&self) -> Result<PathBuf> {
        let path = self.path("later.parquet");
        self.rows(TEST..SCORED).write(&path)?;
        Ok(path)
    }

    fn write_models(&self) -> Result<()> {
        let candidate = self.path("run/train-z_score/candidate");
        small_model::candidate(&candidate, &self.rows(0..TRAIN))?;
        let document = document::read(&self.path("run/document.yaml"))?;
        let recipe = Recipe {
            pipeline: "cluster".into(),
            vote: document.vote,
            normal: document.labels.normal,
            provenance: Provenance {
                version: "0.1.0".into(),
                dataset_sha256: "d".repeat(64),
                train_start: minute(0),
                train_end: minute(TRAIN - 1),
                train_rows: 120,
            },
            threads: 1,
        };
        let validation = self.rows(TRAIN..VALIDATION);
        let mut bundle = assemble(vec![Candidate::read(&candidate)?], &validation, recipe)?;
        bundle.set_metrics("validation", [("inlier_ratio".to_owned(), 0.99)].into());
        Ok(bundle.write(&self.path("run/select/bundle"))?)
    }

    fn write_records(&self) -> Result<()> {
        let part = |part: &str, first: i64, end: i64| json!({"part": part, "rows": end - first, "first": minute(first), "last": minute(end - 1)});
        let finding = json!({
            "expectation": "gap_length", "severity": "warn", "passed": false, "expected": "at most 1h",
            "found": "2h", "failing_rows": 1, "failing_times": [minute(7)],
        });
        let passed = json!({
            "expectation": "row_count", "severity": "error", "passed": true, "expected": "at least 5",
            "found": "200 rows", "failing_rows": 0, "failing_times": [],
        });
        let parts = [
            part("train", 0, TRAIN),
            part("validation", TRAIN + 2, VALIDATION),
            part("test", VALIDATION + 2, TEST),
        ];
        let validation = json!({"format": 1, "passed": true, "rows": 200, "warm_up_rows": 0,
            "parts": parts, "expectations": [passed, finding]});
        write_json(&self.path("run/validate/validation.json"), &validation)?;
        let figures = |ratio: f64| json!({"validation": {"inlier_ratio": ratio, "rows": 58.0}});
        let deployment = json!({
            "format": 1, "pipeline": "cluster", "version": "20261121T095900Z-aaaaaaaaaaaa",
            "alias": "live", "promoted": true, "live": true, "since": minute(TEST),
            "why": "its inlier ratio on validation is 0.9900, the champion's 0.9700",
            "champion": "20261120T095900Z-bbbbbbbbbbbb",
            "comparison": {"part": "validation", "figure": "inlier_ratio", "challenger": 0.99,
                "champion": 0.97, "max_regression": 0.02},
            "figures": figures(0.99), "champion_figures": figures(0.97),
        });
        write_json(&self.path("run/deploy/deployment.json"), &deployment)?;
        let names =
            ["collect", "label", "feature", "validate", "train-z_score", "select", "deploy"];
        for name in names {
            self.outcome(name, "done", 0, None)?;
        }
        let tasks = names.map(|name| {
            let state = if name == "collect" { "cached" } else { "done" };
            json!({"name": name, "state": state, "why": format!("why {name}"), "attempts": 1,
                "exit_code": 0, "seconds": 0.25})
        });
        self.record("done", &json!(tasks))
    }

    /// Writes a task's outcome.
    pub(crate) fn outcome(
        &self,
        task: &str,
        status: &str,
        exit_code: u8,
        error: Option<&serde_json::Value>,
    ) -> Result<()> {
        let hash = format!("{:x}", task.len()).repeat(64);
        let outcome = json!({
            "step": task, "version": "0.1.0", "status": status, "exit_code": exit_code,
            "seconds": 0.25, "peak_memory_bytes": 35_000_000_u64, "counts": {"rows": 1234},
            "warnings": [format!("a warning of {task}")], "error": error,
            "outputs": {"candidate": {"path": "x", "sha256": hash}},
        });
        Ok(write_json(&self.path(&format!("run/{task}/outcome.json")), &outcome)?)
    }

    /// Writes `run.json`.
    pub(crate) fn record(&self, status: &str, tasks: &serde_json::Value) -> Result<()> {
        let record = json!({
            "format": 1, "run": "20261121T112000Z-cafe", "pipeline": "cluster", "now": minute(TEST),
            "started": minute(TEST), "document_sha256": "c".repeat(64), "status": status,
            "seconds": 1.5, "tasks": tasks,
        });
        Ok(write_json(&self.path("run/run.json"), &record)?)
    }

    pub(crate) fn store(&self) -> Result<FolderStore> {
        Ok(FolderStore::open(&self.path("store"))?)
    }

    fn write_scores(&self) -> Result<()> {
        let store = self.store()?;
        let registry = Registry::new(&store, "cluster");
        let version = registry.put_version(&self.path("run/select/bundle"))?;
        let now = minute(TEST);
        let change =
            Change { alias: "live", version: &version, now, by: "deploy", why: "the first" };
        registry.promote(&change, None)?;
        let bundle = Bundle::read(&self.path("run/select/bundle"))?;
        let table = self.rows(TEST..SCORED);
        let options = ScoreOptions { min_completeness: 0.5, threads: 1 };
        let verdicts = bundle.score(&table, &mut ScoreState::default(), options)?;
        let each = self.entities.len();
        for (index, entities) in verdicts.chunks(each).enumerate() {
            let time = table.table.times[index * each];
            // Three windows were never scored.
            if (minute(300)..minute(303)).contains(&time) {
                continue;
            }
            let entities = entities.to_vec();
            let window = WindowScore::new("cluster", time, version.clone(), entities);
            ensure!(scores::write_once(&store, &window)?, "no window twice");
        }
        Ok(())
    }

    /// Runs the program with these flags, in addition to document, evaluation time and page.
    pub(crate) fn output(&self, flags: &[&str]) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_report"));
        command.current_dir(self.temp.path()).args(flags);
        command.args(["--document", "run/document.yaml", "--report", "report.html"]);
        command.args(["--now", &minute(SCORED - 1).to_string()]);
        command.output().context("the program starts")
    }

    /// Runs the program, which must succeed, and returns the page.
    pub(crate) fn page(&self, flags: &[&str]) -> Result<String> {
        let output = self.output(flags)?;
        ensure!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(fs_err::read_to_string(self.path("report.html"))?)
    }

    /// Returns the page of the run and of all its scores.
    pub(crate) fn whole_page(&self) -> Result<String> {
        let from = (minute(TEST) - Span::from_seconds(60)).to_string();
        self.page(&["--run", "run", "--store", "store", "--from", &from])
    }
}

/// Overwrites a file with other bytes.
pub(crate) fn overwrite(file: &Path, bytes: &[u8]) -> Result<()> {
    Ok(write_file(file, bytes)?)
}

/// Returns a time in the format of the command line.
pub(crate) fn at(number: i64) -> String {
    let time: Timestamp = minute(number);
    time.to_string()
}
