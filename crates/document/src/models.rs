//! The models of a pipeline: one file for each kind, with its settings, their ranges, and whether
//! it allows a search.
//!
//! To add a kind of detector: add its line to `contract::detectors`, and write its file and module
//! here.

pub mod adaptive;
pub mod autoencoder;
pub mod decision_tree;
pub mod diagnose;
pub mod gradient_boosting;
pub mod isolation_forest;
pub mod mahalanobis;
pub mod one_class_svm;
pub mod random_forest;
pub mod z_score;

use contract::detector::{DetectorKind, Shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ranges::Ranges;
use crate::search::Search;

pub use diagnose::Diagnose;

/// Common interface of the settings of all kinds of detectors.
pub trait DetectorSettings: Ranges {
    /// Returns the search for parameters, if it is set.
    fn search(&self) -> Option<&Search> {
        None
    }
}

/// Declares the field of each kind of detector, which has the name of its module, with its settings,
/// which have the name of the kind.
macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $kind:ident($shape:ident),)*) => {
        $(pub use $field::$kind;)*

        /// The models of a pipeline: each kind that is set is trained and votes.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Models {
            $(
                $(#[$doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$kind>,
            )*
            /// Names the kind of fault of an alarm; it has no vote.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub diagnose: Option<Diagnose>,
        }

        impl Models {
            /// Returns the settings of a kind of detector; `None` if it is not set.
            pub fn settings(&self, kind: DetectorKind) -> Option<&dyn DetectorSettings> {
                match kind {
                    $(DetectorKind::$kind => {
                        self.$field.as_ref().map(|settings| settings as &dyn DetectorSettings)
                    })*
                }
            }
        }
    };
}

contract::detectors!(settings);

impl Models {
    /// Name of the second stage, as in `train --model`.
    pub const DIAGNOSE: &str = "diagnose";

    fn set(&self) -> impl Iterator<Item = DetectorKind> {
        DetectorKind::ALL.iter().copied().filter(|kind| self.settings(*kind).is_some())
    }

    /// Returns the kinds of detectors that are set, in the order of their names.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.set().map(DetectorKind::name).collect()
    }

    /// Returns all models that are trained: the detectors, then [`Models::DIAGNOSE`] if it is set.
    pub fn trained(&self) -> Vec<&'static str> {
        let diagnose = self.diagnose.as_ref().map(|_| Self::DIAGNOSE);
        self.kinds().into_iter().chain(diagnose).collect()
    }

    /// Returns the search for parameters of a kind, if it is set.
    pub fn search(&self, kind: DetectorKind) -> Option<&Search> {
        self.settings(kind)?.search()
    }

    /// Returns whether a model is fitted on labelled rows, including anomalous ones.
    pub fn learn_from_labels(&self) -> bool {
        self.diagnose.is_some() || self.set().any(|kind| kind.shape() == Shape::Classes)
    }
}

/// Scaling of a model's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Training minimum to 0, training maximum to 1.
    MinMax,
    /// Training mean to 0, training standard deviation to 1.
    ZScore,
    /// Training median to 0, training interquartile range to 1.
    Robust,
}

/// Weight of the rows of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// Every class has the same weight, also with few rows.
    Balanced,
    /// Every row has the same weight.
    Rows,
}
