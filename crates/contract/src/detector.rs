//! The kinds of detectors: one table from which settings, use and fitting take theirs, so a kind that
//! lacks one of them does not compile.

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

/// Passes the table of the kinds to the macro of a name: a line for each kind with its name, its
/// variant of [`DetectorKind`] and its [`Shape`], in the order of the names.
///
/// The name of a kind is also the name of its module in the crate `detectors`. The module has the
/// constant `READER`, its module `settings` the settings, named like the variant, and its module
/// `fit` the constant `FITTER`.
#[macro_export]
macro_rules! detectors {
    ($macro:ident) => {
        $macro! {
            /// Follows the slow drift of each signal, and scores how unlikely the departures of all
            /// signals are together.
            adaptive: Adaptive(Sequence),
            /// A network that learns to reproduce normal rows through a bottleneck.
            autoencoder: Autoencoder(Rows),
            /// A tree that distinguishes labelled classes.
            decision_tree: DecisionTree(Classes),
            /// Trees that distinguish labelled classes, each correcting the trees before it.
            gradient_boosting: GradientBoosting(Classes),
            /// Random trees that isolate rare rows early.
            isolation_forest: IsolationForest(Rows),
            /// Mahalanobis distance with a shrunk covariance.
            mahalanobis: Mahalanobis(Rows),
            /// A boundary around the normal rows.
            one_class_svm: OneClassSvm(Rows),
            /// Many trees that distinguish labelled classes, each fitted on a sample of rows.
            random_forest: RandomForest(Classes),
            /// Columns outside their usual range: the simplest baseline.
            z_score: ZScore(Rows),
        }
    };
}

/// Declares [`DetectorKind`].
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $kind:ident($shape:ident),)*) => {
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
                    $(Self::$kind => stringify!($name),)*
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

detectors!(kinds);

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
