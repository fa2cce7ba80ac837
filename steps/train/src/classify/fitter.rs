//! The kinds of class models behind one interface.

use contract::StepError;
use detectors::class_trees::Classes;
use detectors::decision_tree::fit::DecisionTreeParams;
use detectors::fit::{FitError, FitOptions, parameters};
use detectors::gradient_boosting::fit as boosting;
use detectors::random_forest::fit::{ForestOptions, RandomForestParams};
use detectors::settings::{DecisionTree, GradientBoosting, RandomForest};
use document::classify::ClassModels;
use linfa::ParamGuard as _;
use linfa::traits::Fit as _;
use models::classify::ClassModel;
use serde_json::Value;

use super::rows::ClassRows;

/// Maximum number of rows that a tree of a forest is grown on: rows of an entity are alike.
const FOREST_ROWS: usize = 8000;

/// Maximum number of rows that boosted trees are fitted on, evenly spaced: rows of an entity are
/// alike.
const BOOSTING_ROWS: usize = 16_000;

/// A kind of model and its parameters.
#[derive(Debug, Clone)]
pub(crate) enum Fitter {
    Tree(DecisionTree),
    Boosting(GradientBoosting),
    Forest(RandomForest),
}

impl Fitter {
    /// Returns the kind that the document sets.
    pub(crate) fn of(models: &ClassModels, kind: &str) -> Result<Self, StepError> {
        let fitter = match kind {
            "decision_tree" => models.decision_tree.clone().map(Self::Tree),
            detectors::gradient_boosting::KIND => {
                models.gradient_boosting.clone().map(Self::Boosting)
            }
            "random_forest" => models.random_forest.clone().map(Self::Forest),
            _ => None,
        };
        fitter.ok_or_else(|| {
            let set = models.kinds();
            let error = StepError::usage(format!("`classify.models` has no model `{kind}`"));
            match document::closest(kind, set.iter().copied()) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error.hint(format!("it has {}", set.join(", "))),
            }
        })
    }

    pub(crate) fn parameters(&self) -> Value {
        match self {
            Self::Tree(settings) => parameters(settings),
            Self::Boosting(settings) => parameters(settings),
            Self::Forest(settings) => parameters(settings),
        }
    }

    /// Fits on some rows; the same rows and seed give the same model at any number of threads.
    pub(crate) fn fit(
        &self,
        data: &ClassRows,
        rows: &[usize],
        options: FitOptions,
    ) -> Result<ClassModel, FitError> {
        let every = match self {
            Self::Boosting(_) => rows.len().div_ceil(BOOSTING_ROWS).max(1),
            Self::Tree(_) | Self::Forest(_) => 1,
        };
        let dataset = data.dataset(&rows.iter().copied().step_by(every).collect::<Vec<usize>>());
        let normal = vec![false; data.classes.len()];
        let classes = Classes { names: data.classes.clone(), normal };
        match self {
            Self::Tree(settings) => {
                let params = DecisionTreeParams::new(settings.clone(), classes);
                params.check_ref()?.fit(&dataset).map(ClassModel::Trees)
            }
            Self::Boosting(settings) => {
                let rows = (&dataset.records, &dataset.targets);
                boosting::fit(settings, rows, classes, options).map(ClassModel::Boosted)
            }
            Self::Forest(settings) => {
                let rows_of_a_tree = Some(FOREST_ROWS);
                let options = ForestOptions { classes, fit: options, rows_of_a_tree };
                let params = RandomForestParams::new(settings.clone(), options);
                params.check_ref()?.fit(&dataset).map(ClassModel::Trees)
            }
        }
    }
}
