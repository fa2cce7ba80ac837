//! Allowed values of model parameters, for documents and for fitting.

use std::fmt::{self, Display};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;

use contract::{DetectorKind, Span};

use crate::classify::{ClassModels, GradientBoosting};
use crate::models::{
    Adaptive, Autoencoder, DecisionTree, Diagnose, IsolationForest, Mahalanobis, Models,
    OneClassSvm, RandomForest, ZScore,
};
use crate::search::Search;

/// A parameter that is not what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    /// The parameter, as the document names it below its model.
    pub field: String,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub expected: String,
}

impl Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for OutOfRange {}

impl OutOfRange {
    fn below(self, field: &str) -> Self {
        Self { field: format!("{field}.{}", self.field), ..self }
    }
}

/// Parameters that say whether each of them is what it may be.
pub trait Ranges {
    /// Returns the first parameter that is not.
    fn check(&self) -> Result<(), OutOfRange>;
}

fn require(
    holds: bool,
    field: &str,
    value: impl Display,
    expected: impl FnOnce() -> String,
) -> Result<(), OutOfRange> {
    if holds {
        return Ok(());
    }
    Err(OutOfRange { field: field.to_owned(), value: value.to_string(), expected: expected() })
}

fn words<T: Display>(range: &impl RangeBounds<T>) -> String {
    match (range.start_bound(), range.end_bound()) {
        (Included(least), Included(most)) => format!("{least} to {most}"),
        (Included(least), Excluded(limit)) => format!("from {least} to below {limit}"),
        (Included(least), Unbounded) => format!("{least} or more"),
        (Excluded(limit), Included(most)) => format!("above {limit} and at most {most}"),
        (Excluded(low), Excluded(high)) => format!("above {low} and below {high}"),
        (Excluded(limit), Unbounded) => format!("above {limit}"),
        (Unbounded, Included(most)) => format!("at most {most}"),
        (Unbounded, Excluded(limit)) => format!("below {limit}"),
        (Unbounded, Unbounded) => "a number".to_owned(),
    }
}

fn whole(field: &str, value: u32, range: impl RangeBounds<u32>) -> Result<(), OutOfRange> {
    require(range.contains(&value), field, value, || words(&range))
}

/// What is not finite is outside of every range.
fn number(field: &str, value: f64, range: impl RangeBounds<f64>) -> Result<(), OutOfRange> {
    require(value.is_finite() && range.contains(&value), field, value, || words(&range))
}

fn search(search: Option<&Search>) -> Result<(), OutOfRange> {
    search.map_or(Ok(()), |search| search.check().map_err(|error| error.below("search")))
}

impl Models {
    /// Returns the first kind of model with a parameter that is not what it may be.
    pub(crate) fn check_ranges(&self) -> Result<(), (&'static str, OutOfRange)> {
        for kind in DetectorKind::ALL {
            if let Some(settings) = self.settings(*kind) {
                settings.check().map_err(|error| (kind.name(), error))?;
            }
        }
        let diagnose = self.diagnose.as_ref().map_or(Ok(()), Ranges::check);
        diagnose.map_err(|error| (Self::DIAGNOSE, error))
    }
}

impl ClassModels {
    /// Returns the first kind of model with a parameter that is not what it may be.
    pub(crate) fn check_ranges(&self) -> Result<(), (&'static str, OutOfRange)> {
        let of = |kind, checked: Option<Result<(), OutOfRange>>| {
            checked.unwrap_or(Ok(())).map_err(|error| (kind, error))
        };
        of("decision_tree", self.decision_tree.as_ref().map(Ranges::check))?;
        of("gradient_boosting", self.gradient_boosting.as_ref().map(Ranges::check))?;
        of("random_forest", self.random_forest.as_ref().map(Ranges::check))
    }
}

impl Ranges for GradientBoosting {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("rounds", self.rounds, 1..=1000)?;
        number("learning_rate", self.learning_rate, (Excluded(0.0), Included(1.0)))?;
        whole("max_depth", self.max_depth, 1..=16)?;
        whole("min_leaf_rows", self.min_leaf_rows, 1..)?;
        number("l2", self.l2, 0.0..=1e6)?;
        number("column_share", self.column_share, (Excluded(0.0), Included(1.0)))
    }
}

