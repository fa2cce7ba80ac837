//! Fitting an adaptive model.
//!
//! A first pass over the rows finds each column's centre and scale; a second pass updates the state
//! of the signals and computes the moments of the window features, fold by fold, and the rows that
//! are furthest from usual; a third pass scores every row by distances that were fitted without its
//! fold. Neither all rows nor all features are in memory at once: a thousand entities over ten days
//! are 3 GB, and their features are seven times as large.

mod columns;
mod extremes;
mod moments;
mod pass;
mod rows;

use contract::{FeatureContract, Outcome, Span, Timestamp};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::Array2;

use self::columns::{Overview, Scale};
use self::extremes::Known;
use self::moments::Moments;
use self::pass::Pass;
use self::rows::InMemory;
use super::settings::Adaptive as Settings;
use super::{Adaptive, Distance, Following, Gate, Long, Memory};
use crate::Training;
use crate::fit::parts::Rows;
use crate::fit::{self, FitError, Fitter, Params, ValidParams};
use crate::numbers::quantile;
use crate::ranges::Ranges as _;
use crate::settings::Models;

/// Minimum number of rows to fit on.
const FEWEST_ROWS: usize = contract::least::TRAIN_ROWS;

/// Time and entity of each row of the records.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Distance between rows.
    pub step: Span,
    /// Time of each row.
    pub times: Vec<Timestamp>,
    /// Entity of each row.
    pub entities: Vec<String>,
    /// Returns which rows count as normal. The others update the state, as in scoring, but are not
    /// used for fitting.
    pub normal: Vec<bool>,
}

/// Parameters of the adaptive model, with the order of the records to be fitted on.
pub type AdaptiveParams = Params<Settings, Order>;

/// How the kind is fitted.
pub(crate) const FITTER: Fitter = Fitter::Sequence(fit);

/// Fits the model that a document sets on the rows of a data set.
fn fit(
    models: &Models,
    rows: &dyn Rows,
    contract: &FeatureContract,
    outcome: &mut Outcome,
) -> Result<fit::Fitted, FitError> {
    let settings = models.adaptive.clone().unwrap_or_default();
    let fitted = fit_rows(&settings, &rows)?;
    let with_validation: usize = fitted.training.scores.values().map(Vec::len).sum();
    outcome.count("rows_with_validation", with_validation);
    let scales = fitted.model.following().scale.iter();
    let empty = contract.names().into_iter().zip(scales);
    let empty: Vec<&str> =
        empty.filter(|(_, scale)| **scale <= 0.0).map(|(name, _)| name).collect();
    fit::warn_of_empty(&empty, outcome);
    fit::Fitted::sequence(fitted.model, &fitted.training, fit::parameters(&settings))
}

/// A fitted model, and the results of the fitted rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The model.
    pub model: Adaptive,
    /// Scores and memories.
    pub training: Training<Memory>,
}

impl<T> Fit<Array2<f64>, T, FitError> for ValidParams<Settings, Order> {
    type Object = Fitted;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<Fitted, FitError> {
        fit_rows(&self.settings, &InMemory::new(&dataset.records, &self.extra))
    }
}

/// Fits the model on rows that are read part by part, so that memory depends on the number of
/// entities and scores, and not on the rows' features. The threads are rayon's current ones; the
/// model does not depend on how many there are.
pub fn fit_rows(settings: &Settings, rows: &impl Rows) -> Result<Fitted, FitError> {
    settings.check()?;
    let overview = Overview::of(rows)?;
    if overview.columns.is_empty() {
        return Err(FitError::NoColumns);
    }
    if overview.rows < FEWEST_ROWS {
        return Err(FitError::TooFewRows { found: overview.rows, needed: FEWEST_ROWS });
    }
    if !overview.has_values() {
        return Err(FitError::NoValues);
    }
    let following = following(settings, rows.step(), &overview);
    let folds = settings.folds as usize;
    let pass = Pass { rows, following: &following, overview: &overview, folds };
    let (moments, seen, usual) = pass.moments()?;
    if usual < FEWEST_ROWS {
        return Err(FitError::TooFewRows { found: usual, needed: FEWEST_ROWS });
    }
    let [long, short, level] = &moments;
    let columns = overview.columns.len();
    let ridge =
        |least_share, constant| Ridge { most: settings.ridge, least_share, columns, constant };
    let long = Distances::of(long, &ridge(LEAST_RIDGE_SHARE, &following.constant))?;
    let of_gate = ridge(LEAST_GATE_RIDGE_SHARE, &[]);
    let (short, level) = (Distances::of(short, &of_gate)?, Distances::of(level, &of_gate)?);
    let known = Known::new(&long.whole, seen, overview.longest(), rows.step());
    let without = [&long.without[..], &short.without, &level.without];
    let scored = pass.score(without, &known, &long.whole)?;
    let training = Training { scores: scored.long, memories: scored.memories };
    let gate = |distances: Distances, mut scores: Vec<f64>, share: f64| {
        scores.sort_unstable_by(f64::total_cmp);
        Gate { distance: distances.whole, threshold: quantile(&scores, share) }
    };
    let short = gate(short, scored.usual.short, settings.gate_share);
    let level = (following.stay_rows > 0)
        .then(|| gate(level, scored.usual.level, settings.stay_gate_share));
    let long = Long {
        distance: long.whole,
        most_above_short: scored.most_above_short,
        extremes: scored.extremes,
    };
    let model = Adaptive::new(following, long, short, level).map_err(FitError::Model)?;
    Ok(Fitted { model, training })
}

