//! Models of `task: classify`: class probabilities of a row, evidence of an entity over its
//! windows, the usual range of each class, and the bundle.

pub mod bundle;
pub mod evidence;
pub mod judge;
pub mod profile;

use contract::StepError;
use detectors::class_trees::{self, Calibration, ClassTrees};
use detectors::detector::Detector as _;
use detectors::gradient_boosting::{self, BoostedTrees};

use crate::Tensors;

pub use bundle::ClassBundle;
pub use evidence::EntityEvidence;
pub use profile::Profiles;

/// A model that gives each row a probability of each class.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassModel {
    /// A decision tree or a random forest.
    Trees(ClassTrees),
    /// Gradient-boosted trees.
    Boosted(BoostedTrees),
}

impl ClassModel {
    /// Returns the kind of model, as the document names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trees(trees) => trees.kind(),
            Self::Boosted(_) => gradient_boosting::KIND,
        }
    }

    /// Returns the classes, in the order of their names.
    pub fn classes(&self) -> &[String] {
        match self {
            Self::Trees(trees) => &trees.classes().names,
            Self::Boosted(trees) => trees.classes(),
        }
    }

    /// Returns the number of columns of a row.
    pub fn columns(&self) -> usize {
        match self {
            Self::Trees(trees) => trees.columns(),
            Self::Boosted(trees) => trees.columns(),
        }
    }

    /// Returns the share of each class before calibration; they sum to 1.
    ///
    /// # Panics
    /// If the row does not have the columns of the model.
    pub fn shares(&self, row: &[f64]) -> Vec<f64> {
        assert_eq!(row.len(), self.columns(), "a row has the columns of the model");
        match self {
            Self::Trees(trees) => trees.mean_shares(row),
            Self::Boosted(trees) => trees.shares(row),
        }
    }

    /// Returns how shares become probabilities.
    pub fn calibration(&self) -> Calibration {
        match self {
            Self::Trees(trees) => trees.calibration(),
            Self::Boosted(trees) => trees.calibration(),
        }
    }

    /// Sets how shares become probabilities.
    pub fn calibrated(self, calibration: Calibration) -> Result<Self, StepError> {
        Ok(match self {
            Self::Trees(trees) => Self::Trees(trees.calibrated(calibration)?),
            Self::Boosted(trees) => Self::Boosted(trees.calibrated(calibration)?),
        })
    }

    /// Returns the probability of each class; they sum to 1.
    ///
    /// # Panics
    /// If the row does not have the columns of the model.
    pub fn probabilities(&self, row: &[f64]) -> Vec<f64> {
        let mut shares = self.shares(row);
        self.calibration().apply(&mut shares);
        shares
    }

    /// Returns each column's share in what the splits gained; they sum to 1, or are all 0 without a
    /// split.
    pub fn importance(&self) -> &[f64] {
        match self {
            Self::Trees(trees) => trees.importance(),
            Self::Boosted(trees) => trees.importance(),
        }
    }

    /// Returns the bytes of the model's safetensors file; the same model gives the same bytes.
    pub fn save(&self) -> Result<Vec<u8>, StepError> {
        match self {
            Self::Trees(trees) => crate::save(trees),
            Self::Boosted(trees) => crate::save(trees),
        }
    }

    /// Reads a model of a kind from the bytes of its file; an invalid file is refused.
    pub fn load(kind: &str, bytes: &[u8]) -> Result<Self, StepError> {
        let mut tensors = Tensors::decode(kind, bytes)?;
        let model = match class_trees::KINDS.into_iter().find(|known| *known == kind) {
            Some(kind) => Self::Trees(ClassTrees::read(kind, &mut tensors)?),
            None if kind == gradient_boosting::KIND => {
                Self::Boosted(BoostedTrees::read(&mut tensors)?)
            }
            None => {
                return Err(StepError::refused(format!("`{kind}` is not a kind of class model"))
                    .hint(format!(
                        "this version knows {} and {}",
                        class_trees::KINDS.join(", "),
                        gradient_boosting::KIND
                    )));
            }
        };
        tensors.finish()?;
        Ok(model)
    }
}
