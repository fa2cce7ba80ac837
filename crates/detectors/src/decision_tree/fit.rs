//! Fitting a decision tree.

use contract::Outcome;
use linfa::ParamGuard as _;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::{Array1, Array2};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::settings::DecisionTree as Settings;
use crate::ClassTrees;
use crate::class_trees::Classes;
use crate::fit::class_tree::{Grower, Growth, Member, Sample};
use crate::fit::{
    self, ClassesJob, FitError, FittedClasses, Fitter, Params, ValidParams, supervised,
};

/// Parameters of the decision tree, with the classes: targets are their indices.
pub type DecisionTreeParams = Params<Settings, Classes>;

/// How the kind is fitted.
pub(crate) const FITTER: Fitter = Fitter::Classes(fit);

/// Fits the model that a document sets.
fn fit(job: &ClassesJob<'_>, outcome: &mut Outcome) -> Result<FittedClasses, FitError> {
    let settings = job.models.decision_tree.clone().unwrap_or_default();
    let parameters = fit::parameters(&settings);
    let params = DecisionTreeParams::new(settings, job.labelled.classes.clone());
    supervised::detector(job, parameters, outcome, |rows| params.check_ref()?.fit(rows))
}

impl ValidParams<Settings, Classes> {
    fn growth(&self, columns: usize) -> Growth {
        let Settings { max_depth, min_leaf_rows, .. } = self.settings;
        Growth { max_depth, min_leaf_rows, split_columns: columns }
    }
}

impl Fit<Array2<f64>, Array1<usize>, FitError> for ValidParams<Settings, Classes> {
    type Object = ClassTrees;

    fn fit(
        &self,
        dataset: &DatasetBase<Array2<f64>, Array1<usize>>,
    ) -> Result<ClassTrees, FitError> {
        let weights = self.settings.class_weights;
        let sample = Sample::new(&dataset.records, &dataset.targets, &self.extra, weights)?;
        let rows = 0..u32::try_from(sample.rows()).unwrap_or(u32::MAX);
        let members = rows.map(|row| Member { row, copies: 1 }).collect();
        let growth = self.growth(sample.columns());
        // Every column is tried at every split, so no random numbers are used.
        let random = ChaCha8Rng::seed_from_u64(0);
        let grown = Grower::new(&sample, growth, random).grow(members);
        sample.model("decision_tree", self.extra.clone(), vec![grown])
    }
}