fn following(settings: &Settings, step: Span, overview: &Overview) -> Following {
    let rows = |half_life: Span| half_life.seconds() / step.seconds();
    let least = f64::from(settings.min_half_life_rows);
    let rate = |half_life_rows: f64| 1.0 - 0.5_f64.powf(1.0 / half_life_rows);
    // Level changes over longer times than the training are unknown, so the model follows the
    // level; otherwise a model of a few hundred rows reports every later drift as an anomaly. Even
    // shorter half-lives would learn lasting faults.
    let longest = overview.longest();
    let columns = overview.columns.iter();
    let scales: Vec<Scale> = columns.map(|column| column.scale(settings.min_range_share)).collect();
    let windows = |rows: &[u32]| rows.iter().map(|rows| *rows as usize).collect();
    Following {
        step_ms: step.ms(),
        centre: scales.iter().map(|scale| scale.centre).collect(),
        scale: scales.iter().map(|scale| scale.deviation).collect(),
        constant: (0..scales.len()).filter(|column| scales[*column].is_constant).collect(),
        mean_rate: rate(rows(settings.mean_half_life).min(longest as f64).max(least)),
        variance_rate: rate(rows(settings.variance_half_life).max(least)),
        deviation_floor: settings.min_std,
        cap: settings.cap,
        clip: settings.clip,
        windows: windows(&settings.window_rows),
        gate_windows: windows(&settings.gate_window_rows),
        gate_rows: settings.gate_rows as usize,
        stay_rows: settings.stay_rows as usize,
    }
}

/// Distances fitted without each fold, and on all rows.
struct Distances {
    without: Vec<Distance>,
    whole: Distance,
}

impl Distances {
    fn of(folds: &[Moments], ridge: &Ridge<'_>) -> Result<Self, FitError> {
        let (first, rest) = folds.split_first().ok_or(FitError::Singular)?;
        let mut whole = first.clone();
        rest.iter().for_each(|fold| whole.add(fold));
        let ridge = ridge.of_features(whole.rows(), whole.features());
        let without = folds.iter().map(|fold| whole.without(fold).distance(&ridge));
        Ok(Self { without: without.collect::<Result<_, _>>()?, whole: whole.distance(&ridge)? })
    }
}

/// Smallest share of the ridge that the score over the windows uses.
const LEAST_RIDGE_SHARE: f64 = 1.0 / 6.0;

/// Smallest share of the ridge that the scores of the newest rows use, which have fewer features.
const LEAST_GATE_RIDGE_SHARE: f64 = 1.0 / 3.0;

/// The ridge of a covariance of window features.
struct Ridge<'a> {
    /// That of the settings, for up to 3 rows per feature.
    most: f64,
    least_share: f64,
    /// Number of columns; the features of a column are this far apart.
    columns: usize,
    /// Columns that were constant in training. They have the whole ridge: their variance in
    /// training does not say how far they usually move.
    constant: &'a [usize],
}

impl Ridge<'_> {
    /// Returns the ridge of each feature: a share that falls from 1 at 3 rows per feature, and no
    /// further than to the least one.
    fn of_features(&self, rows: f64, features: usize) -> Vec<f64> {
        let share = (3.0 * features as f64 / rows.max(1.0)).clamp(self.least_share, 1.0);
        let mut ridge = vec![share * self.most; features];
        for of_window in ridge.chunks_exact_mut(self.columns) {
            self.constant.iter().for_each(|column| of_window[*column] = self.most);
        }
        ridge
    }
}

#[cfg(test)]
mod tests {
    use super::Ridge;

    #[test]
    fn ridge_is_whole_for_few_rows_per_feature_and_for_constant_columns() {
        let ridge = Ridge { most: 0.3, least_share: 1.0 / 6.0, columns: 2, constant: &[1] };
        for (rows, share) in [(2.0, 1.0), (12.0, 1.0), (24.0, 0.5), (1e9, 1.0 / 6.0)] {
            let of_features = ridge.of_features(rows, 4);
            let expected = [share * 0.3, 0.3, share * 0.3, 0.3];
            let pairs = of_features.iter().zip(expected);
            assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-12), "{rows}: {of_features:?}");
            assert_eq!(of_features.len(), 4);
        }
    }
}
