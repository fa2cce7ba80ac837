//! Fitting gradient-boosted trees (Friedman, 2001) on histograms, with second-order leaves and an
//! L2 penalty (Chen, Guestrin: `XGBoost`, 2016). The histogram of a node's larger child is that of
//! the node minus that of the smaller child (Ke and others: `LightGBM`, 2017).
//!
//! This is implemented here, because the maintained crates are bindings to C++ (`LightGBM`,
//! `XGBoost`) or use their own file formats, and none guarantees the same bytes at any number of
//! threads. It is small because the classes, calibration, files and metrics are shared with the
//! other trees.

use contract::Outcome;
use ndarray::{Array1, Array2};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::settings::GradientBoosting as Settings;
use super::{BoostedTrees, ValueTree, softmax};
use crate::class_trees::Classes;
use crate::fit::bins::{self, Column};
use crate::fit::class_tree::{row_weights, rows_of_classes};
use crate::fit::{self, ClassesJob, FitError, FitOptions, FittedClasses, Fitter, rows, supervised};
use crate::ranges::Ranges as _;

/// Maximum number of bins of a column: a histogram of all columns fits in the processor's L1 cache.
const BINS: usize = 64;
/// Mean error (1 minus the share of the correct class) below which the fit stops.
const LEARNED: f64 = 0.002;
/// Rows that a thread processes at a time.
const BLOCK_ROWS: usize = 1024;

/// Gradient, curvature and number of rows in a bin, and an unused element.
type Cell = [f64; 4];

/// Sums of gradient and curvature of a class over the rows of a node.
#[derive(Clone, Copy, Default)]
struct Pull {
    gradient: f64,
    curvature: f64,
    rows: f64,
}

