//! Properties of every fitted model.
#![expect(clippy::unwrap_used, reason = "a test may")]

use detectors::Scaling;
use detectors::autoencoder::fit::{AutoencoderParams, NetworkOptions};
use detectors::fit::FitOptions;
use detectors::isolation_forest::fit::IsolationForestParams;
use detectors::mahalanobis::fit::MahalanobisParams;
use detectors::one_class_svm::fit::OneClassSvmParams;
use detectors::settings::{Autoencoder, IsolationForest, Mahalanobis, OneClassSvm, ZScore};
use detectors::z_score::fit::ZScoreParams;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::{Detector, quality};
use ndarray::{Array2, Axis};
use proptest::prelude::*;

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
    fitted_on(rows, 2)
}

fn fitted_on(rows: &Array2<f64>, threads: usize) -> Vec<Box<dyn Detector>> {
    let dataset = DatasetBase::new(rows.clone(), ());
    let autoencoder = Autoencoder {
        layers: vec![8, 3, 8],
        epochs: 100,
        batch: 32,
        learning_rate: 0.01,
        ..Autoencoder::default()
    };
    let autoencoder =
        AutoencoderParams::new(autoencoder, NetworkOptions { seed: 1, validation: None });
    let forest = IsolationForest { extension: 3, ..IsolationForest::default() };
    let forest = IsolationForestParams::new(forest, FitOptions { seed: 1, threads });
    let mahalanobis =
        MahalanobisParams::from(Mahalanobis { ridge: 0.01, min_std: 0.0, search: None });
    let svm = OneClassSvm { scaling: Scaling::ZScore, ..OneClassSvm::default() };
    let svm = OneClassSvmParams::new(svm, FitOptions { seed: 1, threads });
    let z_score = ZScoreParams::from(ZScore::default());
    vec![
        Box::new(autoencoder.fit(&dataset).unwrap().model),
        Box::new(forest.fit(&dataset).unwrap()),
        Box::new(mahalanobis.fit(&dataset).unwrap()),
        Box::new(svm.fit(&dataset).unwrap().model),
        Box::new(z_score.fit(&dataset).unwrap()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn scores_do_not_depend_on_the_units_of_the_columns_or_where_they_begin(
        powers in prop::collection::vec(-20..20_i32, 4),
        shifts in prop::collection::vec(-8..8_i32, 4),
    ) {
        // Multiples of 1/1024, shifted by whole numbers and multiplied by powers of two: nothing is
        // rounded.
        let whole = |rows: Array2<f64>| rows.mapv(|value| (value * 1024.0).round() / 1024.0);
        let (train, test) = (whole(rows(400, 400)), whole(rows(100, 80)));
        let moved = |rows: &Array2<f64>| {
            let mut rows = rows.clone();
            for (column, (power, shift)) in powers.iter().zip(&shifts).enumerate() {
                let factor = 2.0_f64.powi(*power);
                rows.column_mut(column).mapv_inplace(|value| (value + f64::from(*shift)) * factor);
            }
            rows
        };
        for (one, other) in fitted(&train).iter().zip(fitted(&moved(&train))) {
            let (expected, found) =
                (one.decision(test.view(), 1), other.decision(moved(&test).view(), 1));
            for (expected, found) in expected.iter().zip(found) {
                let difference = (expected - found).abs();
                prop_assert!(
                    difference < 1e-6 * expected.abs().max(1.0),
                    "{}: {}", one.kind(), difference
                );
            }
        }
    }

    #[test]
    fn the_order_of_rows_changes_no_score(order in Just((0..100).collect::<Vec<usize>>()).prop_shuffle()) {
        let test = rows(100, 80);
        for model in fitted(&rows(60, 60)) {
            let scores = model.decision(test.view(), 1);
            let expected: Vec<f64> = order.iter().map(|row| scores[*row]).collect();
            prop_assert_eq!(model.decision(test.select(Axis(0), &order).view(), 2), expected);
        }
    }
}

#[test]
fn fitting_and_scoring_give_the_same_bytes_on_one_thread_and_on_two() {
    let (train, test) = (rows(700, 700), rows(1500, 1200));
    for (one, two) in fitted_on(&train, 1).iter().zip(fitted_on(&train, 2)) {
        assert_eq!(models::save(&**one).unwrap(), models::save(&*two).unwrap(), "{}", one.kind());
        assert_eq!(one.decision(test.view(), 1), two.decision(test.view(), 2), "{}", one.kind());
    }
}

#[test]
fn poor_rows_give_finite_scores_and_one_row_is_refused() {
    let wave = |row: usize, column: usize| ((row * (column + 3)) as f64 * 0.7).sin();
    let column_of_each_kind = |row: usize, column: usize| match column {
        0 | 1 => wave(row, 0),
        2 => 7.0,
        3 if row.is_multiple_of(2) => f64::NAN,
        4 if row.is_multiple_of(3) => f64::NEG_INFINITY,
        5 => f64::NAN,
        6 => 1e300 * wave(row, 6),
        _ => wave(row, column),
    };
    let absurd = |row: usize, column: usize| match row {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => -1e308,
        _ => 1e9 * wave(row, column),
    };
    for (what, train) in [
        (
            "gaps, infinities, constants and copies",
            Array2::from_shape_fn((90, 8), |(r, c)| column_of_each_kind(r, c)),
        ),
        ("more columns than rows", Array2::from_shape_fn((3, 9), |(r, c)| wave(r, c))),
        ("two rows", Array2::from_shape_fn((2, 2), |(r, c)| wave(r, c))),
        ("equal rows", Array2::from_elem((50, 3), 4.0)),
    ] {
        for model in fitted(&train) {
            let test = Array2::from_shape_fn((9, train.ncols()), |(r, c)| absurd(r, c));
            for rows in [&train, &test] {
                let scores = model.decision(rows.view(), 1);
                assert!(scores.iter().all(|score| score.is_finite()), "{what}, {}", model.kind());
            }
        }
    }
    let one = DatasetBase::new(Array2::zeros((1, 3)), ());
    let refusals = [
        ZScoreParams::from(ZScore::default()).fit(&one).map(drop),
        MahalanobisParams::from(Mahalanobis::default()).fit(&one).map(drop),
        OneClassSvmParams::new(OneClassSvm::default(), FitOptions { seed: 1, threads: 1 })
            .fit(&one)
            .map(drop),
        IsolationForestParams::new(IsolationForest::default(), FitOptions { seed: 1, threads: 1 })
            .fit(&one)
            .map(drop),
        AutoencoderParams::new(
            Autoencoder::default(),
            NetworkOptions { seed: 1, validation: None },
        )
        .fit(&one)
        .map(drop),
    ];
    for refusal in refusals {
        assert_eq!(refusal.unwrap_err().to_string(), "1 rows to fit on, needed are 2");
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
        let params =
            IsolationForestParams::new(IsolationForest::default(), FitOptions { seed, threads: 1 });
        models::save(&params.fit(&dataset).unwrap()).unwrap()
    };
    let network = |seed| {
        let params = AutoencoderParams::new(
            Autoencoder::default(),
            NetworkOptions { seed, validation: None },
        );
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
    let fitted = AutoencoderParams::new(settings, NetworkOptions { seed: 1, validation })
        .fit(&dataset)
        .unwrap();
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
    let model = AutoencoderParams::new(settings, NetworkOptions { seed: 1, validation: None })
        .fit(&dataset)
        .unwrap()
        .model;
    let decisions = model.decision(train.view(), 1);
    let mean = decisions.iter().sum::<f64>() / decisions.len() as f64;
    assert!((mean - 1.0).abs() < 1e-6, "{mean}");
}
