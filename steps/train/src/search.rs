//! A search for a model's parameters: random trials with successive halving.
//!
//! Trials are fitted on every ninth row of the training part, the better third of them on every
//! third, and the better third of those on all (Jamieson, Talwalkar: Non-stochastic best arm
//! identification and hyperparameter optimization, 2016). They are ranked on the validation part
//! alone, by its labels where it has anomalies, otherwise by how well they find injected faults
//! ([`criterion`]). The document's own parameters are the first trial and are never dropped, so the
//! kept parameters are no worse than the document's on the validation part.

pub mod criterion;

use std::time::Instant;

use contract::trial::Trial;
use contract::{DetectorKind, StepError};
use detectors::fit::{FitError, space};
use detectors::ranges::Ranges as _;
use detectors::search::Search;
use frames::FeatureTable;
use models::Model;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::Value;

use criterion::Criterion;

/// Stride through the training rows of each round.
const STRIDES: [usize; 3] = [9, 3, 1];

/// One in this number of trials reaches the next round.
const KEPT_OF: usize = 3;

/// Draws after which a trial is left out, since all of them were drawn before.
const DRAWS: usize = 100;

/// Minimum number of rows that a round is fitted on; a round with fewer is left out.
const FEWEST_ROWS: usize = 200;

/// The trials, and the parameters that were kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Searched {
    /// All trials, by number.
    pub trials: Vec<Trial>,
    /// The parameters of the trial that was kept.
    pub parameters: Value,
}

/// What is searched, and on what.
pub struct Hunt<'a> {
    /// The kind of model.
    pub kind: DetectorKind,
    /// The document's own parameters.
    pub parameters: Value,
    /// Number of trials, and their ranking metric.
    pub search: &'a Search,
    /// Trials are drawn, and models fitted, from this seed.
    pub seed: u64,
    /// Number of parallel trials; the result does not depend on it.
    pub threads: usize,
    /// Rows to fit on.
    pub train: &'a FeatureTable,
    /// Rows to rank by.
    pub validation: &'a FeatureTable,
    /// Labels that mean normal.
    pub normal: &'a [String],
}

impl Hunt<'_> {
    /// Runs the trials; `fit` fits the kind with parameters on rows, on one thread.
    ///
    /// Errors: usage for a number of trials out of its range, or a metric that needs labels
    /// which the validation part does not have; refused where the validation part is too short, or
    /// the document's own parameters cannot be fitted.
    pub fn run(
        &self,
        fit: impl Fn(&Value, &FeatureTable) -> Result<Model, FitError> + Sync,
    ) -> Result<Searched, StepError> {
        self.search.check().map_err(|error| FitError::from(error).of_model(self.kind.name()))?;
        let criterion = Criterion::new(self)?;
        let mut trials = self.draw(&criterion);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads.max(1)).build();
        let pool = pool.map_err(|error| FitError::from(error).of_model(self.kind.name()))?;
        let mut standing: Vec<usize> = (0..trials.len()).collect();
        let strides = STRIDES.iter().copied();
        let rows = self.train.rows();
        for stride in strides.filter(|stride| *stride == 1 || rows / stride >= FEWEST_ROWS) {
            let chosen: Vec<usize> = (0..rows).step_by(stride).collect();
            let part = self.train.select(&chosen);
            let reach = |number: &usize| {
                let start = Instant::now();
                let model = fit(&trials[*number].parameters, &part);
                (model.map(|model| criterion.value(&model)), start.elapsed().as_secs_f64())
            };
            let reached: Vec<_> = pool.install(|| standing.par_iter().map(reach).collect());
            for (number, (value, seconds)) in standing.iter().zip(reached) {
                let trial = &mut trials[*number];
                trial.rows = part.rows();
                trial.seconds = Some(trial.seconds.unwrap_or(0.0) + seconds);
                trial.value = match value {
                    Ok(value) => Some(value).filter(|value| value.is_finite()),
                    // Drawn parameters may be unsuitable for the rows, but the document's own must
                    // be suitable.
                    Err(error) if *number == 0 => return Err(error.of_model(self.kind.name())),
                    Err(_) => None,
                };
            }
            if stride != 1 {
                standing = best(&trials, &standing);
            }
        }
        let kept = best(&trials, &standing)[0];
        trials[kept].kept = true;
        Ok(Searched { parameters: trials[kept].parameters.clone(), trials })
    }

    fn draw(&self, criterion: &Criterion) -> Vec<Trial> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let metric = criterion.metric();
        let columns = self.train.table.columns.len();
        let data = space::Data { columns, labelled: criterion.is_labelled() };
        let mut all = vec![self.parameters.clone()];
        for _ in 1..self.search.trials {
            // Parameters with few values may be drawn twice; if no others are left, there are fewer
            // trials than requested.
            let drawn = (0..DRAWS)
                .map(|_| space::draw(self.kind, &self.parameters, data, &mut random))
                .find(|drawn| !all.contains(drawn));
            all.extend(drawn);
        }
        let trial = |(trial, parameters)| Trial {
            trial,
            parameters,
            metric: metric.to_owned(),
            value: None,
            rows: 0,
            kept: false,
            seconds: None,
        };
        (0..).zip(all).map(trial).collect()
    }
}

/// Returns the better third of the trials, the best first and of equal ones the earlier, and the
/// document's own.
fn best(trials: &[Trial], standing: &[usize]) -> Vec<usize> {
    let value = |number: &usize| trials[*number].value.unwrap_or(f64::NEG_INFINITY);
    let mut order = standing.to_vec();
    order.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
    let kept = standing.len().div_ceil(KEPT_OF);
    let own = order.iter().skip(kept).position(|number| *number == 0);
    order.truncate(kept);
    order.extend(own.map(|_| 0));
    order
}
