//! Predictions of class models for rows they were not fitted on: one run is left out at a time.
//!
//! Rows of a run are similar for other reasons than their class, so with random left-out rows every
//! model would look perfect.

use std::collections::BTreeMap;

use contract::StepError;
use linfa::dataset::DatasetBase;
use ndarray::{Array1, Array2};
use serde::Serialize;

use crate::class_trees::Calibration;
use crate::fit::FitError;
use crate::fit::labelled::Labelled;
use crate::gradient_boosting::BoostedTrees;
use crate::{ClassTrees, Detector};

/// Maximum number of runs for which each run is a separate fold.
const MOST_FOLDS: usize = 20;

/// A model of labelled classes that votes as a detector.
pub(crate) trait ClassDetector: Detector + Sized {
    /// Returns the share of each class in a row, before calibration.
    fn shares_of(&self, row: &[f64]) -> Vec<f64>;

    /// Sets how shares are converted to probabilities.
    fn with_calibration(self, calibration: Calibration) -> Result<Self, StepError>;
}

impl ClassDetector for ClassTrees {
    fn shares_of(&self, row: &[f64]) -> Vec<f64> {
        self.mean_shares(row)
    }

    fn with_calibration(self, calibration: Calibration) -> Result<Self, StepError> {
        self.calibrated(calibration)
    }
}

impl ClassDetector for BoostedTrees {
    fn shares_of(&self, row: &[f64]) -> Vec<f64> {
        self.shares(row)
    }

    fn with_calibration(self, calibration: Calibration) -> Result<Self, StepError> {
        self.calibrated(calibration)
    }
}

/// Prediction for a row that was left out.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) row: usize,
    /// Mean share of each class over the trees.
    pub(crate) shares: Vec<f64>,
    /// Whether the row's class was among the fitted rows: otherwise it cannot be predicted.
    pub(crate) known: bool,
    /// Index of the fold in [`HeldOut::folds`].
    pub(crate) fold: usize,
}

/// A model that was fitted without the rows of a fold.
pub(crate) struct Fold<M> {
    /// The rows it was fitted on.
    pub(crate) rest: Vec<usize>,
    /// `None` if the other rows were of one class.
    pub(crate) model: Option<M>,
}

/// All rows that could be left out, and the models fitted without them.
pub(crate) struct HeldOut<M> {
    pub(crate) rows: Vec<Held>,
    pub(crate) folds: Vec<Fold<M>>,
}

/// Metrics of a class model on runs it was not fitted on.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CrossValidation {
    /// Parts of which each was left out once.
    pub folds: usize,
    /// Rows that were left out and whose class the other rows also had.
    pub rows: usize,
    /// Share of them that were classified correctly.
    pub accuracy: f64,
    /// Mean over the classes of that share.
    pub balanced_accuracy: f64,
    /// Mean negative logarithm of the probability of the correct class; every class has the same
    /// weight.
    pub log_loss: f64,
    /// Rows by true class and then by predicted class; rows of a class that no other run has count
    /// only here.
    pub confusion: BTreeMap<String, BTreeMap<String, u64>>,
}

/// For every fold, fits on all other runs and predicts the left-out rows. A fold is skipped if its
/// other runs are all of one class.
pub(crate) fn hold_out<M: ClassDetector>(
    labelled: &Labelled,
    fit: impl Fn(&DatasetBase<Array2<f64>, Array1<usize>>) -> Result<M, FitError>,
) -> Result<HeldOut<M>, FitError> {
    let (folds, count) = labelled.folds(MOST_FOLDS);
    let mut held = HeldOut { rows: Vec::new(), folds: Vec::new() };
    for fold in 0..count {
        let (out, rest): (Vec<usize>, Vec<usize>) =
            (0..folds.len()).partition(|row| folds[*row] == fold);
        let mut known = vec![false; labelled.classes.names.len()];
        rest.iter().for_each(|row| known[labelled.class[*row]] = true);
        if known.iter().filter(|known| **known).count() < 2 {
            held.folds.push(Fold { rest, model: None });
            continue;
        }
        let model = fit(&labelled.dataset(&rest))?;
        held.rows.extend(out.into_iter().map(|row| Held {
            row,
            shares: model.shares_of(&labelled.values.row(row).to_vec()),
            known: known[labelled.class[row]],
            fold,
        }));
        held.folds.push(Fold { rest, model: Some(model) });
    }
    Ok(held)
}

impl<M> HeldOut<M> {
    /// Finds the calibration with the lowest log loss on rows of known classes; without such rows
    /// there is no calibration. Every class has the same weight, as everywhere in a model of
    /// balanced classes.
    pub(crate) fn calibrate(&self, labelled: &Labelled) -> Calibration {
        let mut best = (Calibration::NONE, f64::INFINITY);
        for smoothing in [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1] {
            for step in 0..=16 {
                // From 1/4 to 4.
                let exponent = 2.0_f64.powf(f64::from(step) / 4.0 - 2.0);
                let calibration = Calibration { smoothing, exponent };
                let loss = self.log_loss(labelled, calibration);
                if loss < best.1 {
                    best = (calibration, loss);
                }
            }
        }
        best.0
    }

    fn log_loss(&self, labelled: &Labelled, calibration: Calibration) -> f64 {
        let mut sums = vec![(0.0, 0.0); labelled.classes.names.len()];
        for held in self.rows.iter().filter(|held| held.known) {
            let class = labelled.class[held.row];
            let mut shares = held.shares.clone();
            calibration.apply(&mut shares);
            sums[class].0 -= shares[class].max(f64::MIN_POSITIVE).ln();
            sums[class].1 += 1.0;
        }
        mean(sums.iter().filter(|(_, rows)| *rows > 0.0).map(|(sum, rows)| sum / rows))
    }

    /// Makes a summary; `name` returns the predicted kind of a left-out row.
    pub(crate) fn figures(
        &self,
        labelled: &Labelled,
        calibration: Calibration,
        name: impl Fn(&Held) -> String,
    ) -> CrossValidation {
        let mut figures = CrossValidation { folds: self.folds.len(), ..Default::default() };
        let mut right = vec![(0.0, 0.0); labelled.classes.names.len()];
        for held in &self.rows {
            let class = labelled.class[held.row];
            let (expected, found) = (&labelled.classes.names[class], name(held));
            if held.known {
                figures.rows += 1;
                right[class].0 += f64::from(u8::from(found == *expected));
                right[class].1 += 1.0;
            }
            *figures.confusion.entry(expected.clone()).or_default().entry(found).or_insert(0) += 1;
        }
        let total: f64 = right.iter().map(|(right, _)| right).sum();
        figures.accuracy = total / figures.rows.max(1) as f64;
        let seen = right.iter().filter(|(_, rows)| *rows > 0.0);
        figures.balanced_accuracy = mean(seen.map(|(right, rows)| right / rows));
        figures.log_loss = self.log_loss(labelled, calibration);
        figures
    }
}

/// Returns the most likely class: the first of equal ones.
pub fn likeliest(shares: &[f64]) -> usize {
    let pairs = shares.iter().copied().enumerate();
    pairs.fold((0, -1.0), |best, pair| if pair.1 > best.1 { pair } else { best }).0
}

/// Returns the mean; 0 if there are no values.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}
