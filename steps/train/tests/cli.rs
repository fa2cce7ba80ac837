//! The binary `train` from a data set folder to a candidate folder.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use contract::bundle::CandidateManifest;
use contract::{Outcome, Timestamp};
use frames::{Dataset, FeatureTable, Table};
use models::{Candidate, matrix};
use support::contract;
use tempfile::TempDir;

const KINDS: [&str; 5] =
    ["autoencoder", "isolation_forest", "mahalanobis", "one_class_svm", "z_score"];

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
  autoencoder: {epochs: 3, noise: 0.05, patience: 2, normalise_residuals: true}
  isolation_forest: {trees: 20}
  mahalanobis: {}
  one_class_svm: {}
  z_score: {}
vote:
  combine: votes
  threshold:
    quantile: {share: 0.99}
";

/// Columns by name; each is a formula of the row.
type Columns = Vec<(&'static str, fn(f64) -> f64)>;

fn usual() -> Columns {
    vec![
        ("waves", |at| (at * 0.3).sin()),
        ("same_waves", |at| (at * 0.3).sin()),
        ("constant", |_| 7.0),
        ("with_gaps", |at| if at % 5.0 < 1.0 { f64::NAN } else { (at * 0.7).cos() }),
        ("with_infinity", |at| if at % 50.0 < 1.0 { f64::INFINITY } else { at % 3.0 }),
        ("never_there", |_| f64::NAN),
    ]
}

fn part(columns: &Columns, rows: usize) -> FeatureTable {
    let contract = contract(&columns.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "zero");
    let mut table = Table::empty(columns.iter().map(|(name, _)| *name));
    let entity = table.entity_index("");
    for row in 0..rows {
        table.times.push(Timestamp::from_ms(i64::try_from(row).unwrap() * 60_000));
        table.entity.push(entity);
        for (column, (_, formula)) in table.columns.iter_mut().zip(columns) {
            column.values.push(formula(row as f64));
        }
    }
    FeatureTable { contract, table, warm_up: vec![false; rows], labels: None }
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new(columns: &Columns, rows: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dataset = Dataset {
            train: part(columns, rows),
            validation: part(columns, rows / 4),
            test: part(columns, 0),
        };
        fs_err::create_dir(folder.path().join("dataset")).unwrap();
        dataset.write(&folder.path().join("dataset")).unwrap();
        fs_err::write(folder.path().join("document.yaml"), DOCUMENT).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, kind: &str, threads: u32, candidate: &Path) -> Output {
        Command::new(env!("CARGO_BIN_EXE_train"))
            .args(["--model", kind, "--seed", "7", "--threads", &threads.to_string()])
            .arg("--document")
            .arg(self.path("document.yaml"))
            .arg("--dataset")
            .arg(self.path("dataset"))
            .arg("--candidate")
            .arg(candidate)
            .arg("--outcome")
            .arg(self.path("outcome.json"))
            .output()
            .unwrap()
    }

    fn outcome(&self) -> Outcome {
        contract::read_json(&self.path("outcome.json")).unwrap()
    }
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_kind_makes_the_same_candidate_on_any_number_of_threads() {
    let place = Place::new(&usual(), 400);
    for kind in KINDS {
        let candidates = [1, 2, 3].map(|threads| {
            let path = place.path(&format!("{kind}-{threads}"));
            let output = place.train(kind, threads, &path);
            assert!(output.status.success(), "{kind}: {}", error_of(&output));
            contract::artifact::sha256_path(&path).unwrap()
        });
        assert!(candidates.iter().all(|hash| *hash == candidates[0]), "{kind}: {candidates:?}");
        let candidate = Candidate::read(&place.path(&format!("{kind}-1"))).unwrap();
        assert_eq!(candidate.manifest.kind, kind);
        assert_eq!((candidate.manifest.rows, candidate.manifest.seed), (400, 7));
        let rows = matrix(&part(&usual(), 50));
        let model = models::load(kind, &candidate.model).unwrap();
        let scores = model.decision(rows.view(), 1);
        assert!(scores.iter().all(|score| score.is_finite()), "{kind}");
        let warnings = place.outcome().warnings;
        assert!(warnings.iter().any(|warning| warning.contains("`never_there`")), "{warnings:?}");
    }
}

#[test]
fn few_rows_and_more_columns_than_rows_are_enough() {
    let wide: Columns = vec![
        ("a", |at| at),
        ("b", |at| at * at),
        ("c", |at| -at),
        ("d", |_| 1.0),
        ("e", |at| at.sin()),
    ];
    let place = Place::new(&wide, 3);
    for kind in KINDS {
        let output = place.train(kind, 2, &place.path(kind));
        assert!(output.status.success(), "{kind}: {}", error_of(&output));
    }
}

#[test]
fn too_little_to_learn_from_is_refused_and_leaves_nothing() {
    let nothing: Columns = vec![("never_there", |_| f64::NAN)];
    for (columns, rows, words) in [
        (usual(), 1, "1 rows to fit on, needed are 2"),
        (usual(), 0, "0 rows to fit on, needed are 2"),
        (nothing, 100, "every feature of every row is a gap"),
        (Vec::new(), 100, "the rows have no features"),
    ] {
        let place = Place::new(&columns, rows);
        for kind in KINDS {
            let output = place.train(kind, 1, &place.path("candidate"));
            assert_eq!(output.status.code(), Some(3), "{kind}: {}", error_of(&output));
            assert!(error_of(&output).contains(words), "{kind}: {}", error_of(&output));
            assert!(!place.path("candidate").exists());
        }
    }
}

#[test]
fn an_unknown_model_is_a_usage_error_that_names_the_likely_one() {
    let place = Place::new(&usual(), 10);
    for (kind, words) in [
        ("isolation_forrest", "hint: did you mean `isolation_forest`?"),
        ("wizard", "hint: the document has autoencoder, isolation_forest"),
    ] {
        let output = place.train(kind, 1, &place.path("candidate"));
        assert_eq!(output.status.code(), Some(2));
        assert!(error_of(&output).contains(words), "{}", error_of(&output));
    }
    let without = DOCUMENT.replace("  z_score: {}\n", "");
    fs_err::write(place.path("document.yaml"), without).unwrap();
    let output = place.train("z_score", 1, &place.path("candidate"));
    assert_eq!(output.status.code(), Some(2));
    let words = "hint: set `models.z_score` in the document";
    assert!(error_of(&output).contains(words), "{}", error_of(&output));
}

#[test]
fn a_parameter_out_of_its_range_is_a_usage_error_that_names_it() {
    let place = Place::new(&usual(), 10);
    for (kind, from, to, name) in [
        ("autoencoder", "epochs: 3", "epochs: 0", "epochs"),
        ("isolation_forest", "trees: 20", "trees: 0", "trees"),
        ("one_class_svm", "one_class_svm: {}", "one_class_svm: {nu: 1.5}", "nu"),
        ("mahalanobis", "mahalanobis: {}", "mahalanobis: {ridge: -1}", "ridge"),
    ] {
        fs_err::write(place.path("document.yaml"), DOCUMENT.replace(from, to)).unwrap();
        let output = place.train(kind, 1, &place.path("candidate"));
        assert_eq!(output.status.code(), Some(2), "{kind}: {}", error_of(&output));
        assert!(error_of(&output).contains(name), "{kind}: {}", error_of(&output));
    }
}

#[test]
fn many_rows_are_approximated_with_a_note_in_the_outcome() {
    let place = Place::new(&usual(), 400);
    let to = "one_class_svm: {max_exact_rows: 300}";
    let text = DOCUMENT.replace("one_class_svm: {}", to);
    fs_err::write(place.path("document.yaml"), text).unwrap();
    let output = place.train("one_class_svm", 2, &place.path("candidate"));
    assert!(output.status.success(), "{}", error_of(&output));
    let warnings = place.outcome().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("256 landmark rows")), "{warnings:?}");
    let manifest: CandidateManifest =
        contract::read_json(&place.path("candidate").join(CandidateManifest::FILE)).unwrap();
    assert_eq!(manifest.parameters["max_exact_rows"], 300);
}
