//! Fitting an adaptive model.
//!
//! One pass over the rows follows the signals and gathers the moments of the window features, fold
//! by fold; a second one scores every row by distances that were fitted without its fold. The
//! features themselves are never held: they are seven times the data.

use std::collections::BTreeMap;

use contract::{Span, Timestamp};
use document::models::Adaptive as Settings;
use document::ranges::{OutOfRange, Ranges};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use models::adaptive::{Adaptive, Distance, Following, Gate, Memory, Training, Usual};
use models::reference::quantile;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::mahalanobis::inverse_cholesky;
use crate::params::Unchecked;
use crate::{FitError, rows};

/// Rows to fit on at least.
const FEWEST_ROWS: usize = contract::least::TRAIN_ROWS;

/// First rows of an entity that do not count for the gate's limit, while the windows fill.
const MOST_WARM_UP_ROWS: usize = 60;

/// Values beyond this do not count: their squares would be infinite.
const LARGEST: f64 = 1e150;

/// Rows whose features are multiplied at a time.
const BLOCK_ROWS: usize = 256;

/// When and of what each row is: the records' order in time, and their entities.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Distance between rows.
    pub step: Span,
    /// Time of each row.
    pub times: Vec<Timestamp>,
    /// Entity of each row.
    pub entities: Vec<String>,
    /// Says which rows are known, or taken, to be normal. The others are followed, as they will be
    /// while scoring, but nothing that is fitted knows of them.
    pub normal: Vec<bool>,
}

/// Checked parameters of the adaptive model.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaptiveValidParams {
    settings: Settings,
    order: Order,
}

/// Parameters of the adaptive model.
pub type AdaptiveParams = Unchecked<AdaptiveValidParams>;

impl AdaptiveParams {
    /// Takes the document's parameters; `order` is that of the records to be fitted on.
    pub fn new(settings: Settings, order: Order) -> Self {
        Unchecked(AdaptiveValidParams { settings, order })
    }
}

impl Ranges for AdaptiveValidParams {
    fn check(&self) -> Result<(), OutOfRange> {
        self.settings.check()
    }
}

/// A fitted model and what fitting saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The model.
    pub model: Adaptive,
    /// Scores and memories.
    pub training: Training,
}

impl<T> Fit<Array2<f64>, T, FitError> for AdaptiveValidParams {
    type Object = Fitted;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<Fitted, FitError> {
        rows::check(&dataset.records, FEWEST_ROWS)?;
        let following = self.following(dataset.records.view());
        let series = self.series(dataset.records.nrows());
        let usual = self.usual(&following, &series);
        let found = usual.iter().filter(|usual| **usual).count();
        if found < FEWEST_ROWS {
            return Err(FitError::TooFewRows { found, needed: FEWEST_ROWS });
        }
        let pass = Pass {
            following: &following,
            records: dataset.records.view(),
            series,
            usual,
            normal: &self.order.normal,
            times: &self.order.times,
            folds: self.settings.folds as usize,
        };
        let long = self.distances(&pass, &following.windows)?;
        let short = self.distances(&pass, &following.gate_windows)?;
        let level = self.distances(&pass, &[])?;
        let Scored { long: scores, short: short_scores, level: level_scores, memories } =
            pass.score([&long, &short, &level]);
        let training = Training { format: Training::FORMAT, scores, memories };
        let gate = |distances: Distances, scores| Gate {
            distance: distances.whole,
            limit: self.gate_limit(&pass, scores),
        };
        let short = gate(short, &short_scores);
        let level = (following.stay_rows > 0).then(|| gate(level, &level_scores));
        let model = Adaptive::new(following, long.whole, short, level).map_err(FitError::Model)?;
        Ok(Fitted { model, training })
    }
}

