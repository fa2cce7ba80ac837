//! What holds for every kind of detector.

use contract::DetectorKind;
use models::{Detector as _, Scaler, Scaling, matrix};
use ndarray::{Array2, Axis, array};
use proptest::prelude::*;

use crate::support::{all_detectors, boosted_trees, table};

#[test]
fn a_row_scores_the_same_alone_in_any_order_and_on_any_number_of_threads() {
    let rows = matrix(&table(1500, 1200));
    let reversed: Vec<usize> = (0..1500).rev().collect();
    for detector in all_detectors().unwrap() {
        let kind = detector.kind();
        let scores = detector.decision(rows.view(), 1);
        assert!(scores.iter().all(|score| score.is_finite()), "{kind}");
        for threads in [2, 3] {
            assert_eq!(
                detector.decision(rows.view(), threads),
                scores,
                "{kind}, {threads} threads"
            );
        }
        let mut turned = detector.decision(rows.select(Axis(0), &reversed).view(), 2);
        turned.reverse();
        assert_eq!(turned, scores, "{kind}, reversed");
        for row in [0, 7, 1250] {
            let alone = rows.select(Axis(0), &[row]);
            assert_eq!(
                detector.decision(alone.view(), 1),
                [scores[row]],
                "{kind}, row {row} alone"
            );
        }
        assert!(detector.decision(Array2::zeros((0, 3)).view(), 2).is_empty(), "{kind}, no rows");
    }
}

#[test]
fn distant_rows_score_higher_and_are_explained_by_their_column() {
    let rows = matrix(&table(300, 250));
    for detector in all_detectors().unwrap() {
        let kind = detector.kind();
        let scores = detector.decision(rows.view(), 1);
        let largest_normal = scores[..250].iter().copied().fold(f64::MIN, f64::max);
        assert!(scores[260] >= largest_normal, "{kind}");
        let shares = detector.attribution(rows.row(260));
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{kind}");
        // The second tree of the hand-made forest does not look at memory.
        if kind != "isolation_forest" {
            assert!(shares[1] > 0.5, "{kind}: {shares:?}");
        }
    }
}

#[test]
fn gaps_and_absurd_values_have_finite_scores() {
    let rows = array![
        [f64::NAN, f64::NAN, f64::NAN],
        [f64::INFINITY, 4e9, f64::NEG_INFINITY],
        [1e308, -1e308, 0.0],
        [1e149, -1e149, 1e149],
        [0.0, 0.0, 0.0],
    ];
    for detector in all_detectors().unwrap() {
        let scores = detector.decision(rows.view(), 2);
        assert!(scores.iter().all(|score| score.is_finite()), "{}: {scores:?}", detector.kind());
        assert_eq!(scores[0], detector.decision(rows.select(Axis(0), &[0]).view(), 1)[0]);
        for row in rows.rows() {
            let shares = detector.attribution(row);
            let sum: f64 = shares.iter().sum();
            assert!(shares.iter().all(|share| *share >= 0.0), "{}", detector.kind());
            assert!((sum - 1.0).abs() < 1e-9 || sum == 0.0, "{}: {shares:?}", detector.kind());
        }
    }
}

#[test]
fn a_detector_comes_back_from_its_file_to_the_last_bit() {
    let rows = matrix(&table(300, 250));
    for before in all_detectors().unwrap() {
        let bytes = models::save(&*before).unwrap();
        assert_eq!(bytes, models::save(&*before).unwrap(), "the same bytes twice");
        let after = models::load(before.kind(), &bytes).unwrap();
        assert_eq!(after.decision(rows.view(), 1), before.decision(rows.view(), 1));
        assert_eq!(models::save(&*after).unwrap(), bytes);
        for other in DetectorKind::names().filter(|kind| *kind != before.kind()) {
            let error = models::load(other, &bytes).unwrap_err();
            assert_eq!(error.kind.exit_code(), 3, "{error}");
        }
    }
}

#[test]
fn constant_empty_and_changing_columns_are_scaled_safely() {
    let rows = array![
        [5.0, f64::NAN, 0.0, 1.0],
        [5.0, f64::NAN, 0.0, 3.0],
        [5.0, f64::NAN, 0.0, f64::NAN]
    ];
    for scaling in [Scaling::MinMax, Scaling::ZScore, Scaling::Robust] {
        let scaler = Scaler::fit(rows.view(), scaling);
        assert_eq!(scaler.empty_columns(), [1]);
        assert_eq!(scaler.scale(0, 5.0), 0.0, "a constant is 0");
        assert_eq!(scaler.scale(0, 6.0), 2.0, "and another value there counts in tenths of it");
        assert_eq!(scaler.scale(2, 0.5), 5.0, "at least in tenths");
        assert_eq!(scaler.scale(1, 123.0), 0.0, "what was never seen says nothing");
        assert_eq!(scaler.scale(3, f64::NAN), scaler.scale(3, 2.0), "a gap is the median");
        assert_eq!(scaler.scale(3, f64::INFINITY), scaler.scale(3, 2.0), "and so is an infinity");
    }
}

proptest! {
    #[test]
    fn scaled_values_do_not_depend_on_the_unit(
        values in prop::collection::vec(-100.0..100.0_f64, 8..40),
        factor in prop::sample::select(vec![1e-3, 0.25, 8.0, 1e6]),
        shift in -1000.0..1000.0_f64,
    ) {
        let column = Array2::from_shape_vec((values.len(), 1), values.clone()).unwrap();
        prop_assume!(values.iter().any(|value| (value - values[0]).abs() > 1.0));
        let other = column.mapv(|value| value * factor + shift * factor);
        for scaling in [Scaling::MinMax, Scaling::ZScore] {
            let (one, two) = (Scaler::fit(column.view(), scaling), Scaler::fit(other.view(), scaling));
            for (value, moved) in column.iter().zip(&other) {
                prop_assert!((one.scale(0, *value) - two.scale(0, *moved)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_mangled_model_file_is_refused_or_scores_finitely(
        which in 0..7_usize,
        changes in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, 0.0..1.0_f64),
    ) {
        let detector = &all_detectors().unwrap()[which];
        let mut bytes = models::save(&**detector).unwrap();
        for (place, byte) in changes {
            let at = models::reference::whole(place * bytes.len() as f64);
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(models::reference::whole(cut * bytes.len() as f64));
        }
        match models::load(detector.kind(), &bytes) {
            Err(error) => prop_assert_eq!(error.kind.exit_code(), 3),
            Ok(loaded) => {
                let rows = matrix(&table(5, 3));
                if rows.ncols() == loaded.columns() {
                    prop_assert!(loaded.decision(rows.view(), 1).iter().all(|score| score.is_finite()));
                    let shares = loaded.attribution(rows.row(4));
                    prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
                }
            }
        }
    }
}

#[test]
fn boosted_trees_explain_an_alarm_by_the_column_that_they_split() {
    let trees = boosted_trees().unwrap();
    let rows = ndarray::array![[1.0, 6e9, 100.0], [1.0, 1e9, 100.0], [1.0, f64::NAN, 100.0]];
    let scores = trees.decision(rows.view(), 1);
    assert!(scores[0] > 0.9 && scores[1] < 0.1, "{scores:?}");
    assert!((scores[1] - scores[2]).abs() < 1e-12, "a gap is the median");
    assert_eq!(trees.attribution(rows.row(0)), [0.0, 1.0, 0.0]);
    assert_eq!(trees.attribution(rows.row(1)), [0.0; 3], "what speaks for normal explains nothing");
}
