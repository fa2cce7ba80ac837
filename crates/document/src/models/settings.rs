//! The settings of a detector, whichever kind it is.

use contract::DetectorKind;

use super::{
    Adaptive, Autoencoder, DecisionTree, IsolationForest, Mahalanobis, Models, OneClassSvm,
    RandomForest, ZScore,
};
use crate::classify::GradientBoosting;
use crate::ranges::Ranges;
use crate::search::Search;

/// What the settings of every kind of detector say.
pub trait DetectorSettings: Ranges {
    /// Returns the search for parameters that they ask for.
    fn search(&self) -> Option<&Search> {
        None
    }
}

/// Declares which settings may ask for a search.
macro_rules! searched {
    ($($settings:ident),*) => {
        $(impl DetectorSettings for $settings {
            fn search(&self) -> Option<&Search> {
                self.search.as_ref()
            }
        })*
    };
}

searched!(Autoencoder, IsolationForest, Mahalanobis, OneClassSvm, ZScore);

impl DetectorSettings for Adaptive {}
impl DetectorSettings for DecisionTree {}
impl DetectorSettings for GradientBoosting {}
impl DetectorSettings for RandomForest {}

impl Models {
    /// Returns the settings of a kind of detector; `None` if it is not set.
    pub fn settings(&self, kind: DetectorKind) -> Option<&dyn DetectorSettings> {
        fn set<T: DetectorSettings>(settings: Option<&T>) -> Option<&dyn DetectorSettings> {
            settings.map(|settings| settings as &dyn DetectorSettings)
        }
        match kind {
            DetectorKind::Adaptive => set(self.adaptive.as_ref()),
            DetectorKind::Autoencoder => set(self.autoencoder.as_ref()),
            DetectorKind::DecisionTree => set(self.decision_tree.as_ref()),
            DetectorKind::GradientBoosting => set(self.gradient_boosting.as_ref()),
            DetectorKind::IsolationForest => set(self.isolation_forest.as_ref()),
            DetectorKind::Mahalanobis => set(self.mahalanobis.as_ref()),
            DetectorKind::OneClassSvm => set(self.one_class_svm.as_ref()),
            DetectorKind::RandomForest => set(self.random_forest.as_ref()),
            DetectorKind::ZScore => set(self.z_score.as_ref()),
        }
    }

    /// Returns the search for parameters that a kind's settings ask for.
    pub fn search(&self, kind: DetectorKind) -> Option<&Search> {
        self.settings(kind)?.search()
    }

    pub(super) fn set(&self) -> impl Iterator<Item = DetectorKind> {
        DetectorKind::ALL.iter().copied().filter(|kind| self.settings(*kind).is_some())
    }
}