impl AdaptiveValidParams {
    fn following(&self, records: ArrayView2<'_, f64>) -> Following {
        let settings = &self.settings;
        let rows = |half_life: Span| half_life.seconds() / self.order.step.seconds();
        let least = f64::from(settings.min_half_life_rows);
        let rate = |half_life_rows: f64| 1.0 - 0.5_f64.powf(1.0 / half_life_rows);
        // How far a level goes in longer than training lasted was not seen, so it is followed; else
        // a model of a few hundred rows takes every drift after them for an anomaly. Still shorter
        // half-lives would learn faults that last.
        let longest = self.series(records.nrows()).values().map(Vec::len).max().unwrap_or(0);
        let normal = |column: ArrayView1<'_, f64>| -> Vec<f64> {
            let rows = column.into_iter().zip(&self.order.normal);
            rows.filter_map(|(value, normal)| normal.then_some(*value)).collect()
        };
        let columns = records.columns().into_iter().map(normal);
        let scales: Vec<Scale> =
            columns.map(|values| scale_of(values, settings.min_range_share)).collect();
        let windows = |rows: &[u32]| rows.iter().map(|rows| *rows as usize).collect();
        Following {
            step_ms: self.order.step.ms(),
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

    /// Returns the rows of each entity in the order of time.
    fn series(&self, rows: usize) -> BTreeMap<&str, Vec<usize>> {
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by_key(|row| self.order.times[*row]);
        let mut series: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for row in order {
            series.entry(&self.order.entities[row]).or_default().push(row);
        }
        series
    }

    fn distances(&self, pass: &Pass<'_>, windows: &[usize]) -> Result<Distances, FitError> {
        let moments = pass.moments(windows);
        let mut whole = Moments::new(pass.following.features(windows));
        moments.iter().for_each(|fold| whole.add(fold));
        let ridge = self.settings.ridge * ridge_share(whole.rows, whole.sums.len());
        let without = moments.iter().map(|fold| whole.without(fold).distance(ridge));
        Ok(Distances { without: without.collect::<Result<_, _>>()?, whole: whole.distance(ridge)? })
    }

    /// Says which rows may say what is usual.
    fn usual(&self, following: &Following, series: &BTreeMap<&str, Vec<usize>>) -> Vec<bool> {
        let mut usual = vec![false; self.order.normal.len()];
        for rows in series.values() {
            let of_entity = following.usual(rows.iter().map(|row| self.order.normal[*row]));
            rows.iter().zip(of_entity).for_each(|(row, is_usual)| usual[*row] = is_usual);
        }
        usual
    }

    /// Returns the limit of a gate: a quantile of the scores of usual rows.
    fn gate_limit(&self, pass: &Pass<'_>, scores: &BTreeMap<String, Vec<f64>>) -> f64 {
        let mut sorted: Vec<f64> = Vec::new();
        for (rows, scores) in pass.series.values().zip(scores.values()) {
            let warm = MOST_WARM_UP_ROWS.min(scores.len() / 10);
            let warmed = rows.iter().zip(scores).skip(warm);
            sorted.extend(warmed.filter(|(row, _)| pass.usual[**row]).map(|(_, score)| *score));
        }
        sorted.sort_unstable_by(f64::total_cmp);
        quantile(&sorted, self.settings.gate_share)
    }
}

/// How the values of a column are scaled.
#[derive(Default)]
struct Scale {
    /// Mean of the values.
    centre: f64,
    /// Their standard deviation, which is at least a share of their range, and of the mean where
    /// there is no range; 0 where there is no value.
    deviation: f64,
    /// Says that the standard deviation was below that share: the column moved in a few rows, if at
    /// all.
    is_constant: bool,
}

fn scale_of(mut values: Vec<f64>, min_range_share: f64) -> Scale {
    values.retain(|value| value.abs() <= LARGEST);
    if values.is_empty() {
        return Scale::default();
    }
    let count = values.len() as f64;
    let centre = values.iter().sum::<f64>() / count;
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
    let range = high - low;
    if range > 0.0 {
        let squares = values.iter().map(|value| (value - centre).powi(2)).sum::<f64>();
        let (deviation, least) = ((squares / count).sqrt(), min_range_share * range);
        Scale { centre, deviation: deviation.max(least), is_constant: deviation < least }
    } else {
        Scale { centre, deviation: (0.01 * centre.abs()).max(1e-6), is_constant: true }
    }
}

/// Returns the share of the ridge that a covariance of so many rows needs: all of it up to 10 rows
/// for each feature, a third from 30 on.
fn ridge_share(rows: f64, features: usize) -> f64 {
    (10.0 * features as f64 / rows.max(1.0)).clamp(1.0 / 3.0, 1.0)
}

/// Returns what an entity's values of a column say.
fn usual_of(values: &[f64]) -> Usual {
    let rows = values.len() as f64;
    let mean = values.iter().sum::<f64>() / rows.max(1.0);
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    Usual { rows, mean, deviation: (squares / rows.max(1.0)).sqrt() }
}

/// Distances fitted without each fold, and on all rows.
struct Distances {
    without: Vec<Distance>,
    whole: Distance,
}

/// The rows, entity by entity in the order of time.
struct Pass<'a> {
    following: &'a Following,
    records: ArrayView2<'a, f64>,
    series: BTreeMap<&'a str, Vec<usize>>,
    /// Rows that may say what is usual.
    usual: Vec<bool>,
    normal: &'a [bool],
    times: &'a [Timestamp],
    folds: usize,
}

/// What scoring the training rows gives, by entity.
#[derive(Default)]
struct Scored {
    long: BTreeMap<String, Vec<f64>>,
    short: BTreeMap<String, Vec<f64>>,
    level: BTreeMap<String, Vec<f64>>,
    memories: BTreeMap<String, Memory>,
}

