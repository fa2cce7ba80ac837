//! The second stage: which kind of fault an alarm is, or `unknown` where it is like none.

use contract::StepError;
use contract::score::Diagnosed;

use crate::detector::Detector as _;
use crate::{ClassTrees, Scaler, Tensors};

/// What an alarm is called that is like no kind.
pub const UNKNOWN: &str = "unknown";

/// Name of the model, in files and in the document.
pub(crate) const KIND: &str = "diagnose";

/// The kind of forest it rests on.
const FOREST: &str = "random_forest";

/// A fitted second stage.
///
/// A forest gives each kind a probability. It would do so for anything, so a row must be like the
/// kind as well: its pattern, the inverse hyperbolic sine of each column's distance from normal in
/// usual spreads, must point the way the kind's mean pattern points (cosine). Trees see only the
/// columns they split; the pattern sees all.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    forest: ClassTrees,
    scaler: Scaler,
    /// Mean pattern of each kind, kind by kind.
    patterns: Vec<f64>,
    min_probability: f64,
    min_likeness: f64,
}

impl Diagnosis {
    /// Makes the second stage. `scaler` says what is normal, `patterns` holds the mean of
    /// [`pattern`] over each kind's rows, in the order of the forest's classes.
    pub fn new(
        forest: ClassTrees,
        scaler: Scaler,
        patterns: Vec<f64>,
        [min_probability, min_likeness]: [f64; 2],
    ) -> Result<Self, StepError> {
        let columns = forest.columns();
        if scaler.columns() != columns || patterns.len() != columns * forest.classes().names.len() {
            return Err(StepError::refused("the parts of the diagnosis do not match"));
        }
        if forest.kind() != FOREST {
            return Err(StepError::refused("the diagnosis does not rest on a random forest"));
        }
        Ok(Self { forest, scaler, patterns, min_probability, min_likeness })
    }

    /// Returns the number of columns of a row.
    pub fn columns(&self) -> usize {
        self.forest.columns()
    }

    /// Returns the kinds it tells apart, in the order of their names.
    pub fn kinds(&self) -> &[String] {
        &self.forest.classes().names
    }

    /// Says of which kind a row is.
    ///
    /// # Panics
    /// If the row does not have [`Diagnosis::columns`] columns.
    pub fn diagnose(&self, row: &[f64]) -> Diagnosed {
        let probabilities = self.forest.probabilities(row);
        let pairs = probabilities.iter().copied().enumerate();
        // The first of equals: the order of the names decides.
        let (best, probability) =
            pairs.fold((0, 0.0), |best, pair| if pair.1 > best.1 { pair } else { best });
        let columns = self.columns();
        let usual = &self.patterns[best * columns..(best + 1) * columns];
        let likeness = cosine(&pattern(&self.scaler, row), usual);
        let known = probability >= self.min_probability && likeness >= self.min_likeness;
        let nearest = self.kinds()[best].clone();
        let kind = if known { nearest.clone() } else { UNKNOWN.to_owned() };
        Diagnosed { kind, nearest, probability, likeness }
    }

    /// Returns the bytes of its safetensors file; the same diagnosis gives the same bytes.
    pub fn save(&self) -> Result<Vec<u8>, StepError> {
        let mut tensors = self.forest.tensors();
        self.scaler.write(&mut tensors);
        let shape = [self.kinds().len(), self.columns()];
        tensors.insert_f64("pattern", &shape, self.patterns.clone());
        tensors.insert_f64("min_probability", &[1], vec![self.min_probability]);
        tensors.insert_f64("min_likeness", &[1], vec![self.min_likeness]);
        tensors.encode(KIND)
    }

    /// Reads a diagnosis from the bytes of its file; anything off is refused.
    pub fn load(bytes: &[u8]) -> Result<Self, StepError> {
        let mut tensors = Tensors::decode(KIND, bytes)?;
        let scaler = Scaler::read(&mut tensors)?;
        let (kinds, columns) = tensors.dimensions("pattern")?;
        let patterns = tensors.take_f64("pattern", &[kinds, columns])?;
        let limits =
            [tensors.take_number("min_probability")?, tensors.take_number("min_likeness")?];
        let forest = ClassTrees::read(FOREST, &mut tensors)?;
        tensors.finish()?;
        Self::new(forest, scaler, patterns, limits)
    }
}

/// Returns how far each column is from normal: the inverse hyperbolic sine of its scaled value.
/// A gap is no distance.
pub fn pattern(scaler: &Scaler, row: &[f64]) -> Vec<f64> {
    let values = row.iter().enumerate();
    values.map(|(column, value)| scaler.scale(column, *value).asinh()).collect()
}

/// Returns the cosine between two patterns, -1 to 1; 0 where one of them is no pattern at all.
pub fn cosine(one: &[f64], other: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let lengths = (product(one, one) * product(other, other)).sqrt();
    if lengths > 0.0 { (product(one, other) / lengths).clamp(-1.0, 1.0) } else { 0.0 }
}
