//! Fitting a random forest (Breiman, 2001): every tree has its own seed and as many rows as the
//! data set, drawn with replacement, and columns are drawn for each split.
//!
//! Columns are drawn for each split, not once per tree, because a tree without the one column that
//! distinguishes two classes would be useless.

use contract::Outcome;
use linfa::ParamGuard as _;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::{Array1, Array2};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::settings::RandomForest as Settings;
use crate::ClassTrees;
use crate::class_trees::Classes;
use crate::fit::class_tree::{Grower, Grown, Growth, Member, Sample};
use crate::fit::{
    self, ClassesJob, FitError, FitOptions, FittedClasses, Fitter, Params, ValidParams, rows,
    supervised,
};

/// What a random forest uses besides its settings and rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestOptions {
    /// The classes; targets are their indices.
    pub classes: Classes,
    /// Seed and threads; the forest does not depend on the number of threads.
    pub fit: FitOptions,
    /// Rows drawn for each tree; `None` means as many as the data set has.
    pub rows_of_a_tree: Option<usize>,
}

/// Parameters of the random forest.
pub type RandomForestParams = Params<Settings, ForestOptions>;

impl ValidParams<Settings, ForestOptions> {
    fn growth(&self, columns: usize) -> Growth {
        let Settings { max_depth, min_leaf_rows, split_columns, .. } = self.settings;
        // As in scikit-learn: the square root, rounded down.
        let split_columns = split_columns.map_or(columns.isqrt().max(1), |count| count as usize);
        Growth { max_depth, min_leaf_rows, split_columns }
    }
}

/// How the kind is fitted.
pub(crate) const FITTER: Fitter = Fitter::Classes(fit);

/// Fits the model that a document sets.
fn fit(job: &ClassesJob<'_>, outcome: &mut Outcome) -> Result<FittedClasses, FitError> {
    let settings = job.models.random_forest.clone().unwrap_or_default();
    let parameters = fit::parameters(&settings);
    let classes = job.labelled.classes.clone();
    let options = ForestOptions { classes, fit: job.options, rows_of_a_tree: None };
    let params = RandomForestParams::new(settings, options);
    supervised::detector(job, parameters, outcome, |rows| params.check_ref()?.fit(rows))
}

impl Fit<Array2<f64>, Array1<usize>, FitError> for ValidParams<Settings, ForestOptions> {
    type Object = ClassTrees;

    fn fit(
        &self,
        dataset: &DatasetBase<Array2<f64>, Array1<usize>>,
    ) -> Result<ClassTrees, FitError> {
        let ForestOptions { classes, fit: options, rows_of_a_tree } = &self.extra;
        let weights = self.settings.class_weights;
        let sample = Sample::new(&dataset.records, &dataset.targets, classes, weights)?;
        let growth = self.growth(sample.columns());
        let grow = |number: u64| {
            let mut random = ChaCha8Rng::seed_from_u64(options.seed);
            random.set_stream(number);
            let mut copies = vec![0_u32; sample.rows()];
            let drawn = rows_of_a_tree.unwrap_or(copies.len()).min(copies.len());
            (0..drawn).for_each(|_| copies[rows::below(&mut random, sample.rows())] += 1);
            let drawn = (0..).zip(copies).filter(|(_, copies)| *copies > 0);
            let members = drawn.map(|(row, copies)| Member { row, copies }).collect();
            Grower::new(&sample, growth, random).grow(members)
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.max(1)).build()?;
        let numbers = 0..u64::from(self.settings.trees);
        let grown = pool.install(|| numbers.into_par_iter().map(grow).collect::<Vec<Grown>>());
        sample.model("random_forest", classes.clone(), grown)
    }
}
