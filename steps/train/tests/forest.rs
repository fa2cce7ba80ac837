//! Scoring of many rows by a grown isolation forest, against one row at a time.

use detectors::fit::FitOptions;
use detectors::isolation_forest::fit::IsolationForestParams;
use detectors::settings::IsolationForest;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::Detector as _;
use ndarray::{Array2, Axis};

fn rows(count: usize, columns: usize) -> Array2<f64> {
    Array2::from_shape_fn((count, columns), |(row, column)| {
        let angle = (row * (column + 3)) as f64;
        match (row * 31 + column) % 97 {
            0 => f64::NAN,
            1 => f64::NEG_INFINITY,
            2 => 0.0,
            _ => (angle * 0.37).sin() + (angle * angle * 0.011).cos(),
        }
    })
}

#[test]
fn many_rows_score_to_the_last_bit_as_each_of_them_alone() {
    for (columns, samples, extension) in [
        (1, 256, 0),
        (25, 256, 0),
        (32, 3, 0),
        (33, 256, 0),
        (130, 256, 0),
        (25, 900, 0),
        (6, 256, 2),
    ] {
        let settings =
            IsolationForest { trees: 20, samples, extension, ..IsolationForest::default() };
        let dataset = DatasetBase::new(rows(1000, columns), ());
        let forest = IsolationForestParams::new(settings, FitOptions { seed: 3, threads: 1 })
            .fit(&dataset)
            .unwrap();
        let others = rows(1300, columns) * 1.5;
        let together = forest.decision(others.view(), 2);
        let alone: Vec<f64> = (0..others.nrows())
            .flat_map(|row| forest.decision(others.select(Axis(0), &[row]).view(), 1))
            .collect();
        assert!(together == alone, "{columns} columns, {samples} samples, extension {extension}");
    }
}

#[test]
fn the_shares_of_a_forest_name_the_column_that_is_off() {
    let forest =
        IsolationForestParams::new(IsolationForest::default(), FitOptions { seed: 3, threads: 1 });
    let forest = forest.fit(&DatasetBase::new(rows(1000, 8), ())).unwrap();
    let mut row = rows(1, 8).row(0).to_owned();
    row.fill(0.1);
    row[5] = 40.0;
    let shares = forest.attribution(row.view());
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(shares[5] > 0.5, "{shares:?}");
}
