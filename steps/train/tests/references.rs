//! Compares the detectors with scikit-learn, numpy and linfa, on the rows of `tests/data`.
#![expect(clippy::unwrap_used, reason = "a test may")]

use detectors::Scaling;
use detectors::fit::FitOptions;
use detectors::isolation_forest::fit::IsolationForestParams;
use detectors::mahalanobis::fit::MahalanobisParams;
use detectors::one_class_svm::fit::OneClassSvmParams;
use detectors::settings::{IsolationForest, Mahalanobis, OneClassSvm};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::{Detector, quality};
use ndarray::{Array1, Array2, Axis};
use serde_json::Value;

struct Reference {
    json: Value,
    train: Array2<f64>,
    test: Array2<f64>,
    anomalous: Vec<bool>,
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn reference() -> Reference {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/reference.json");
    let json: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    let columns: Vec<usize> =
        numbers(&json["svm_columns"]).iter().map(|c| models::reference::whole(*c)).collect();
    let table = |name: &str| {
        let rows: Vec<Vec<f64>> = json[name].as_array().unwrap().iter().map(numbers).collect();
        let flat: Vec<f64> = rows.concat();
        let all = Array2::from_shape_vec((rows.len(), rows[0].len()), flat).unwrap();
        all.select(Axis(1), &columns)
    };
    let anomalous = json["anomalous"].as_array().unwrap();
    let anomalous = anomalous.iter().map(|label| label.as_bool().unwrap()).collect();
    Reference { train: table("train"), test: table("test"), anomalous, json }
}

fn dataset(rows: &Array2<f64>) -> DatasetBase<Array2<f64>, ()> {
    DatasetBase::new(rows.clone(), ())
}

fn worst_difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn range(values: &[f64]) -> f64 {
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    high - low
}

fn svm(nu: f64, gamma: f64, scaling: Scaling) -> OneClassSvm {
    OneClassSvm { nu, gamma: Some(gamma), tolerance: 1e-6, scaling, ..OneClassSvm::default() }
}

#[test]
fn svm_decisions_match_scikit_learn() {
    let reference = reference();
    for case in reference.json["one_class_svm"].as_array().unwrap() {
        let (nu, gamma) = (case["nu"].as_f64().unwrap(), case["gamma"].as_f64().unwrap());
        let params = OneClassSvmParams::new(
            svm(nu, gamma, Scaling::MinMax),
            FitOptions { seed: 0, threads: 1 },
        );
        let model = params.fit(&dataset(&reference.train)).unwrap().model;
        let expected = numbers(&case["decision"]);
        let difference = worst_difference(&model.decision(reference.test.view(), 1), &expected);
        assert!(difference < 1e-3 * range(&expected), "nu {nu}: {difference}");
        let vectors = case["support_vectors"].as_u64().unwrap() as f64;
        let found = model.support_vectors() as f64;
        assert!((found - vectors).abs() <= 2.0, "nu {nu}: {found} support vectors, not {vectors}");
    }
}

#[test]
fn shrinking_and_a_small_cache_change_nothing() {
    // Rows of a formula: enough for several rounds of shrinking, with a cache for only a few of
    // them.
    let rows = Array2::from_shape_fn((3000, 4), |(row, column)| {
        let angle = (row * (column + 3)) as f64;
        (angle * 0.37).sin() + (angle * angle * 0.011).cos()
    });
    let fit = |cache_mib, threads| {
        let settings = OneClassSvm { cache_mib, ..svm(0.4, 2.0, Scaling::ZScore) };
        OneClassSvmParams::new(settings, FitOptions { seed: 0, threads })
            .fit(&dataset(&rows))
            .unwrap()
    };
    let (large, small) = (fit(64, 1), fit(1, 2));
    assert!(large.converged && large.iterations > 1000, "{} iterations", large.iterations);
    let (large, small) =
        (large.model.decision(rows.view(), 1), small.model.decision(rows.view(), 1));
    assert!(worst_difference(&large, &small) < 1e-4 * range(&large));
}

#[test]
fn svm_decisions_match_linfa() {
    let reference = reference();
    let ours =
        OneClassSvmParams::new(svm(0.1, 0.2, Scaling::ZScore), FitOptions { seed: 0, threads: 1 });
    let ours = ours.fit(&dataset(&reference.train)).unwrap().model;
    let scaler = models::Scaler::fit(reference.train.view(), models::Scaling::ZScore);
    let scaled = scaler.transform(reference.train.view());
    let targets = Array1::from_elem(scaled.nrows(), ());
    let theirs: linfa_svm::Svm<f64, bool> = linfa_svm::Svm::<f64, _>::params()
        .nu_weight(0.1)
        .gaussian_kernel(1.0 / 0.2)
        .eps(1e-6)
        .fit(&DatasetBase::new(scaled, targets))
        .unwrap();
    let test = scaler.transform(reference.test.view());
    let expected: Vec<f64> =
        test.rows().into_iter().map(|row| theirs.rho - theirs.weighted_sum(&row)).collect();
    let found = ours.decision(reference.test.view(), 1);
    assert!(worst_difference(&found, &expected) < 1e-3 * range(&expected));
}

#[test]
fn approximated_svm_ranks_like_the_exact_one() {
    let reference = reference();
    let exact = svm(0.1, 0.2, Scaling::ZScore);
    let approximate = OneClassSvm { max_exact_rows: 100, ..exact.clone() };
    let fit = |settings| {
        OneClassSvmParams::new(settings, FitOptions { seed: 3, threads: 2 })
            .fit(&dataset(&reference.train))
            .unwrap()
    };
    let (exact, approximate) = (fit(exact), fit(approximate));
    assert_eq!((exact.landmarks, approximate.landmarks), (None, Some(256)));
    let decide = |model: &dyn Detector, rows: &Array2<f64>| model.decision(rows.view(), 1);
    let auc = |model: &dyn Detector| {
        quality::roc_auc(&decide(model, &reference.test), &reference.anomalous).unwrap()
    };
    let (expected, found) = (auc(&exact.model), auc(&approximate.model));
    assert!((expected - found).abs() < 0.02, "{found}, not {expected}");
    let outside = decide(&approximate.model, &reference.train).iter().filter(|d| **d > 0.0).count();
    assert!((40..=60).contains(&outside), "nu is 0.1 of 500 rows: {outside}");
}

#[test]
fn the_forest_ranks_and_scores_as_scikit_learn_does_within_the_noise_of_seeds() {
    let reference = reference();
    let expected = &reference.json["isolation_forest"];
    let (mut aucs, mut sums) = (Vec::new(), vec![0.0; reference.test.nrows()]);
    for seed in 0..20 {
        let params =
            IsolationForestParams::new(IsolationForest::default(), FitOptions { seed, threads: 1 });
        let scores =
            params.fit(&dataset(&reference.train)).unwrap().decision(reference.test.view(), 1);
        aucs.push(quality::roc_auc(&scores, &reference.anomalous).unwrap());
        sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score / 20.0);
    }
    let auc = aucs.iter().sum::<f64>() / 20.0;
    let (mean, deviation) = (
        expected["roc_auc_mean"].as_f64().unwrap(),
        expected["roc_auc_deviation"].as_f64().unwrap(),
    );
    assert!((auc - mean).abs() < deviation, "{auc}, not {mean} +- {deviation}");
    let squares = aucs.iter().map(|one| (one - auc).powi(2)).sum::<f64>();
    let scatter = (squares / 20.0).sqrt() / deviation;
    assert!(scatter < 1.4, "seeds scatter {scatter} times as much");
    let difference = worst_difference(&sums, &numbers(&expected["mean_score"]));
    assert!(difference < 0.03, "mean scores differ by {difference}");
}

