//! The models of a pipeline, with the settings of each.

use contract::detector::{DetectorKind, Shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ranges::{DetectorSettings, OutOfRange, Ranges};
use crate::search::Search;

pub use crate::diagnosis::settings::Diagnose;

/// Declares the field of each kind of detector, which has the name of its module, with its settings,
/// which have the name of the kind.
macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $kind:ident($shape:ident),)*) => {
        $(pub use crate::$field::settings::$kind;)*

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

    /// Returns the first kind of model with a parameter that is not what it may be.
    pub fn check_ranges(&self) -> Result<(), (&'static str, OutOfRange)> {
        for kind in DetectorKind::ALL {
            if let Some(settings) = self.settings(*kind) {
                settings.check().map_err(|error| (kind.name(), error))?;
            }
        }
        let diagnose = self.diagnose.as_ref().map_or(Ok(()), Ranges::check);
        diagnose.map_err(|error| (Self::DIAGNOSE, error))
    }
}
