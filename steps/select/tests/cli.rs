//! The program as the runner and pods run it.

#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "../../../tests/support/small_model.rs"]
mod small_model;

use std::path::PathBuf;
use std::process::{Command, Output};

use contract::bundle::{BundleManifest, CandidateManifest};
use contract::step::Common;
use contract::steps::SelectArgs;
use contract::{read_json, write_json};
use frames::{Dataset, FeatureTable, RowLabels};
use small_model::{candidate, document, features, hashes};

struct Selection {
    temp: tempfile::TempDir,
}

impl Selection {
    fn new(test: FeatureTable) -> Self {
        let selection = Self { temp: tempfile::tempdir().unwrap() };
        document(&selection.path("cluster.yaml")).unwrap();
        let quiet =
            |minutes: std::ops::Range<i64>| features(&minutes.collect::<Vec<_>>(), &[""], &[]);
        let dataset = Dataset { train: quiet(0..100), validation: quiet(100..200), test };
        fs_err::create_dir_all(selection.path("dataset")).unwrap();
        dataset.write(&selection.path("dataset")).unwrap();
        candidate(&selection.path("candidate"), &dataset.train).unwrap();
        selection
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn args(&self, bundle: &str, threads: u16) -> SelectArgs {
        SelectArgs {
            document: self.path("cluster.yaml"),
            dataset: self.path("dataset"),
            candidate: vec![self.path("candidate")],
            models: Vec::new(),
            bundle: self.path(bundle),
            common: Common { threads, ..Common::default() },
        }
    }

    fn output(&self, bundle: &str, threads: u16) -> Output {
        Self::output_of(&self.args(bundle, threads))
    }

    fn output_of(args: &SelectArgs) -> Output {
        Command::new(env!("CARGO_BIN_EXE_select"))
            .args(contract::step::command_line(args).unwrap())
            .output()
            .unwrap()
    }

    fn refusal(&self) -> (Option<i32>, String) {
        let output = self.output("bundle", 1);
        assert!(!self.path("bundle").exists());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    fn manifest(&self) -> BundleManifest {
        let output = self.output("bundle", 1);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        read_json(&self.path("bundle").join(BundleManifest::FILE)).unwrap()
    }
}

fn labelled() -> FeatureTable {
    let mut test = features(&(200..300).collect::<Vec<_>>(), &[""], &[240, 241, 242]);
    let anomalous = |row: usize| (40..43).contains(&row);
    test.labels = Some(RowLabels {
        label: (0..100)
            .map(|row| if anomalous(row) { "memory_stress" } else { "normal" }.to_owned())
            .collect(),
        scenario: (0..100)
            .map(|row| if anomalous(row) { "memory_stress@1" } else { "" }.to_owned())
            .collect(),
        excluded: vec![false; 100],
    });
    test
}

#[test]
fn with_labels_the_figures_are_those_of_a_detector() {
    let metrics = Selection::new(labelled()).manifest().metrics;
    let test = &metrics["test"];
    for figure in ["roc_auc", "recall", "events_found"] {
        assert!((test[figure] - 1.0).abs() < 1e-12, "{figure}");
    }
    assert!((test["detection_delay_seconds_mean"] - 60.0).abs() < 1e-9);
    assert!(!test.contains_key("inlier_ratio"));
}

#[test]
fn inlier_share_without_labels_is_named_as_such() {
    let manifest = Selection::new(features(&(200..300).collect::<Vec<_>>(), &[""], &[])).manifest();
    for part in ["validation", "test"] {
        let names: Vec<&str> = manifest.metrics[part].keys().map(String::as_str).collect();
        assert_eq!(names, ["inlier_ratio", "rows"]);
        assert!(manifest.metrics[part]["inlier_ratio"] > 0.95);
    }
    assert_eq!(manifest.provenance.train_rows, 100);
}

#[test]
fn an_empty_test_part_is_measured_nowhere() {
    let metrics = Selection::new(features(&[], &[""], &[])).manifest().metrics;
    assert_eq!(metrics.keys().collect::<Vec<_>>(), ["validation"]);
}

#[test]
fn the_same_inputs_give_the_same_bytes_at_any_thread_count() {
    let selection = Selection::new(labelled());
    for (bundle, threads) in [("one", 1), ("two", 2), ("three", 3)] {
        assert!(selection.output(bundle, threads).status.success());
    }
    let one = hashes(&selection.path("one")).unwrap();
    assert_eq!(one, hashes(&selection.path("two")).unwrap());
    assert_eq!(one, hashes(&selection.path("three")).unwrap());
}

#[test]
fn candidates_of_named_models_are_taken_and_others_may_be_absent() {
    let selection = Selection::new(labelled());
    assert!(selection.output("all", 1).status.success());
    let of = |models: &[&str], candidates: &[&str]| {
        let output = Selection::output_of(&SelectArgs {
            candidate: candidates.iter().map(|name| selection.path(name)).collect(),
            models: models.iter().map(|&name| name.to_owned()).collect(),
            ..selection.args("some", 1)
        });
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // As in `-p models='z_score, isolation_forest'`, blanks are not part of a name.
    let (code, said) = of(&[" z_score "], &["absent", "candidate"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(hashes(&selection.path("some")).unwrap(), hashes(&selection.path("all")).unwrap());
    for (models, candidates, words) in [
        (&["zscore"][..], &["candidate"][..], "did you mean `z_score`?"),
        (&["z_score"], &["absent"], "there is no candidate of `z_score`"),
    ] {
        let (code, said) = of(models, candidates);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn non_candidate_folder_is_refused_by_name() {
    let selection = Selection::new(labelled());
    let manifest_path = selection.path("candidate").join(CandidateManifest::FILE);
    let manifest: CandidateManifest = read_json(&manifest_path).unwrap();

    fs_err::write(selection.path("candidate/model.safetensors"), b"other").unwrap();
    let (code, said) = selection.refusal();
    assert_eq!(code, Some(3));
    assert!(
        said.contains("`model.safetensors` of the candidate `z_score` does not match its SHA-256"),
        "{said}"
    );

    let foreign = CandidateManifest { contract_sha256: "0".repeat(64), ..manifest };
    candidate(&selection.path("candidate"), &features(&[1, 2], &[""], &[])).unwrap();
    let model = read_json::<CandidateManifest>(&manifest_path).unwrap().model;
    write_json(&manifest_path, &CandidateManifest { model, ..foreign }).unwrap();
    let (code, said) = selection.refusal();
    assert_eq!(code, Some(3), "{said}");

    fs_err::write(&manifest_path, "{").unwrap();
    assert_eq!(selection.refusal().0, Some(3));
    fs_err::remove_file(&manifest_path).unwrap();
    assert_eq!(selection.refusal().0, Some(2), "what a flag names is not there");
}