#[test]
fn the_mahalanobis_distance_is_that_of_numpy() {
    let reference = reference();
    let params = MahalanobisParams::from(Mahalanobis { ridge: 0.1, min_std: 0.0, search: None });
    let model = params.fit(&dataset(&reference.train)).unwrap();
    let expected = numbers(&reference.json["log_mahalanobis"]);
    assert!(worst_difference(&model.decision(reference.test.view(), 1), &expected) < 1e-9);
}

#[test]
fn the_mean_squared_z_score_is_that_of_scikit_learn() {
    let reference = reference();
    let params = detectors::z_score::fit::ZScoreParams::from(detectors::settings::ZScore {
        threshold: 0.0,
        search: None,
    });
    let model = params.fit(&dataset(&reference.train)).unwrap();
    let expected = numbers(&reference.json["mean_square_z"]);
    assert!(worst_difference(&model.decision(reference.test.view(), 1), &expected) < 1e-9);
}

#[test]
fn the_figures_are_those_of_scikit_learn() {
    let reference = reference();
    let expected = &reference.json["quality"];
    let scores = numbers(&expected["scores_with_ties"]);
    let auc = quality::roc_auc(&scores, &reference.anomalous).unwrap();
    let precision = quality::average_precision(&scores, &reference.anomalous).unwrap();
    assert!((auc - expected["roc_auc"].as_f64().unwrap()).abs() < 1e-12);
    assert!((precision - expected["average_precision"].as_f64().unwrap()).abs() < 1e-12);
}
