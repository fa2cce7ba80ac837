//! The binary `train` on labelled rows, and its candidates in a bundle.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};

use contract::bundle::{CandidateManifest, Provenance};
use contract::score::Verdict;
use contract::{Outcome, Timestamp, artifact};
use frames::{Dataset, FeatureTable, RowLabels, Table};
use models::{Bundle, Candidate, Recipe, ScoreOptions, ScoreState, assemble};
use support::contract;
use tempfile::TempDir;

const KINDS: [&str; 4] = ["decision_tree", "diagnose", "gradient_boosting", "random_forest"];

const DOCUMENT: &str = "
format: 1
name: small
step: 1m
range: 1d
sources:
  rows:
    table: {path: rows.csv, time: time}
features:
  - raw: {}
models:
  decision_tree: {min_leaf_rows: 2}
  gradient_boosting: {rounds: 20}
  random_forest: {trees: 20}
  diagnose: {random_forest: {trees: 20}}
vote:
  combine: votes
  weights: {decision_tree: 0.5, gradient_boosting: 0.5, random_forest: 0.5}
  alarm_at: 1
  threshold:
    quantile: {share: 0.99}
";

const COLUMNS: [&str; 4] = ["cpu", "memory", "requests", "errors"];

/// Rows a minute apart; each scenario of `faults` covers eight of every twenty rows, one after
/// another, and raises the column of its kind.
fn part(rows: usize, faults: &[&str]) -> FeatureTable {
    let contract = contract(&COLUMNS, "none");
    let mut table = Table::empty(COLUMNS);
    let entity = table.entity_index("node-a");
    let mut labels = RowLabels::default();
    for row in 0..rows {
        let (number, inside) = (row / 20, row % 20 >= 10 && row % 20 < 18);
        let fault = faults.get(number).filter(|_| inside);
        table.times.push(Timestamp::from_ms(i64::try_from(row).unwrap() * 60_000));
        table.entity.push(entity);
        for (index, column) in table.columns.iter_mut().enumerate() {
            let lift =
                if fault.is_some_and(|fault| fault.starts_with(&column.name)) { 50.0 } else { 0.0 };
            let wave = ((row * (index + 2)) as f64 * 0.7).sin();
            column.values.push(10.0 + wave + lift * (1.0 + 0.05 * wave));
        }
        labels.label.push(fault.map_or("normal", |fault| fault).to_owned());
        labels.scenario.push(fault.map_or(String::new(), |fault| format!("{fault}@{number}")));
        labels.excluded.push(inside && row % 20 == 10);
    }
    FeatureTable { contract, table, warm_up: vec![false; rows], labels: Some(labels) }
}

fn normal_rows(table: &FeatureTable) -> FeatureTable {
    let labels = table.labels.as_ref().unwrap();
    let rows: Vec<usize> = (0..table.rows()).filter(|row| labels.label[*row] == "normal").collect();
    table.select(&rows)
}

struct Place {
    folder: TempDir,
}

impl Place {
    /// A data set whose labelled rows are those of `labelled`.
    fn new(labelled: Option<&FeatureTable>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dataset = Dataset {
            train: part(60, &[]),
            validation: part(80, &[]),
            test: part(40, &["memory_stress", "requests_flood"]),
        };
        let path = folder.path().join("dataset");
        fs_err::create_dir(&path).unwrap();
        dataset.write(&path).unwrap();
        if let Some(labelled) = labelled {
            labelled.write(&path.join(Dataset::LABELLED_FILE)).unwrap();
        }
        fs_err::write(folder.path().join("document.yaml"), DOCUMENT).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, kind: &str, threads: u32, candidate: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_train"))
            .args(["--model", kind, "--seed", "7", "--threads", &threads.to_string()])
            .args(["--document".into(), self.path("document.yaml")])
            .args(["--dataset".into(), self.path("dataset")])
            .args(["--candidate".into(), self.path(candidate)])
            .args(["--outcome".into(), self.path("outcome.json")])
            .output()
            .unwrap()
    }

