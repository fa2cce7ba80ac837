//! The second stage: names the kind of fault of an alarm, or `unknown` if it is similar to none.

#[cfg(feature = "fit")]
pub mod fit;
pub mod settings;

use contract::StepError;
use contract::score::Diagnosed;

use crate::detector::Detector as _;
use crate::{ClassTrees, Scaler, Tensors};

/// Kind of an alarm that is similar to no learned kind.
pub const UNKNOWN: &str = "unknown";

/// Name of the model, in files and in the document.
pub const KIND: &str = "diagnose";

/// Kind of its forest.
const FOREST: &str = "random_forest";

/// Distances from normal within this, as inverse hyperbolic sines, are noise and no part of a
/// pattern.
const NOISE: f64 = 1.0;

/// A fitted second stage.
///
/// A forest gives each kind a probability, by the columns its trees split. In addition, each row
/// has a pattern: the inverse hyperbolic sine of each column's distance from normal in usual
/// spreads, minus noise. Its likeness to a kind is the cosine between it and the kind's mean
/// pattern. A kind's probability is the forest's times `exp(likeness_weight * likeness)`, scaled so
/// that all sum to 1. The forest alone would name a kind for any row, so the row must also be
/// similar to the kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    forest: ClassTrees,
    scaler: Scaler,
    /// Mean pattern of each kind, kind by kind.
    patterns: Vec<f64>,
    thresholds: Thresholds,
}

/// Limits below which the kind of a row is unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Lowest probability.
    pub min_probability: f64,
    /// Lowest likeness, -1 to 1.
    pub min_likeness: f64,
    /// Weight of the likeness relative to the forest.
    pub likeness_weight: f64,
}

impl Thresholds {
    fn check(self) -> Result<Self, StepError> {
        let Self { min_probability, min_likeness, likeness_weight } = self;
        if (0.0..=1.0).contains(&min_probability)
            && (-1.0..=1.0).contains(&min_likeness)
            && (0.0..=1000.0).contains(&likeness_weight)
        {
            return Ok(self);
        }
        Err(StepError::damaged("the thresholds of the diagnosis are out of range"))
    }
}

impl Diagnosis {
    /// Makes the second stage. `scaler` was fitted on normal rows, `patterns` has the mean of
    /// [`pattern`] over each kind's rows, in the order of the forest's classes.
    pub fn new(
        forest: ClassTrees,
        scaler: Scaler,
        patterns: Vec<f64>,
        thresholds: Thresholds,
    ) -> Result<Self, StepError> {
        let columns = forest.columns();
        if scaler.columns() != columns || patterns.len() != columns * forest.classes().names.len() {
            return Err(StepError::damaged("the parts of the diagnosis do not match"));
        }
        if forest.kind() != FOREST {
            return Err(StepError::damaged("the diagnosis is not based on a random forest"));
        }
        Ok(Self { forest, scaler, patterns, thresholds: thresholds.check()? })
    }

    /// Returns the number of columns of a row.
    pub fn columns(&self) -> usize {
        self.forest.columns()
    }

    /// Returns the kinds that it distinguishes, in the order of their names.
    pub fn kinds(&self) -> &[String] {
        &self.forest.classes().names
    }

    /// Returns the probability of each kind, under the assumption that it is one of them, and the
    /// likeness.
    ///
    /// # Panics
    /// If the row does not have [`Diagnosis::columns`] columns.
    pub fn probabilities(&self, row: &[f64]) -> Vec<(f64, f64)> {
        let forest = self.forest.probabilities(row);
        let seen = pattern(&self.scaler, row);
        let patterns = self.patterns.chunks_exact(self.columns());
        let likeness: Vec<f64> = patterns.map(|usual| cosine(&seen, usual)).collect();
        let highest = likeness.iter().copied().fold(-1.0, f64::max);
        let weight = self.thresholds.likeness_weight;
        let weighted = forest.iter().zip(&likeness);
        // Relative to the highest value, so that no value overflows.
        let weighted: Vec<f64> = weighted
            .map(|(share, likeness)| share * (weight * (likeness - highest)).exp())
            .collect();
        let total: f64 = weighted.iter().sum();
        weighted.into_iter().map(|weighted| weighted / total).zip(likeness).collect()
    }

    /// Returns the kind of a row.
    ///
    /// # Panics
    /// If the row does not have [`Diagnosis::columns`] columns.
    pub fn diagnose(&self, row: &[f64]) -> Diagnosed {
        let mut best = (0, 0.0, 0.0);
        for (kind, (probability, likeness)) in self.probabilities(row).into_iter().enumerate() {
            // Of equal kinds the first in the order of names is used.
            if probability > best.1 {
                best = (kind, probability, likeness);
            }
        }
        let (kind, probability, likeness) = best;
        let Thresholds { min_probability, min_likeness, .. } = self.thresholds;
        let nearest = self.kinds()[kind].clone();
        let known = probability >= min_probability && likeness >= min_likeness;
        let kind = if known { nearest.clone() } else { UNKNOWN.to_owned() };
        Diagnosed { kind, nearest, probability, likeness }
    }

    /// Returns the bytes of its safetensors file; the same diagnosis gives the same bytes.
    pub fn save(&self) -> Result<Vec<u8>, StepError> {
        let mut tensors = self.forest.tensors();
        self.scaler.write(&mut tensors);
        let shape = [self.kinds().len(), self.columns()];
        tensors.insert_f64("pattern", &shape, self.patterns.clone());
        let Thresholds { min_probability, min_likeness, likeness_weight } = self.thresholds;
        tensors.insert_f64("min_probability", &[1], vec![min_probability]);
        tensors.insert_f64("min_likeness", &[1], vec![min_likeness]);
        tensors.insert_f64("likeness_weight", &[1], vec![likeness_weight]);
        tensors.encode(KIND)
    }

    /// Reads a diagnosis from the bytes of its file; an invalid file is refused.
    pub fn load(bytes: &[u8]) -> Result<Self, StepError> {
        let mut tensors = Tensors::decode(KIND, bytes)?;
        let scaler = Scaler::read(&mut tensors)?;
        let (kinds, columns) = tensors.dimensions("pattern")?;
        let patterns = tensors.take_f64("pattern", &[kinds, columns])?;
        let thresholds = Thresholds {
            min_probability: tensors.take_number("min_probability")?,
            min_likeness: tensors.take_number("min_likeness")?,
            likeness_weight: tensors.take_number("likeness_weight")?,
        };
        let forest = ClassTrees::read(FOREST, &mut tensors)?;
        tensors.finish()?;
        Self::new(forest, scaler, patterns, thresholds)
    }
}

/// Returns how far each column is from normal: the inverse hyperbolic sine of its scaled value,
/// less 1 towards 0. A gap is not a distance.
pub fn pattern(scaler: &Scaler, row: &[f64]) -> Vec<f64> {
    let distance = |(column, value): (usize, &f64)| {
        let distance = scaler.scale(column, *value).asinh();
        distance.signum() * (distance.abs() - NOISE).max(0.0)
    };
    row.iter().enumerate().map(distance).collect()
}

/// Returns the cosine between two patterns, -1 to 1; 0 if one of them is zero.
pub fn cosine(one: &[f64], other: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let lengths = (product(one, one) * product(other, other)).sqrt();
    if lengths > 0.0 { (product(one, other) / lengths).clamp(-1.0, 1.0) } else { 0.0 }
}
