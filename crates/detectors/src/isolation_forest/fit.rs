//! Growing an isolation forest: every tree has its own seed, so that trees can grow in any order
//! and on any thread.

use contract::Outcome;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::Array2;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::settings::IsolationForest as Settings;
use super::{IsolationForest, Tree};
use crate::Scaler;
use crate::fit::space::Space;
use crate::fit::{self, FitError, FitOptions, Fitted, Fitter, Job, Params, ValidParams, rows};
use crate::scaler::single;

/// Number of hyperplanes tried at a node before it becomes a leaf.
const HYPERPLANES: usize = 10;

/// Parameters of the isolation forest, which does not depend on the number of threads.
pub type IsolationForestParams = Params<Settings, FitOptions>;

/// How the kind is fitted.
pub(crate) const FITTER: Fitter = Fitter::Rows { fit, draw };

/// Fits the model that a document sets.
fn fit(
    job: &Job<'_>,
    rows: &DatasetBase<Array2<f64>, ()>,
    outcome: &mut Outcome,
) -> Result<Fitted, FitError> {
    let settings = job.models.isolation_forest.clone().unwrap_or_default();
    outcome.count("trees", settings.trees as usize);
    let parameters = fit::parameters(&settings);
    let params = IsolationForestParams::new(settings, job.options);
    Ok(Fitted::rows(params.fit(rows)?, parameters))
}

/// Draws the parameters that a search tries.
fn draw(space: &mut Space<'_>) {
    let trees = space.pick(&[50, 100, 200]);
    space.set("trees", trees);
    let samples = space.pick(&[64, 128, 256, 512, 1024]);
    space.set("samples", samples);
    let extension = space.pick(&[0, 0, 1, 2]).min(space.columns.saturating_sub(1));
    space.set("extension", extension);
}

impl<T> Fit<Array2<f64>, T, FitError> for ValidParams<Settings, FitOptions> {
    type Object = IsolationForest;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<IsolationForest, FitError> {
        let records = &dataset.records;
        rows::check(records, 2)?;
        let (count, columns) = records.dim();
        let scaler = Scaler::fit(records.view(), self.settings.scaling);
        let samples = (self.settings.samples as usize).min(count);
        let width = (self.settings.extension as usize + 1).min(columns);
        let grow = |number: u64| {
            let mut random = ChaCha8Rng::seed_from_u64(self.extra.seed);
            random.set_stream(number);
            let chosen = rows::sample(&mut random, count, samples);
            let scale = |row: usize| {
                let values = records.row(row);
                let scaled: Vec<f32> =
                    values.iter().enumerate().map(|(c, v)| single(scaler.scale(c, *v))).collect();
                scaled
            };
            let values: Vec<f32> = chosen.into_iter().flat_map(scale).collect();
            Grower { values, columns, width, depth_limit: depth_limit(samples), random }.grow()
        };
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(self.extra.threads.max(1)).build()?;
        let numbers = 0..u64::from(self.settings.trees);
        let trees = pool.install(|| numbers.into_par_iter().map(grow).collect::<Vec<Tree>>());
        let samples = u32::try_from(samples).unwrap_or(u32::MAX);
        IsolationForest::new(scaler, width, samples, trees).map_err(FitError::Model)
    }
}

/// The average depth of a tree of this number of rows, rounded up: longer paths add no information.
fn depth_limit(samples: usize) -> u32 {
    samples.max(2).next_power_of_two().ilog2()
}

/// A split: its columns, their weights, and the threshold.
struct Split {
    features: Vec<u32>,
    weights: Vec<f32>,
    threshold: f32,
}

struct Grower {
    /// Scaled rows of the tree's sample, one after another.
    values: Vec<f32>,
    columns: usize,
    width: usize,
    depth_limit: u32,
    random: ChaCha8Rng,
}

impl Grower {
    fn grow(mut self) -> Tree {
        let mut order: Vec<usize> = (0..self.values.len() / self.columns).collect();
        let mut tree = Tree::default();
        self.add_leaf(&mut tree, order.len());
        let mut open = vec![(0, 0..order.len(), 0)];
        while let Some((node, range, depth)) = open.pop() {
            let members = &mut order[range.clone()];
            if members.len() < 2 || depth >= self.depth_limit {
                continue;
            }
            let Some((split, left_rows)) = self.split(members) else { continue };
            let left = tree.lefts.len();
            tree.lefts[node] = u32::try_from(left).unwrap_or(0);
            tree.thresholds[node] = split.threshold;
            tree.features[node * self.width..(node + 1) * self.width]
                .copy_from_slice(&split.features);
            if self.width > 1 {
                tree.weights[node * self.width..(node + 1) * self.width]
                    .copy_from_slice(&split.weights);
            }
            let middle = range.start + left_rows;
            self.add_leaf(&mut tree, left_rows);
            self.add_leaf(&mut tree, range.end - middle);
            open.push((left, range.start..middle, depth + 1));
            open.push((left + 1, middle..range.end, depth + 1));
        }
        tree
    }

