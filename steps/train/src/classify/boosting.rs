//! Fitting gradient-boosted trees (Friedman, 2001) on histograms, with second-order leaves and an L2
//! penalty (Chen, Guestrin: `XGBoost`, 2016).
//!
//! Own code: the maintained crates are bindings to C++ (`LightGBM`, `XGBoost`) or serialise to formats of
//! their own, and none promises the same bytes at any number of threads. It is small because the
//! classes, calibration, files and figures are those of the other trees.

use document::classify::GradientBoosting as Settings;
use document::models::ClassWeights;
use models::Scaler;
use models::classify::boosted::{BoostedTrees, ValueTree, softmax};
use models::scaler::{Scaling, is_there};
use ndarray::{Array1, Array2};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{FitError, rows};

/// Most bins of a column.
const BINS: usize = 64;

/// Columns as bins: a value is in the bin of the number of edges below it.
struct Binned {
    bins: Vec<Vec<u8>>,
    /// Thresholds between neighbouring bins.
    edges: Vec<Vec<f64>>,
    fill: Vec<f64>,
}

impl Binned {
    fn new(records: &Array2<f64>) -> Self {
        let scaler = Scaler::fit(records.view(), Scaling::Robust);
        let fill = scaler.fill().to_vec();
        let columns = records.columns().into_iter().zip(&fill);
        let (bins, edges) = columns
            .map(|(column, fill)| {
                let values: Vec<f64> =
                    column.iter().map(|v| if is_there(*v) { *v } else { *fill }).collect();
                let edges = edges(&values);
                let bin = |value: &f64| edges.partition_point(|edge| edge < value);
                let bins = values.iter().map(|value| u8::try_from(bin(value)).unwrap_or(u8::MAX));
                (bins.collect(), edges)
            })
            .unzip();
        Self { bins, edges, fill }
    }
}

/// Returns thresholds that divide values into bins of about as many rows; none for a constant.
fn edges(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = Vec::new();
    let count = sorted.len();
    let mut different = sorted.clone();
    different.dedup();
    let between = |low: f64, high: f64| {
        let middle = low / 2.0 + high / 2.0;
        if middle < high { middle.max(low) } else { low }
    };
    if different.len() <= BINS {
        return different.windows(2).map(|pair| between(pair[0], pair[1])).collect();
    }
    for bin in 1..BINS {
        let place = bin * count / BINS;
        let (low, high) = (sorted[place - 1], sorted[place]);
        let edge = between(low, high);
        if low < high && edges.last().is_none_or(|last| *last < edge) {
            edges.push(edge);
        }
    }
    edges
}

/// What the rows of a node pull a class towards.
#[derive(Clone, Copy, Default)]
struct Pull {
    gradient: f64,
    curvature: f64,
    rows: u32,
}

impl Pull {
    fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.curvature += other.curvature;
        self.rows += other.rows;
    }

    fn less(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            curvature: self.curvature - other.curvature,
            rows: self.rows - other.rows,
        }
    }

    fn gain(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.curvature + l2).max(1e-12)
    }
}

/// Grows the tree of one class and round.
struct Grower<'a> {
    binned: &'a Binned,
    settings: &'a Settings,
    columns: &'a [usize],
    /// Gradient and curvature of each row.
    pulls: &'a [(f64, f64)],
}

struct Split {
    column: usize,
    bin: usize,
    gain: f64,
}

/// A tree, its leaf of each row, and what each column's splits gained.
struct Grown {
    tree: ValueTree,
    leaf: Vec<u32>,
    gains: Vec<f64>,
}

impl Grower<'_> {
    fn grow(&self) -> Grown {
        let rows = self.pulls.len();
        let mut grown = Grown {
            tree: ValueTree::default(),
            leaf: vec![0; rows],
            gains: vec![0.0; self.binned.bins.len()],
        };
        let mut members: Vec<u32> = (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect();
        push(&mut grown.tree);
        let mut open = vec![(0_usize, 0..rows, 0_u32)];
        while let Some((node, range, depth)) = open.pop() {
            let own = &mut members[range.clone()];
            let total = self.total(own);
            let split =
                (depth < self.settings.max_depth).then(|| self.best_split(own, total)).flatten();
            let Some(split) = split else {
                let value = -total.gradient / (total.curvature + self.settings.l2).max(1e-12);
                grown.tree.values[node] = value * self.settings.learning_rate;
                let node = u32::try_from(node).unwrap_or(0);
                own.iter().for_each(|row| grown.leaf[*row as usize] = node);
                continue;
            };
            grown.gains[split.column] += split.gain;
            let bins = &self.binned.bins[split.column];
            let is_right = |row: &u32| usize::from(bins[*row as usize]) > split.bin;
            own.sort_by_key(is_right);
            let middle = range.start + own.partition_point(|row| !is_right(row));
            let child = grown.tree.lefts.len();
            grown.tree.lefts[node] = u32::try_from(child).unwrap_or(0);
            grown.tree.features[node] = u32::try_from(split.column).unwrap_or(0);
            grown.tree.thresholds[node] = self.binned.edges[split.column][split.bin];
            push(&mut grown.tree);
            push(&mut grown.tree);
            open.push((child, range.start..middle, depth + 1));
            open.push((child + 1, middle..range.end, depth + 1));
        }
        grown
    }

    fn total(&self, members: &[u32]) -> Pull {
        let mut total = Pull::default();
        for row in members {
            let (gradient, curvature) = self.pulls[*row as usize];
            total.add(Pull { gradient, curvature, rows: 1 });
        }
        total
    }

    fn best_split(&self, members: &[u32], total: Pull) -> Option<Split> {
        let (l2, least) = (self.settings.l2, self.settings.min_leaf_rows);
        let mut best: Option<Split> = None;
        for column in self.columns {
            let count = self.binned.edges[*column].len() + 1;
            let mut histogram = [Pull::default(); BINS];
            let bins = &self.binned.bins[*column];
            for row in members {
                let (gradient, curvature) = self.pulls[*row as usize];
                let bin = &mut histogram[usize::from(bins[*row as usize])];
                bin.gradient += gradient;
                bin.curvature += curvature;
                bin.rows += 1;
            }
            let mut left = Pull::default();
            for (bin, pull) in histogram[..count - 1].iter().enumerate() {
                left.add(*pull);
                let right = total.less(left);
                if pull.rows == 0 || left.rows < least || right.rows < least {
                    continue;
                }
                let gain = left.gain(l2) + right.gain(l2) - total.gain(l2);
                if gain > best.as_ref().map_or(1e-9, |best| best.gain) {
                    best = Some(Split { column: *column, bin, gain });
                }
            }
        }
        best
    }
}