impl Pass<'_> {
    /// Returns the memory before an entity's first row. One that is alone is what all are.
    fn first(&self, rows: &[usize]) -> Memory {
        if self.series.len() < 2 {
            return self.following.fresh();
        }
        let usual = self.records.columns().into_iter().map(|column| {
            let values = rows.iter().filter(|row| self.normal[**row]).map(|row| column[*row]);
            let values: Vec<f64> = values.filter(|value| value.abs() <= LARGEST).collect();
            usual_of(&values)
        });
        self.following.first_of(&usual.collect::<Vec<_>>())
    }

    /// Follows an entity's rows, calling `each` with the row, its fold and the memory at it.
    fn follow(&self, rows: &[usize], mut each: impl FnMut(usize, usize, &mut Memory)) -> Memory {
        let mut memory = self.first(rows);
        let mut fold = 0;
        for (index, &row) in rows.iter().enumerate() {
            while index >= rows.len() * (fold + 1) / self.folds {
                fold += 1;
            }
            let values = self.records.row(row).to_vec();
            self.following.follow(&mut memory, self.times[row].ms(), &values);
            each(row, fold, &mut memory);
        }
        memory
    }

    fn moments(&self, windows: &[usize]) -> Vec<Moments> {
        let features = self.following.features(windows);
        let mut moments: Vec<Moments> = (0..self.folds).map(|_| Moments::new(features)).collect();
        for rows in self.series.values() {
            let mut block: (usize, Vec<f64>) = (0, Vec::with_capacity(BLOCK_ROWS * features));
            let mut values = vec![0.0; features];
            self.follow(rows, |row, fold, memory| {
                if !self.usual[row] {
                    return;
                }
                if fold != block.0 || block.1.len() >= BLOCK_ROWS * features {
                    moments[block.0].take(&mut block.1);
                    block.0 = fold;
                }
                self.following.write_features(memory, windows, &mut values);
                // What is missing counts as usual.
                block
                    .1
                    .extend(values.iter().map(|value| if value.is_nan() { 0.0 } else { *value }));
            });
            moments[block.0].take(&mut block.1);
        }
        moments
    }

    /// Scores every row by distances without its fold: those of the windows, of the gate's and of
    /// no window.
    fn score(&self, distances: [&Distances; 3]) -> Scored {
        let of_windows = [&self.following.windows, &self.following.gate_windows, &Vec::new()];
        let mut features = of_windows.map(|windows| vec![0.0; self.following.features(windows)]);
        let mut scored = Scored::default();
        let newest = |scores: &[f64], rows: usize| {
            scores[scores.len().saturating_sub(rows.saturating_sub(1))..].to_vec()
        };
        for (entity, rows) in &self.series {
            let mut scores: [Vec<f64>; 3] = Default::default();
            let mut memory = self.follow(rows, |_, fold, memory| {
                for (index, scores) in scores.iter_mut().enumerate() {
                    let features = &mut features[index];
                    self.following.write_features(memory, of_windows[index], features);
                    scores.push(distances[index].without[fold].score(features));
                }
            });
            let [long, short, level] = scores;
            memory.set_last_scores(
                &newest(&short, self.following.gate_rows),
                &newest(&level, self.following.stay_rows),
            );
            scored.long.insert((*entity).to_owned(), long);
            scored.short.insert((*entity).to_owned(), short);
            scored.level.insert((*entity).to_owned(), level);
            scored.memories.insert((*entity).to_owned(), memory);
        }
        scored
    }
}

/// Sums of features and of their products over rows.
#[derive(Clone)]
struct Moments {
    rows: f64,
    sums: Array1<f64>,
    products: Array2<f64>,
}

impl Moments {
    fn new(features: usize) -> Self {
        let products = Array2::zeros((features, features));
        Self { rows: 0.0, sums: Array1::zeros(features), products }
    }

    /// Takes in a block of rows and leaves it empty.
    fn take(&mut self, block: &mut Vec<f64>) {
        let features = self.sums.len();
        if let Ok(rows) = ArrayView2::from_shape((block.len() / features, features), block) {
            self.rows += rows.nrows() as f64;
            self.sums += &rows.sum_axis(Axis(0));
            ndarray::linalg::general_mat_mul(1.0, &rows.t(), &rows, 1.0, &mut self.products);
        }
        block.clear();
    }

    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sums += &other.sums;
        self.products += &other.products;
    }

    fn without(&self, other: &Self) -> Self {
        Self {
            rows: self.rows - other.rows,
            sums: &self.sums - &other.sums,
            products: &self.products - &other.products,
        }
    }

    /// Makes the distance; the ridge is also the smallest standard deviation.
    fn distance(self, ridge: f64) -> Result<Distance, FitError> {
        let Self { rows, sums, mut products } = self;
        let mean = sums / rows;
        // Departures lie around 0 within a few deviations, so nothing is lost by subtracting here.
        for ((row, column), product) in products.indexed_iter_mut() {
            *product -= rows * mean[row] * mean[column];
        }
        let variances = products.diag().mapv(|squares| (squares / rows).max(0.0));
        let deviation = variances.mapv(|variance| variance.sqrt().max(ridge));
        products /= rows - 1.0;
        products.diag_mut().iter_mut().for_each(|variance| *variance += ridge);
        let whitening = inverse_cholesky(&products).ok_or(FitError::Singular)?;
        let rows = whitening.rows().into_iter().enumerate();
        let triangle = rows.flat_map(|(index, row)| row.to_vec().into_iter().take(index + 1));
        Distance::new(mean.to_vec(), deviation.to_vec(), triangle.collect())
            .map_err(FitError::Model)
    }
}
