//! The kinds of detectors: one table that the document, the models and the training read.
//!
//! Each of them matches on every [`DetectorKind`], so a kind that one of them does not handle does
//! not compile.

/// What a detector is fitted on and how it scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Fitted on normal rows; it scores each row by itself.
    Rows,
    /// Fitted on normal rows in order of time; it scores them in that order and keeps a state.
    Sequence,
    /// Fitted on labelled rows, anomalous ones too; it scores each row by itself.
    Classes,
}

/// Declares the kinds, one line each, in the order of their names.
macro_rules! detectors {
    ($($(#[$doc:meta])* $kind:ident($name:literal, $shape:ident),)*) => {
        /// A kind of detector.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DetectorKind {
            $($(#[$doc])* $kind,)*
        }

        impl DetectorKind {
            /// Every kind, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Returns the name in a document, in a bundle and as `train --model` takes it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// Returns what it is fitted on and how it scores.
            pub const fn shape(self) -> Shape {
                match self {
                    $(Self::$kind => Shape::$shape,)*
                }
            }
        }
    };
}

detectors! {
    /// Follows slow drift.
    Adaptive("adaptive", Sequence),
    /// A network with a bottleneck.
    Autoencoder("autoencoder", Rows),
    /// One tree of labelled classes.
    DecisionTree("decision_tree", Classes),
    /// Trees of labelled classes that each correct those before.
    GradientBoosting("gradient_boosting", Classes),
    /// Random trees that isolate rare rows.
    IsolationForest("isolation_forest", Rows),
    /// Mahalanobis distance.
    Mahalanobis("mahalanobis", Rows),
    /// A boundary around normal rows.
    OneClassSvm("one_class_svm", Rows),
    /// Many trees of labelled classes.
    RandomForest("random_forest", Classes),
    /// The simplest baseline.
    ZScore("z_score", Rows),
}

impl DetectorKind {
    /// Returns the kind of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Returns the names of all kinds, in their order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|kind| kind.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_they_are_in_order() {
        let names: Vec<&str> = DetectorKind::names().collect();
        assert!(names.is_sorted() && names.windows(2).all(|two| two[0] != two[1]));
        assert!(
            DetectorKind::ALL.iter().all(|kind| DetectorKind::named(kind.name()) == Some(*kind))
        );
        assert_eq!(DetectorKind::named("nothing"), None);
    }
}