fn push(tree: &mut ValueTree) {
    tree.features.push(0);
    tree.thresholds.push(0.0);
    tree.lefts.push(0);
    tree.values.push(0.0);
}

/// Fits boosted trees; `targets` are indices of `classes`. The model does not depend on the number of
/// threads.
pub(crate) fn fit(
    settings: &Settings,
    (records, targets): (&Array2<f64>, &Array1<usize>),
    classes: &[String],
    (seed, threads): (u64, usize),
) -> Result<BoostedTrees, FitError> {
    rows::check(records, 2)?;
    let binned = Binned::new(records);
    let weights = weights(settings.class_weights, targets, classes.len());
    let mut sums = vec![vec![0.0; targets.len()]; classes.len()];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut trees, mut importance) = (Vec::new(), vec![0.0; binned.bins.len()]);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build()?;
    for _ in 0..settings.rounds {
        let shares = shares(&sums, &pool);
        let chosen: Vec<Vec<usize>> =
            classes.iter().map(|_| columns(settings, binned.bins.len(), &mut random)).collect();
        let grow = |class: usize| {
            let pull = |row: usize| {
                let share = shares[class][row];
                let wanted = f64::from(u8::from(targets[row] == class));
                let weight = weights[targets[row]];
                ((share - wanted) * weight, (share * (1.0 - share) * weight).max(1e-12))
            };
            let pulls: Vec<(f64, f64)> = (0..targets.len()).map(pull).collect();
            let columns = &chosen[class];
            Grower { binned: &binned, settings, columns, pulls: &pulls }.grow()
        };
        let grown: Vec<Grown> =
            pool.install(|| (0..classes.len()).into_par_iter().map(grow).collect());
        for (sums, grown) in sums.iter_mut().zip(grown) {
            let leaves = sums.iter_mut().zip(&grown.leaf);
            leaves.for_each(|(sum, leaf)| *sum += grown.tree.values[*leaf as usize]);
            importance.iter_mut().zip(&grown.gains).for_each(|(sum, gain)| *sum += gain);
            trees.push(grown.tree);
        }
    }
    let total: f64 = importance.iter().sum();
    if total > 0.0 {
        importance.iter_mut().for_each(|share| *share /= total);
    }
    let base = vec![0.0; classes.len()];
    BoostedTrees::new(classes.to_vec(), [binned.fill, importance], base, trees)
        .map_err(FitError::Model)
}

/// Returns the columns that a tree sees, in their order.
fn columns(settings: &Settings, count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and the number of columns"
    )]
    let wanted = ((settings.column_share * count as f64).ceil() as usize).clamp(1, count);
    let mut chosen = rows::sample(random, count, wanted);
    chosen.sort_unstable();
    chosen
}

/// Returns what a row of each class counts.
fn weights(weights: ClassWeights, targets: &Array1<usize>, classes: usize) -> Vec<f64> {
    let mut rows = vec![0_usize; classes];
    targets.iter().for_each(|class| rows[*class] += 1);
    let found = rows.iter().filter(|rows| **rows > 0).count();
    let weight = |rows: &usize| match weights {
        ClassWeights::Balanced if *rows > 0 => targets.len() as f64 / (found * rows) as f64,
        ClassWeights::Balanced | ClassWeights::Rows => 1.0,
    };
    rows.iter().map(weight).collect()
}

/// Returns the share of each class in each row, class by class.
fn shares(sums: &[Vec<f64>], pool: &rayon::ThreadPool) -> Vec<Vec<f64>> {
    let rows = sums.first().map_or(0, Vec::len);
    let of_row = |row: usize| {
        let mut own: Vec<f64> = sums.iter().map(|sums| sums[row]).collect();
        softmax(&mut own);
        own
    };
    let by_row: Vec<Vec<f64>> = pool.install(|| (0..rows).into_par_iter().map(of_row).collect());
    (0..sums.len()).map(|class| by_row.iter().map(|own| own[class]).collect()).collect()
}
