//! Compares models and a bundle, fitted on rows of a formula, with the hashes of another build.
//!
//! Fitting uses no function whose last digit depends on the system's mathematics library or on the
//! processor: sums, products and square roots in a fixed order, an exponential of our own. So a
//! model has the same bytes everywhere; the exceptions are noise (`autoencoder.noise`) and
//! hyperplanes (`isolation_forest.extension`), which are drawn with a logarithm and a cosine. A
//! bundle also has quantiles of scores, which use logarithms of the system's library.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use contract::artifact::{self, sha256};
use contract::bundle::{BundleManifest, CandidateManifest, FileRecord, Provenance};
use contract::rules::{Combine, QuantileThreshold, Threshold, Vote};
use contract::{Decimal, Span, Timestamp};
use detectors::autoencoder::fit::{AutoencoderParams, NetworkOptions};
use detectors::class_trees::Classes;
use detectors::decision_tree::fit::DecisionTreeParams;
use detectors::fit::FitOptions;
use detectors::isolation_forest::fit::IsolationForestParams;
use detectors::mahalanobis::fit::MahalanobisParams;
use detectors::one_class_svm::fit::OneClassSvmParams;
use detectors::random_forest::fit::{ForestOptions, RandomForestParams};
use detectors::settings::{
    Autoencoder, DecisionTree, IsolationForest, Mahalanobis, OneClassSvm, RandomForest, ZScore,
};
use detectors::z_score::fit::ZScoreParams;
use frames::{FeatureTable, Table};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::{Candidate, Detector, Recipe, Reference, assemble, matrix};
use ndarray::Array1;

use support::contract;

const COLUMNS: [&str; 4] = ["one", "two", "three", "four"];

/// Rows of whole numbers divided by a thousand, the last column a sum of others.
fn table(first: usize, rows: usize) -> FeatureTable {
    let contract = contract(&COLUMNS, "zero");
    let mut table = Table::empty(COLUMNS);
    let entity = table.entity_index("");
    for row in first..first + rows {
        let noise = |factor: usize| (row * factor % 1009) as f64 / 1000.0;
        let values = [noise(7919), noise(104_729), noise(31), noise(7919) + 0.5 * noise(31)];
        table.times.push(Timestamp::from_ms(60_000 * i64::try_from(row).unwrap()));
        table.entity.push(entity);
        table.columns.iter_mut().zip(values).for_each(|(column, value)| column.values.push(value));
    }
    FeatureTable { contract, table, warm_up: vec![false; rows], labels: None }
}

fn detectors(threads: usize) -> Vec<Box<dyn Detector>> {
    let rows = matrix(&table(0, 500));
    let class: Array1<usize> =
        rows.rows().into_iter().map(|row| usize::from(row[0] > 0.3 && row[1] > 0.6)).collect();
    let labelled = DatasetBase::new(rows.clone(), class);
    let rows = DatasetBase::new(rows, ());
    let names = ["fault", "normal"].map(str::to_owned).to_vec();
    let classes = || Classes { names: names.clone(), normal: vec![false, true] };
    let svm = |settings| {
        OneClassSvmParams::new(settings, FitOptions { seed: 7, threads }).fit(&rows).unwrap().model
    };
    let autoencoder = Autoencoder { normalise_residuals: true, ..Autoencoder::default() };
    let tree = DecisionTreeParams::new(DecisionTree::default(), classes());
    let forest = RandomForest { trees: 10, ..RandomForest::default() };
    let fit = FitOptions { seed: 7, threads };
    let options = ForestOptions { classes: classes(), fit, rows_of_a_tree: None };
    let forest = RandomForestParams::new(forest, options);
    let isolation =
        IsolationForestParams::new(IsolationForest::default(), FitOptions { seed: 7, threads });
    vec![
        Box::new(
            AutoencoderParams::new(autoencoder, NetworkOptions { seed: 7, validation: None })
                .fit(&rows)
                .unwrap()
                .model,
        ),
        Box::new(tree.fit(&labelled).unwrap()),
        Box::new(isolation.fit(&rows).unwrap()),
        Box::new(MahalanobisParams::from(Mahalanobis::default()).fit(&rows).unwrap()),
        Box::new(svm(OneClassSvm::default())),
        Box::new(forest.fit(&labelled).unwrap()),
        Box::new(ZScoreParams::from(ZScore::default()).fit(&rows).unwrap()),
        // The approximation for many rows comes last, because a bundle accepts only one such
        // machine.
        Box::new(svm(OneClassSvm { max_exact_rows: 300, ..OneClassSvm::default() })),
    ]
}

fn candidate(detector: &dyn Detector) -> Candidate {
    let model = models::save(detector).unwrap();
    let manifest = CandidateManifest {
        format: CandidateManifest::FORMAT,
        kind: detector.kind().to_owned(),
        seed: 7,
        parameters: serde_json::json!({}),
        contract_sha256: table(0, 1).contract.sha256().unwrap(),
        rows: 500,
        trials: Vec::new(),
        training: None,
        model: FileRecord { file: "model.safetensors".to_owned(), sha256: sha256(&model) },
        cross_validation: None,
    };
    Candidate::new(manifest, model).unwrap()
}

fn bundle(detectors: &[Box<dyn Detector>], threads: usize) -> BTreeMap<String, Vec<u8>> {
    let recipe = Recipe {
        pipeline: "golden".to_owned(),
        vote: Vote {
            combine: Combine::Mean,
            weights: BTreeMap::new(),
            learn_weights: false,
            best_by: None,
            alarm_at: Decimal::ONE,
            smoothing: Span::from_seconds(300),
            threshold: Threshold::Quantile(QuantileThreshold { share: 0.99 }),
        },
        normal: vec!["normal".to_owned()],
        provenance: Provenance {
            version: "golden".to_owned(),
            dataset_sha256: String::new(),
            train_start: Timestamp::from_ms(0),
            train_end: Timestamp::from_ms(0),
            train_rows: 500,
        },
        threads,
    };
    let candidates = detectors.iter().map(|detector| candidate(&**detector)).collect();
    assemble(candidates, &table(500, 400), recipe).unwrap().to_files().unwrap()
}

fn hashes(threads: usize) -> BTreeMap<String, String> {
    let detectors = detectors(threads);
    let name = |index: usize, detector: &dyn Detector| match index {
        7 => "one_class_svm of many rows".to_owned(),
        _ => detector.kind().to_owned(),
    };
    let models = detectors.iter().enumerate().map(|(index, detector)| {
        (name(index, &**detector), sha256(&models::save(&**detector).unwrap()))
    });
    let mut hashes: BTreeMap<String, String> = models.collect();
    let files = bundle(&detectors[..7], threads);
    for file in [BundleManifest::FILE, Reference::FILE] {
        hashes.insert(format!("bundle/{file}"), sha256(&files[file]));
    }
    hashes
}

#[test]
fn another_build_on_any_number_of_threads_makes_the_same_bytes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden.json");
    let found = hashes(1);
    assert_eq!(found, hashes(2), "one thread and two");
    if std::env::var_os("LYNCEUS_UPDATE").is_some() {
        artifact::write_file(&path, &artifact::json_bytes(&found).unwrap()).unwrap();
    }
    let expected: BTreeMap<String, String> = contract::read_json(&path).unwrap();
    assert_eq!(
        found, expected,
        "models have other bytes; if that is meant: LYNCEUS_UPDATE=1 cargo test -p train golden"
    );
}
