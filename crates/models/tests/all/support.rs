//! A small table and a bundle of hand-made detectors.

use std::collections::BTreeMap;

use anyhow::Result;
use contract::bundle::{CandidateManifest, FileRecord, Provenance};
use contract::rules::{Combine, QuantileThreshold, Threshold, TrailingThreshold, Vote};
use contract::{Decimal, FeatureColumn, FeatureContract, Span, Timestamp, artifact};
use detectors::autoencoder::{Autoencoder, Layer};
use detectors::class_trees::{self, Calibration, ClassTree, Classes};
use detectors::gradient_boosting::{BoostedTrees, ValueTree};
use detectors::isolation_forest::{IsolationForest, Tree};
use detectors::mahalanobis::Mahalanobis;
use detectors::one_class_svm::OneClassSvm;
use detectors::z_score::ZScore;
use frames::{Column, FeatureTable, RowLabels};
use models::diagnosis::Thresholds;
use models::{
    Bundle, Candidate, ClassTrees, Detector, Diagnosis, Recipe, Scaler, Scaling, assemble, matrix,
};

/// Columns of the small table.
pub(crate) const NAMES: [&str; 3] = ["cpu_cores", "memory_bytes", "requests_per_second"];

/// Makes rows a minute apart from a formula; from row `anomalous_from` on, memory is far off and
/// the label says so.
pub(crate) fn table(rows: usize, anomalous_from: usize) -> FeatureTable {
    let column = |name: &str, unit: &str| FeatureColumn {
        name: name.to_owned(),
        unit: unit.to_owned(),
        formula: "raw".to_owned(),
    };
    let contract = FeatureContract {
        format: FeatureContract::FORMAT,
        step: Span::from_seconds(60),
        lookback: Span::ZERO,
        fill: "drop_row".to_owned(),
        columns: NAMES
            .iter()
            .zip(["cores", "bytes", "per_second"])
            .map(|(n, u)| column(n, u))
            .collect(),
    };
    let mut table = frames::Table::empty(NAMES);
    let entity = table.entity_index("node-a");
    let mut labels = RowLabels::default();
    for row in 0..rows {
        let (at, odd) = (row as f64, row >= anomalous_from);
        let memory = 4e9 + 1e8 * (at * 0.7).sin() + if odd { 3e9 } else { 0.0 };
        let values = [2.0 + (at * 0.3).sin(), memory, 100.0 + 5.0 * (at * 1.1).cos()];
        table
            .times
            .push(Timestamp::from_ms(1_790_000_000_000 + i64::try_from(row).unwrap_or(0) * 60_000));
        table.entity.push(entity);
        table.columns.iter_mut().zip(values).for_each(|(Column { values, .. }, v)| values.push(v));
        labels.label.push(if odd { "memory" } else { "normal" }.to_owned());
        labels.scenario.push(if odd { "memory-1" } else { "" }.to_owned());
        labels.excluded.push(false);
    }
    FeatureTable { contract, warm_up: vec![false; rows], table, labels: Some(labels) }
}

/// Makes a detector of each kind, in the order of their names, scaled by 200 normal rows.
pub(crate) fn detectors() -> Result<Vec<Box<dyn Detector>>> {
    let rows = matrix(&table(200, 200));
    let scaler = |scaling| Scaler::fit(rows.view(), scaling);
    let layer = |inputs, outputs, weight: &[f32], bias: &[f32]| Layer {
        inputs,
        outputs,
        weight: weight.to_vec(),
        bias: bias.to_vec(),
    };
    let layers = vec![
        layer(3, 2, &[1.0, 0.0, 0.2, 0.1, 0.0, 1.0], &[0.0, 0.1]),
        layer(2, 3, &[0.9, 0.0, 0.1, 0.1, 0.0, 0.9], &[0.0, 0.3, -0.1]),
    ];
    let tree = |feature: u32, threshold: f32| Tree {
        features: vec![feature, 0, 2, 0, 0],
        weights: Vec::new(),
        thresholds: vec![threshold, 0.0, 0.5, 0.0, 0.0],
        lefts: vec![1, 0, 3, 0, 0],
        samples: vec![8, 6, 2, 1, 1],
    };
    let z = scaler(Scaling::ZScore);
    let vectors: Vec<f32> = (0..5)
        .flat_map(|row| (0..3).map(move |column| (row, column)))
        .map(|(row, column)| detectors::scaler::single(z.scale(column, rows[[row * 31, column]])))
        .collect();
    let whitening = vec![1.0, 0.0, 0.0, -0.1, 1.0, 0.0, 0.05, -0.2, 1.1];
    Ok(vec![
        Box::new(Autoencoder::new(scaler(Scaling::MinMax), layers, vec![0.1, 0.2, 0.3])?),
        Box::new(IsolationForest::new(z.clone(), 1, 8, vec![tree(1, 2.0), tree(0, 1.0)])?),
        Box::new(Mahalanobis::new(z.clone(), whitening)?),
        Box::new(OneClassSvm::new(z.clone(), &vectors, vec![1.0, 0.5, 0.2, 1.0, 0.3], 0.3, 0.4)?),
        Box::new(ZScore::new(z, 2.0)),
    ])
}

/// Makes a tree that calls rows with much memory `memory`, as a model of a kind.
pub(crate) fn class_trees(kind: &'static str, names: [&str; 2]) -> Result<ClassTrees> {
    let tree = ClassTree {
        features: vec![1, 0, 0],
        thresholds: vec![5e9, 0.0, 0.0],
        lefts: vec![1, 0, 0],
        shares: vec![0.5, 0.5, 0.1, 0.9, 1.0, 0.0],
    };
    let normal = names.iter().map(|name| *name == "normal").collect();
    let mut names = names.map(str::to_owned).to_vec();
    names.sort_unstable();
    let classes = Classes { names, normal };
    let (fill, importance) = (vec![2.0, 4e9, 100.0], vec![0.0, 1.0, 0.0]);
    let trees = ClassTrees::new(kind, classes, fill, importance, vec![tree.clone(), tree])?;
    Ok(trees.calibrated(Calibration { smoothing: 0.01, exponent: 1.5 })?)
}