    fn add_leaf(&self, tree: &mut Tree, rows: usize) {
        tree.features.extend(std::iter::repeat_n(0, self.width));
        if self.width > 1 {
            tree.weights.extend(std::iter::repeat_n(0.0, self.width));
        }
        tree.thresholds.push(0.0);
        tree.lefts.push(0);
        tree.samples.push(u32::try_from(rows).unwrap_or(u32::MAX));
    }

    /// Draws a split that leaves rows on both sides and sorts the members by side; returns it with
    /// the number of rows on the left, or `None` if all rows are equal.
    fn split(&mut self, members: &mut [usize]) -> Option<(Split, usize)> {
        let tries = if self.width == 1 { 1 } else { HYPERPLANES };
        for _ in 0..tries {
            let split =
                if self.width == 1 { self.axis(members)? } else { self.hyperplane(members)? };
            let mut left = 0;
            for at in 0..members.len() {
                if self.project(&split, members[at]) <= split.threshold {
                    members.swap(left, at);
                    left += 1;
                }
            }
            if left > 0 && left < members.len() {
                return Some((split, left));
            }
        }
        None
    }

    /// Computes the same sum, in the same order, as scoring.
    fn project(&self, split: &Split, row: usize) -> f32 {
        let values = &self.values[row * self.columns..(row + 1) * self.columns];
        if self.width == 1 {
            return values[split.features[0] as usize];
        }
        let terms = split.features.iter().zip(&split.weights);
        terms.map(|(feature, weight)| weight * values[*feature as usize]).sum()
    }

    fn bounds(&self, members: &[usize], column: usize) -> (f32, f32) {
        let values = members.iter().map(|row| self.values[row * self.columns + column]);
        values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    }

    /// Draws a column that is not constant here and a threshold between its bounds.
    fn axis(&mut self, members: &[usize]) -> Option<Split> {
        let mut columns: Vec<usize> = (0..self.columns).collect();
        while !columns.is_empty() {
            let column = columns.swap_remove(rows::below(&mut self.random, columns.len()));
            let (low, high) = self.bounds(members, column);
            if low < high {
                let share = rows::uniform(&mut self.random);
                let drawn = single(f64::from(low) + share * (f64::from(high) - f64::from(low)));
                // Rounding may reach the upper bound, which would leave nothing on the right.
                let threshold = if drawn < high { drawn } else { low };
                let feature = u32::try_from(column).unwrap_or(0);
                return Some(Split { features: vec![feature], weights: Vec::new(), threshold });
            }
        }
        None
    }

    /// Draws a normal direction over columns that are not constant here and a point in their box.
    fn hyperplane(&mut self, members: &[usize]) -> Option<Split> {
        let bounds: Vec<(f32, f32)> =
            (0..self.columns).map(|column| self.bounds(members, column)).collect();
        let mut columns: Vec<usize> =
            (0..self.columns).filter(|&column| bounds[column].0 < bounds[column].1).collect();
        if columns.is_empty() {
            return None;
        }
        rows::shuffle(&mut self.random, &mut columns);
        columns.truncate(self.width);
        let mut split = Split { features: Vec::new(), weights: Vec::new(), threshold: 0.0 };
        for column in columns {
            let (low, high) = bounds[column];
            let weight = single(rows::normal(&mut self.random));
            let share = single(rows::uniform(&mut self.random));
            split.features.push(u32::try_from(column).unwrap_or(0));
            split.weights.push(weight);
            split.threshold += weight * (low + share * (high - low));
        }
        split.features.resize(self.width, 0);
        split.weights.resize(self.width, 0.0);
        Some(split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_limit_is_the_logarithm_rounded_up() {
        assert_eq!([2, 3, 4, 5, 255, 256, 257].map(depth_limit), [1, 2, 2, 3, 8, 8, 9]);
    }
}