    fn candidate(&self, kind: &str) -> PathBuf {
        let output = self.train(kind, 2, kind);
        assert!(output.status.success(), "{kind}: {}", error_of(&output));
        self.path(kind)
    }
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Two scenarios of two kinds each, and one of a third.
const FAULTS: [&str; 5] =
    ["cpu_stress", "memory_stress", "cpu_stress", "memory_stress", "errors_storm"];

#[test]
fn every_kind_is_deterministic_at_any_thread_count_and_reports_its_accuracy() {
    let place = Place::new(Some(&part(160, &FAULTS)));
    for kind in KINDS {
        let hashes = [1, 2, 3].map(|threads| {
            let name = format!("{kind}-{threads}");
            let output = place.train(kind, threads, &name);
            assert!(output.status.success(), "{kind}: {}", error_of(&output));
            artifact::sha256_path(&place.path(&name)).unwrap()
        });
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{kind}: {hashes:?}");
        let path = place.path(&format!("{kind}-1")).join(CandidateManifest::FILE);
        let manifest: CandidateManifest = contract::read_json(&path).unwrap();
        assert_eq!((manifest.kind.as_str(), manifest.rows), (kind, 152), "guard rows do not count");
        let figures = manifest.cross_validation.unwrap();
        assert!(figures["balanced_accuracy"].as_f64().unwrap() > 0.95, "{kind}: {figures}");
        let outcome: Outcome = contract::read_json(&place.path("outcome.json")).unwrap();
        assert!(outcome.metrics["cross_validation.log_loss"] < 0.2, "{kind}: {figures}");
        if kind == "diagnose" {
            assert_eq!(figures["confusion"]["errors_storm"]["unknown"], 7, "{figures}");
        }
    }
}

#[test]
fn without_labels_or_with_one_side_only_nothing_is_fitted() {
    let unlabelled = FeatureTable { labels: None, ..part(100, &[]) };
    for (labelled, words) in [
        (None, "is not there: the features have no labels"),
        (Some(unlabelled), "has no labels"),
        (Some(part(100, &[])), "of 1 classes"),
        (Some(part(0, &[])), ""),
    ] {
        let place = Place::new(labelled.as_ref());
        for kind in KINDS {
            let output = place.train(kind, 1, "candidate");
            let said = error_of(&output);
            assert_eq!(output.status.code(), Some(3), "{kind}: {said}");
            // Without faults the second stage has no rows at all.
            let fits = said.contains(words) || (kind == "diagnose" && words == "of 1 classes");
            assert!(fits || said.contains("all normal, or none is"), "{kind}: {said}");
            assert!(!place.path("candidate").exists());
        }
    }
}

fn bundle(place: &Place) -> Bundle {
    let dataset = Dataset::read(&place.path("dataset")).unwrap();
    let candidates = ["decision_tree", "gradient_boosting", "random_forest"]
        .map(|kind| Candidate::read(&place.candidate(kind)).unwrap());
    let document = document::read(&place.path("document.yaml")).unwrap();
    let time = Timestamp::from_ms(0);
    let provenance = Provenance {
        version: "test".to_owned(),
        dataset_sha256: String::new(),
        train_start: time,
        train_end: time,
        train_rows: 60,
    };
    let recipe = Recipe {
        pipeline: "small".to_owned(),
        vote: document.vote.clone(),
        normal: vec!["normal".to_owned()],
        provenance,
        threads: 1,
    };
    let mut bundle = assemble(candidates.into(), &dataset.validation, recipe).unwrap();
    bundle.add_diagnosis(&place.candidate("diagnose")).unwrap();
    bundle
}

#[test]
fn alarms_carry_their_kind_and_the_bundle_comes_back_from_its_files() {
    let place = Place::new(Some(&part(160, &FAULTS)));
    let bundle = bundle(&place);
    bundle.write(&place.path("bundle")).unwrap();
    let back = Bundle::read(&place.path("bundle")).unwrap();
    let test = part(40, &["memory_stress", "requests_flood"]);
    let options = ScoreOptions { min_completeness: 0.5, threads: 1 };
    let score = |bundle: &Bundle| bundle.score(&test, &mut ScoreState::default(), options).unwrap();
    let scores = score(&back);
    assert_eq!(scores, score(&bundle));
    let labels = test.labels.as_ref().unwrap();
    for (score, label) in scores.iter().zip(&labels.label) {
        assert_eq!(score.diagnosis.is_some(), score.verdict == Verdict::Anomalous);
        if label == "memory_stress" {
            let said = score.diagnosis.as_ref().unwrap();
            assert_eq!(said.kind, "memory_stress", "{said:?}");
        }
        // This kind was not learned.
        if let Some(said) = score.diagnosis.as_ref().filter(|_| label == "requests_flood") {
            assert_eq!(said.kind, "unknown", "{said:?}");
        }
    }
    let normal = ["normal".to_owned()];
    let confusion =
        back.measure_diagnosis(&test, &ScoreState::default(), &normal, 1).unwrap().unwrap();
    assert_eq!(confusion["memory_stress"]["memory_stress"], 7, "{confusion:?}");
    let figures = back.diagnosis_figures(&confusion).unwrap();
    assert!((figures[1].1 - 1.0).abs() < 1e-12, "{figures:?}");
}

#[test]
fn a_second_stage_of_other_features_or_with_a_changed_file_is_refused() {
    let place = Place::new(Some(&part(160, &FAULTS)));
    let mut bundle = bundle(&place);
    let candidate = place.path("diagnose");
    let twice = bundle.add_diagnosis(&candidate).unwrap_err();
    assert!(twice.message.contains("two candidates are `diagnose`"), "{}", twice.message);
    let path = candidate.join(CandidateManifest::FILE);
    let manifest: CandidateManifest = contract::read_json(&path).unwrap();
    let foreign = CandidateManifest { contract_sha256: "0".repeat(64), ..manifest };
    contract::write_json(&path, &foreign).unwrap();
    let error = bundle.add_diagnosis(&candidate).unwrap_err();
    assert!(error.message.contains("fitted on other features"), "{}", error.message);
    fs_err::write(candidate.join("model.safetensors"), b"other").unwrap();
    let error = bundle.add_diagnosis(&candidate).unwrap_err();
    assert!(error.message.contains("does not match its SHA-256"), "{}", error.message);
    bundle.write(&place.path("bundle")).unwrap();
    fs_err::write(place.path("bundle/diagnose.safetensors"), b"other").unwrap();
    let error = Bundle::read(&place.path("bundle")).unwrap_err();
    assert_eq!(error.kind.exit_code(), 3);
    assert!(error.message.contains("`diagnose.safetensors`"), "{}", error.message);
}

#[test]
fn second_stage_needs_labelled_faults() {
    let table = part(160, &FAULTS);
    let place = Place::new(Some(&normal_rows(&table)));
    let output = place.train("diagnose", 1, "candidate");
    assert_eq!(output.status.code(), Some(3), "{}", error_of(&output));
    assert!(error_of(&output).contains("hint: use a `range` with more scenarios"));
}