impl Ranges for Adaptive {
    fn check(&self) -> Result<(), OutOfRange> {
        for (field, span) in [
            ("mean_half_life", self.mean_half_life),
            ("variance_half_life", self.variance_half_life),
        ] {
            require(span > Span::ZERO, field, span, || "greater than 0s".to_owned())?;
        }
        // A fitted model is read back within the same bounds.
        for (field, value) in [
            ("cap", self.cap),
            ("clip", self.clip),
            ("min_range_share", self.min_range_share),
            ("min_std", self.min_std),
            ("ridge", self.ridge),
        ] {
            number(field, value, 1e-6..=1e6)?;
        }
        for (field, windows) in
            [("window_rows", &self.window_rows), ("gate_window_rows", &self.gate_window_rows)]
        {
            let fits = windows.len() <= 8 && windows.iter().all(|rows| (2..=1440).contains(rows));
            require(fits, field, format!("{windows:?}"), || {
                "at most 8 windows of 2 to 1440 rows".to_owned()
            })?;
        }
        whole("folds", self.folds, 2..=20)?;
        whole("gate_rows", self.gate_rows, 1..=1440)?;
        whole("stay_rows", self.stay_rows, 0..=1440)?;
        number("gate_share", self.gate_share, 0.0..=1.0)
    }
}

impl Ranges for Autoencoder {
    fn check(&self) -> Result<(), OutOfRange> {
        let layers = &self.layers;
        let fits =
            (1..=16).contains(&layers.len()) && layers.iter().all(|size| (1..=4096).contains(size));
        require(fits, "layers", format!("{layers:?}"), || "1 to 16 sizes of 1 to 4096".to_owned())?;
        whole("epochs", self.epochs, 1..=10_000)?;
        whole("batch", self.batch, 1..)?;
        number("learning_rate", self.learning_rate, (Excluded(0.0), Included(1.0)))?;
        number("noise", self.noise, 0.0..=100.0)?;
        search(self.search.as_ref())
    }
}

impl Ranges for DecisionTree {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("max_depth", self.max_depth, 1..=64)?;
        whole("min_leaf_rows", self.min_leaf_rows, 1..)
    }
}

impl Ranges for RandomForest {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("trees", self.trees, 1..=10_000)?;
        whole("max_depth", self.max_depth, 1..=64)?;
        whole("min_leaf_rows", self.min_leaf_rows, 1..)?;
        self.split_columns.map_or(Ok(()), |columns| whole("split_columns", columns, 1..))
    }
}

impl Ranges for Diagnose {
    fn check(&self) -> Result<(), OutOfRange> {
        self.random_forest.check().map_err(|error| error.below("random_forest"))?;
        number("min_probability", self.min_probability, 0.0..=1.0)?;
        number("min_likeness", self.min_likeness, -1.0..=1.0)?;
        number("likeness_weight", self.likeness_weight, 0.0..=1000.0)
    }
}

impl Ranges for IsolationForest {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("trees", self.trees, 1..=10_000)?;
        whole("samples", self.samples, 2..=65_536)?;
        search(self.search.as_ref())
    }
}

impl Ranges for Mahalanobis {
    fn check(&self) -> Result<(), OutOfRange> {
        number("ridge", self.ridge, 0.0..)?;
        number("min_std", self.min_std, 0.0..)?;
        search(self.search.as_ref())
    }
}

impl Ranges for OneClassSvm {
    fn check(&self) -> Result<(), OutOfRange> {
        number("nu", self.nu, (Excluded(0.0), Included(1.0)))?;
        if let Some(gamma) = self.gamma {
            number("gamma", gamma, (Excluded(0.0), Included(1e6)))?;
        }
        number("tolerance", self.tolerance, 1e-12..1.0)?;
        whole("cache_mib", self.cache_mib, 1..)?;
        whole("max_exact_rows", self.max_exact_rows, 2..)?;
        search(self.search.as_ref())
    }
}

impl Ranges for ZScore {
    fn check(&self) -> Result<(), OutOfRange> {
        number("threshold", self.threshold, 0.0..)?;
        search(self.search.as_ref())
    }
}

impl Ranges for Search {
    fn check(&self) -> Result<(), OutOfRange> {
        whole("trials", self.trials, 1..=10_000)
    }
}