impl Pull {
    fn add(&mut self, [gradient, curvature, rows, _]: Cell) {
        self.gradient += gradient;
        self.curvature += curvature;
        self.rows += rows;
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

/// Rows as bins, row by row.
struct Binned {
    columns: Vec<Column>,
    by_row: Vec<u8>,
}

impl Binned {
    fn new(records: &Array2<f64>) -> Self {
        let mut columns = bins::columns(records, u16::try_from(BINS).unwrap_or(u16::MAX));
        // From here on only bins are used: the values would be a second copy of the data set.
        columns.iter_mut().for_each(|column| column.values = Vec::new());
        let mut by_row = vec![0; records.nrows() * columns.len()];
        for (number, column) in columns.iter().enumerate() {
            let slots = by_row.iter_mut().skip(number).step_by(columns.len());
            let bins = column.bins.iter().map(|bin| u8::try_from(*bin).unwrap_or(u8::MAX));
            slots.zip(bins).for_each(|(slot, bin)| *slot = bin);
        }
        Self { columns, by_row }
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
    left: Pull,
}

/// A tree, its additions to the sum of each row, and the gain of each column's splits.
struct Grown {
    tree: ValueTree,
    added: Vec<f64>,
    gains: Vec<f64>,
}

/// A node that may be split: its rows are a range of all members.
struct Open {
    node: usize,
    range: std::ops::Range<usize>,
    depth: u32,
    total: Pull,
    /// Empty at the maximum depth, where nothing is split.
    cells: Vec<Cell>,
}

impl Grower<'_> {
    fn grow(&self) -> Grown {
        let rows = self.pulls.len();
        let mut grown = Grown {
            tree: ValueTree::default(),
            added: vec![0.0; rows],
            gains: vec![0.0; self.binned.columns.len()],
        };
        let mut members: Vec<u32> = (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect();
        let mut total = Pull::default();
        self.pulls.iter().for_each(|(gradient, curvature)| {
            total.add([*gradient, *curvature, 1.0, 0.0]);
        });
        self.add_node(&mut grown.tree, total);
        let (mut free, mut aside) = (Vec::new(), Vec::new());
        let cells = self.histogram(&members, &mut free);
        let mut open = vec![Open { node: 0, range: 0..rows, depth: 0, total, cells }];
        while let Some(mut at) = open.pop() {
            let own = &mut members[at.range.clone()];
            let split = if at.cells.is_empty() { None } else { self.best_split(&at) };
            let Some(split) = split else {
                let value = grown.tree.values[at.node];
                own.iter().for_each(|row| grown.added[*row as usize] = value);
                free.push(at.cells);
                continue;
            };
            grown.gains[split.column] += split.gain;
            let left = self.divide(own, &split, &mut aside);
            let child = grown.tree.lefts.len();
            grown.tree.lefts[at.node] = u32::try_from(child).unwrap_or(0);
            grown.tree.features[at.node] = u32::try_from(split.column).unwrap_or(0);
            grown.tree.thresholds[at.node] = self.binned.columns[split.column].edges[split.bin];
            let totals = [split.left, at.total.less(split.left)];
            totals.into_iter().for_each(|total| self.add_node(&mut grown.tree, total));
            let cells = self.halves(&mut at, own.split_at(left), &mut free);
            let middle = at.range.start + left;
            let ranges = [at.range.start..middle, middle..at.range.end];
            let children = ranges.into_iter().zip(totals).zip(cells).enumerate();
            open.extend(children.map(|(side, ((range, total), cells))| Open {
                node: child + side,
                range,
                depth: at.depth + 1,
                total,
                cells,
            }));
        }
        grown
    }

    /// Returns the histograms of a node's children; none if they are leaves.
    fn halves(
        &self,
        at: &mut Open,
        (first, second): (&[u32], &[u32]),
        free: &mut Vec<Vec<Cell>>,
    ) -> [Vec<Cell>; 2] {
        let mut large = std::mem::take(&mut at.cells);
        if at.depth + 1 >= self.settings.max_depth {
            free.push(large);
            return [Vec::new(), Vec::new()];
        }
        let is_first_small = first.len() <= second.len();
        let small = self.histogram(if is_first_small { first } else { second }, free);
        subtract(&mut large, &small);
        if is_first_small { [small, large] } else { [large, small] }
    }

    /// A node's value is the value it would add as a leaf: the explanation of a row uses the values
    /// along its path.
    fn add_node(&self, tree: &mut ValueTree, total: Pull) {
        let value = -total.gradient / (total.curvature + self.settings.l2).max(1e-12);
        tree.features.push(0);
        tree.thresholds.push(0.0);
        tree.lefts.push(0);
        tree.values.push(value * self.settings.learning_rate);
    }

    /// Sums up rows by bin, for each of the tree's columns.
    fn histogram(&self, members: &[u32], free: &mut Vec<Vec<Cell>>) -> Vec<Cell> {
        let mut cells = free.pop().unwrap_or_default();
        cells.clear();
        cells.resize(self.columns.len() * BINS, [0.0; 4]);
        let width = self.binned.columns.len();
        let (columns, _) = cells.as_chunks_mut::<BINS>();
        for row in members {
            let row = *row as usize;
            let (gradient, curvature) = self.pulls[row];
            let added = [gradient, curvature, 1.0, 0.0];
            let bins = &self.binned.by_row[row * width..(row + 1) * width];
            for (cells, column) in columns.iter_mut().zip(self.columns) {
                let cell = &mut cells[usize::from(bins[*column]) % BINS];
                cell.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
            }
        }
        cells
    }

    /// Puts the rows of the left side first, in their order; returns their number.
    fn divide(&self, members: &mut [u32], split: &Split, aside: &mut Vec<u32>) -> usize {
        let bins = &self.binned.columns[split.column].bins;
        aside.clear();
        let mut left = 0;
        for place in 0..members.len() {
            let row = members[place];
            if usize::from(bins[row as usize]) <= split.bin {
                members[left] = row;
                left += 1;
            } else {
                aside.push(row);
            }
        }
        members[left..].copy_from_slice(aside);
        left
    }

    fn best_split(&self, at: &Open) -> Option<Split> {
        let l2 = self.settings.l2;
        let least = f64::from(self.settings.min_leaf_rows);
        let usual = at.total.gain(l2);
        let mut best: Option<Split> = None;
        for (column, cells) in self.columns.iter().zip(at.cells.chunks_exact(BINS)) {
            let last = self.binned.columns[*column].count() - 1;
            let mut left = Pull::default();
            for (bin, cell) in cells[..last].iter().enumerate() {
                let [_, _, rows, _] = *cell;
                left.add(*cell);
                let right = at.total.less(left);
                if rows < 0.5 || left.rows < least || right.rows < least {
                    continue;
                }
                let gain = left.gain(l2) + right.gain(l2) - usual;
                if gain > best.as_ref().map_or(1e-9, |best| best.gain) {
                    best = Some(Split { column: *column, bin, gain, left });
                }
            }
        }
        best
    }
}

fn subtract(from: &mut [Cell], other: &[Cell]) {
    for (cell, other) in from.iter_mut().zip(other) {
        cell.iter_mut().zip(other).for_each(|(value, other)| *value -= other);
    }
}

/// How the kind is fitted.
pub(crate) const FITTER: Fitter = Fitter::Classes(fit_detector);

/// Fits the model that a document sets.
fn fit_detector(job: &ClassesJob<'_>, outcome: &mut Outcome) -> Result<FittedClasses, FitError> {
    let settings = job.models.gradient_boosting.clone().unwrap_or_default();
    let parameters = fit::parameters(&settings);
    supervised::detector(job, parameters, outcome, |rows| {
        settings.check()?;
        let data = (&rows.records, &rows.targets);
        fit(&settings, data, job.labelled.classes.clone(), job.options)
    })
}

/// Fits boosted trees; `targets` are indices of the classes. It ends early once every training row is classified correctly.
pub fn fit(
    settings: &Settings,
    (records, targets): (&Array2<f64>, &Array1<usize>),
    classes: Classes,
    options: FitOptions,
) -> Result<BoostedTrees, FitError> {
    rows::check(records, 2)?;
    let count = classes.names.len();
    let rows_of = rows_of_classes(targets, count)?;
    let binned = Binned::new(records);
    let weights = row_weights(settings.class_weights, &rows_of);
    let mut sums = vec![0.0; targets.len() * count];
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let (mut trees, mut importance) = (Vec::new(), vec![0.0; binned.columns.len()]);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.max(1)).build()?;
    for _ in 0..settings.rounds {
        let shares = pool.install(|| shares(&sums, count));
        let right = targets.iter().enumerate().map(|(row, class)| shares[row * count + class]);
        if 1.0 - right.sum::<f64>() / (targets.len() as f64) < LEARNED {
            break;
        }
        let chosen: Vec<Vec<usize>> =
            (0..count).map(|_| columns(settings, binned.columns.len(), &mut random)).collect();
        let grow = |class: usize| {
            let pull = |(row, target): (usize, &usize)| {
                let share = shares[row * count + class];
                let wanted = f64::from(u8::from(*target == class));
                let weight = weights[*target];
                ((share - wanted) * weight, (share * (1.0 - share) * weight).max(1e-12))
            };
            let pulls: Vec<(f64, f64)> = targets.iter().enumerate().map(pull).collect();
            Grower { binned: &binned, settings, columns: &chosen[class], pulls: &pulls }.grow()
        };
        let grown: Vec<Grown> = pool.install(|| (0..count).into_par_iter().map(grow).collect());
        for (class, Grown { tree, added, gains }) in grown.into_iter().enumerate() {
            let own = sums.iter_mut().skip(class).step_by(count);
            own.zip(added).for_each(|(sum, added)| *sum += added);
            importance.iter_mut().zip(gains).for_each(|(sum, gain)| *sum += gain);
            trees.push(tree);
        }
    }
    let total: f64 = importance.iter().sum();
    if total > 0.0 {
        importance.iter_mut().for_each(|share| *share /= total);
    }
    let fill = binned.columns.iter().map(|column| column.fill).collect();
    BoostedTrees::new(classes, fill, importance, vec![0.0; count], trees).map_err(FitError::Model)
}

/// Returns the columns that a tree uses, in their order.
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

/// Returns the share of each class in each row, row by row as the sums.
fn shares(sums: &[f64], classes: usize) -> Vec<f64> {
    let mut shares = sums.to_vec();
    shares
        .par_chunks_mut(BLOCK_ROWS * classes)
        .for_each(|rows| rows.chunks_exact_mut(classes).for_each(softmax));
    shares
}