/// Makes boosted trees that call rows with much memory `memory`.
pub(crate) fn boosted_trees() -> Result<BoostedTrees> {
    let tree = |sign: f64| ValueTree {
        features: vec![1, 0, 0],
        thresholds: vec![5e9, 0.0, 0.0],
        lefts: vec![1, 0, 0],
        values: vec![0.0, -sign, 2.0 * sign],
    };
    let names = ["memory", "normal"].map(str::to_owned).to_vec();
    let classes = Classes { names, normal: vec![false, true] };
    let (fill, importance) = (vec![2.0, 4e9, 100.0], vec![0.0, 1.0, 0.0]);
    let trees = vec![tree(1.0), tree(-1.0)];
    let trees = BoostedTrees::new(classes, fill, importance, vec![0.0; 2], trees)?;
    Ok(trees.calibrated(Calibration { smoothing: 0.01, exponent: 1.5 })?)
}

/// Makes a detector of every kind.
pub(crate) fn all_detectors() -> Result<Vec<Box<dyn Detector>>> {
    let mut detectors = detectors()?;
    detectors.push(Box::new(boosted_trees()?));
    for kind in class_trees::KINDS {
        detectors.push(Box::new(class_trees(kind, ["memory", "normal"])?));
    }
    Ok(detectors)
}

/// Makes a bundle of both kinds of class trees and a second stage.
pub(crate) fn labelled_bundle() -> Result<Bundle> {
    let kinds = class_trees::KINDS;
    let candidates = kinds.iter().map(|kind| candidate(&class_trees(kind, ["memory", "normal"])?));
    let vote = Vote { alarm_at: Decimal::ONE, ..votes() };
    let mut bundle = assemble(candidates.collect::<Result<_>>()?, &table(200, 200), recipe(vote))?;
    let scaler = Scaler::fit(matrix(&table(200, 200)).view(), Scaling::Robust);
    let thresholds = Thresholds { min_probability: 0.5, min_likeness: 0.5, likeness_weight: 20.0 };
    let forest = class_trees("random_forest", ["memory", "requests"])?;
    let patterns = vec![0.0, 3.0, 0.0, 0.0, 0.0, 3.0];
    let model = Diagnosis::new(forest, scaler, patterns, thresholds)?.save()?;
    let folder = tempfile::tempdir()?;
    let manifest = CandidateManifest { kind: "diagnose".to_owned(), ..manifest(&model)? };
    fs_err::write(folder.path().join(&manifest.model.file), model)?;
    contract::write_json(&folder.path().join(CandidateManifest::FILE), &manifest)?;
    bundle.add_diagnosis(folder.path())?;
    Ok(bundle)
}

/// Makes a candidate of a detector.
pub(crate) fn candidate(detector: &dyn Detector) -> Result<Candidate> {
    let model = models::save(detector)?;
    let manifest = CandidateManifest { kind: detector.kind().to_owned(), ..manifest(&model)? };
    Ok(Candidate::new(manifest, model)?)
}

fn manifest(model: &[u8]) -> Result<CandidateManifest> {
    Ok(CandidateManifest {
        format: CandidateManifest::FORMAT,
        kind: String::new(),
        seed: 7,
        parameters: serde_json::json!({}),
        contract_sha256: table(1, 1).contract.sha256()?,
        rows: 200,
        trials: Vec::new(),
        cross_validation: None,
        training: None,
        model: FileRecord { file: "model.safetensors".to_owned(), sha256: artifact::sha256(model) },
    })
}

/// Three of five votes raise an alarm, against fixed thresholds.
pub(crate) fn votes() -> Vote {
    Vote {
        combine: Combine::Votes,
        weights: BTreeMap::new(),
        learn_weights: false,
        best_by: None,
        alarm_at: "3".parse().unwrap_or(Decimal::ONE),
        smoothing: Span::ZERO,
        threshold: Threshold::Quantile(QuantileThreshold { share: 0.99 }),
    }
}

/// The mean of the standardised scores over five minutes, against a threshold that follows.
pub(crate) fn mean() -> Vote {
    let trailing =
        TrailingThreshold { history: Span::from_seconds(86_400), times: 4.0, share: 0.99 };
    Vote {
        combine: Combine::Mean,
        smoothing: Span::from_seconds(300),
        threshold: Threshold::Trailing(trailing),
        ..votes()
    }
}

/// Makes a bundle of all five detectors.
pub(crate) fn bundle(vote: Vote) -> Result<Bundle> {
    let candidates =
        detectors()?.iter().map(|detector| candidate(&**detector)).collect::<Result<_>>()?;
    Ok(assemble(candidates, &table(200, 200), recipe(vote))?)
}

/// Makes the recipe of a bundle.
pub(crate) fn recipe(vote: Vote) -> Recipe {
    let times = table(200, 200).table.times;
    Recipe {
        pipeline: "small".to_owned(),
        vote,
        normal: normal(),
        provenance: Provenance {
            version: "0.1.0".to_owned(),
            dataset_sha256: "0".repeat(64),
            train_start: times[0],
            train_end: times[199],
            train_rows: 200,
        },
        threads: 1,
    }
}

/// Labels that mean normal.
pub(crate) fn normal() -> Vec<String> {
    vec!["normal".to_owned()]
}
