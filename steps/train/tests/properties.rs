//! What holds for every fitted model.
#![expect(clippy::unwrap_used, reason = "a test may")]

use document::models::{Autoencoder, IsolationForest, Mahalanobis, OneClassSvm, Scaling, ZScore};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::{Detector, quality};
use ndarray::Array2;
use train::autoencoder::AutoencoderParams;
use train::isolation_forest::IsolationForestParams;
use train::mahalanobis::MahalanobisParams;
use train::one_class_svm::OneClassSvmParams;
use train::z_score::ZScoreParams;

/// Three waves and their sum; in rows from `odd_from` on, the sum does not hold.
fn rows(count: usize, odd_from: usize) -> Array2<f64> {
    Array2::from_shape_fn((count, 4), |(row, column)| {
        let wave = |column: usize| (row as f64 * [0.11, 0.7, 1.9][column]).sin();
        match column {
            3 if row >= odd_from => -wave(0) - wave(1) - wave(2) + 1.5,
            3 => wave(0) + wave(1) + wave(2),
            _ => wave(column),
        }
    })
}

fn fitted(rows: &Array2<f64>) -> Vec<Box<dyn Detector>> {
    let dataset = DatasetBase::new(rows.clone(), ());
    let autoencoder = Autoencoder {
        layers: vec![8, 3, 8],
        epochs: 100,
        batch: 32,
        learning_rate: 0.01,
        ..Autoencoder::default()
    };
    let autoencoder = AutoencoderParams::new(autoencoder, 1, None);
    let forest = IsolationForest { extension: 3, ..IsolationForest::default() };
    let forest = IsolationForestParams::new(forest, 1, 2);
    let mahalanobis =
        MahalanobisParams::new(Mahalanobis { ridge: 0.01, min_std: 0.0, search: None });
    let svm = OneClassSvm { scaling: Scaling::ZScore, ..OneClassSvm::default() };
    let svm = OneClassSvmParams::new(svm, 1, 2);
    let z_score = ZScoreParams::new(ZScore::default());
    vec![
        Box::new(autoencoder.fit(&dataset).unwrap().model),
        Box::new(forest.fit(&dataset).unwrap()),
        Box::new(mahalanobis.fit(&dataset).unwrap()),
        Box::new(svm.fit(&dataset).unwrap().model),
        Box::new(z_score.fit(&dataset).unwrap()),
    ]
}

#[test]
fn scores_do_not_depend_on_the_units_of_the_columns() {
    let (train, test) = (rows(400, 400), rows(100, 80));
    // Powers of two: what is left of a difference is not rounding of the unit itself.
    let unit = |rows: &Array2<f64>| {
        let mut rows = rows.clone();
        for (column, factor) in [1.0, 1024.0, 1.0 / 4096.0, 65_536.0].into_iter().enumerate() {
            rows.column_mut(column).mapv_inplace(|value| value * factor);
        }
        rows
    };
    for (one, other) in fitted(&train).iter().zip(fitted(&unit(&train))) {
        let (expected, found) =
            (one.decision(test.view(), 1), other.decision(unit(&test).view(), 1));
        for (expected, found) in expected.iter().zip(found) {
            let difference = (expected - found).abs();
            assert!(difference < 1e-6 * expected.abs().max(1.0), "{}: {difference}", one.kind());
        }
    }
}

#[test]
fn models_that_see_columns_together_find_a_broken_sum() {
    let (train, test) = (rows(800, 800), rows(400, 350));
    let odd: Vec<bool> = (0..400).map(|row| row >= 350).collect();
    for model in fitted(&train) {
        let auc = quality::roc_auc(&model.decision(test.view(), 1), &odd).unwrap();
        let least = match model.kind() {
            "mahalanobis" | "autoencoder" => 0.9,
            "one_class_svm" | "isolation_forest" => 0.75,
            _ => 0.4,
        };
        assert!(auc > least, "{}: {auc}", model.kind());
    }
}

#[test]
fn the_seed_decides_and_another_seed_changes_the_random_models() {
    let train = rows(300, 300);
    let dataset = DatasetBase::new(train.clone(), ());
    let forest = |seed| {
        let params = IsolationForestParams::new(IsolationForest::default(), seed, 1);
        models::save(&params.fit(&dataset).unwrap()).unwrap()
    };
    let network = |seed| {
        let params = AutoencoderParams::new(Autoencoder::default(), seed, None);
        models::save(&params.fit(&dataset).unwrap().model).unwrap()
    };
    assert_eq!((forest(1), network(1)), (forest(1), network(1)));
    assert_ne!(forest(1), forest(2));
    assert_ne!(network(1), network(2));
}

#[test]
fn training_ends_early_when_the_validation_rows_gain_nothing_and_keeps_the_best_weights() {
    let dataset = DatasetBase::new(rows(300, 300), ());
    let settings =
        Autoencoder { epochs: 500, learning_rate: 0.03, patience: 3, ..Autoencoder::default() };
    // Validation rows that are nothing like the training rows get worse soon.
    let validation = Some(rows(100, 0));
    let fitted = AutoencoderParams::new(settings, 1, validation).fit(&dataset).unwrap();
    assert!(fitted.losses.len() < 500, "{} passes", fitted.losses.len());
    let losses = &fitted.validation_losses;
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let at = losses.iter().position(|loss| *loss <= best).unwrap();
    assert_eq!(at + 1 + 3, losses.len(), "three passes without gain end it: {losses:?}");
}

#[test]
fn normalised_residuals_average_one_on_the_training_rows() {
    let train = rows(300, 300);
    let dataset = DatasetBase::new(train.clone(), ());
    let settings = Autoencoder { normalise_residuals: true, ..Autoencoder::default() };
    let model = AutoencoderParams::new(settings, 1, None).fit(&dataset).unwrap().model;
    let decisions = model.decision(train.view(), 1);
    let mean = decisions.iter().sum::<f64>() / decisions.len() as f64;
    assert!((mean - 1.0).abs() < 1e-6, "{mean}");
}
