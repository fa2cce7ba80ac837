//! The step `train` for `task: classify`: what it learns, its predictions for left-out entities,
//! and the inputs it refuses.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::Path;

use contract::bundle::CandidateManifest;
use contract::classify::ClassCandidate;
use contract::step::Common;
use contract::steps::TrainArgs;
use contract::{Outcome, StepError, Timestamp, read_json};
use frames::{Dataset, FeatureTable, RowLabels, Table};
use models::classify::ClassModel;

const DOCUMENT: &str = "
format: 1
name: kinds
task: classify
step: 1m
range: 1d
sources:
  rows:
    table: {path: rows.csv, time: time, entity: pod, label: image}
features: [raw]
classify:
  classes: {nginx: [], mysql: [mysql, mariadb], redis: []}
  split: {iterations: 6, learning_curve: 3}
  models:
    decision_tree: {}
    gradient_boosting: {rounds: 10}
    random_forest: {trees: 20}
";

/// Six entities of three kinds each. `a` and `b` distinguish the kinds; `noise` distinguishes
/// entities.
fn table(columns: [&str; 3]) -> FeatureTable {
    let mut table = Table::empty(columns);
    let mut labels = RowLabels::default();
    for row in 0..30_u32 {
        for entity in 0..18_u32 {
            let kind = entity % 3;
            let name = table.entity_index(&format!("pod-{entity:02}"));
            table.times.push(Timestamp::from_ms(i64::from(row) * 60_000));
            table.entity.push(name);
            let wave = f64::from(row * 7 + entity * 13).sin();
            let values = [
                10.0 * f64::from(kind) + 2.0 * wave,
                if kind == 1 { 5.0 + wave } else { 1.0 + 0.1 * wave },
                f64::from(entity),
            ];
            table
                .columns
                .iter_mut()
                .zip(values)
                .for_each(|(column, value)| column.values.push(value));
            let image =
                ["docker.io/library/nginx:1", "mariadb:10.11", "bitnami/redis"][kind as usize];
            labels.label.push(image.to_owned());
            labels.scenario.push(String::new());
            labels.excluded.push(false);
        }
    }
    let warm_up = vec![false; table.rows()];
    FeatureTable {
        contract: support::contract(&columns, "none"),
        table,
        warm_up,
        labels: Some(labels),
    }
}

fn train(
    folder: &Path,
    columns: [&str; 3],
    model: &str,
    threads: u16,
) -> Result<(ClassCandidate, Vec<u8>), StepError> {
    let (document, dataset) = (folder.join("document.yaml"), folder.join("dataset"));
    std::fs::create_dir_all(&dataset).unwrap();
    fs_err::write(&document, DOCUMENT).unwrap();
    let train = table(columns);
    let empty = train.select(&[]);
    Dataset { train, validation: empty.clone(), test: empty }.write(&dataset)?;
    let candidate = folder.join(format!("{model}-{threads}"));
    let args = TrainArgs {
        document,
        dataset,
        model: model.to_owned(),
        seed: 7,
        candidate: candidate.clone(),
        common: Common { threads, ..Common::default() },
    };
    train::run(&args, &mut Outcome::start("train"))?;
    let manifest: CandidateManifest = read_json(&candidate.join(CandidateManifest::FILE))?;
    let classify = serde_json::from_value(manifest.cross_validation.unwrap()).unwrap();
    Ok((classify, fs_err::read(candidate.join(manifest.model.file)).unwrap()))
}

#[test]
fn entities_left_out_are_named_right_by_every_kind_of_model() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["decision_tree", "gradient_boosting", "random_forest"] {
        let (candidate, bytes) = train(folder.path(), ["a", "b", "noise"], kind, 2).unwrap();
        assert_eq!(candidate.classes, ["mysql", "nginx", "redis"], "{kind}");
        let figures = &candidate.figures;
        assert!(figures.balanced_accuracy.mean > 0.8, "{kind}: {figures:?}");
        assert!(figures.balanced_accuracy_of_named > 0.9, "{kind}: {figures:?}");
        assert!(figures.wrong_ratio <= 0.05, "{kind}: {figures:?}");
        assert!(figures.windows_to_right.unwrap() >= 3.0, "{kind}: not before min_windows");
        assert_eq!(figures.learning_curve.last().unwrap().entities, 12, "{kind}");
        assert_ne!(figures.importances[0].feature, "noise", "{kind}");
        let model = ClassModel::load(kind, &bytes).unwrap();
        let probabilities = model.probabilities(&[20.0, 1.0, 3.0]);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{kind}");
        assert!(probabilities[2] > 0.5, "{kind}: redis, found {probabilities:?}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["gradient_boosting", "random_forest"] {
        let [one, two] =
            [1, 2].map(|threads| train(folder.path(), ["a", "b", "noise"], kind, threads));
        assert_eq!(one.unwrap(), two.unwrap(), "{kind}");
    }
}

#[test]
fn a_feature_that_identifies_an_entity_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = train(folder.path(), ["a", "b", "pod_hash"], "random_forest", 1).unwrap_err();
    assert!(error.message.contains("`pod_hash` identifies an entity"), "{error}");
    assert_eq!(error.kind.exit_code(), 3);
}
