//! Growing a tree that distinguishes classes (Breiman and others: Classification and Regression
//! Trees, 1984): Gini impurity, thresholds halfway between neighbouring values of a node.
//!
//! Splits are found between bins. Up to 2,048 rows each value has its own bin; above there are 256
//! bins with about the same number of rows.
//!
//! This is implemented here, because `linfa-trees` 0.8 sums impurities in the order of a hash map,
//! so that the same rows give different trees, and treats values closer than 1e-5 as equal in any
//! unit. Tests compare both implementations on data where neither difference matters.

mod scan;

use ndarray::{Array1, Array2};
use rand::RngCore;

use crate::ClassTrees;
use crate::class_trees::{ClassTree, ClassWeights, Classes};
use crate::fit::bins::{self, Column};
use crate::fit::{FitError, rows};
use crate::scaler::single;
use scan::{BETTER, Counts, Scan, Side};

/// Maximum number of classes: more indicate that the column is not a label.
const MOST_CLASSES: usize = 100;
/// Maximum number of rows for which each value has its own bin.
const EXACT_ROWS: usize = 2048;
/// Maximum number of bins of a column with more rows.
const BINS: u16 = 256;

/// Rows with their classes, as input of trees.
pub(crate) struct Sample {
    columns: Vec<Column>,
    class: Vec<u16>,
    /// Weight of a row of each class.
    weights: Vec<f64>,
}

/// Limits of a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    pub(crate) max_depth: u32,
    pub(crate) min_leaf_rows: u32,
    /// Columns drawn for each split; all of them are tried in their order.
    pub(crate) split_columns: usize,
}

/// A row in a tree and how often it was drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) row: u32,
    pub(crate) copies: u32,
}

/// A tree and the gain of each column's splits, weighted by rows.
pub(crate) struct Grown {
    pub(crate) tree: ClassTree,
    pub(crate) gains: Vec<f64>,
}

impl Sample {
    /// Refuses rows without a class, and fewer than two classes.
    pub(crate) fn new(
        records: &Array2<f64>,
        targets: &Array1<usize>,
        classes: &Classes,
        weights: ClassWeights,
    ) -> Result<Self, FitError> {
        rows::check(records, 2)?;
        let rows_of = rows_of_classes(targets, classes.names.len())?;
        let exact = u16::try_from(records.nrows().max(2)).unwrap_or(u16::MAX);
        let most = if records.nrows() <= EXACT_ROWS { exact } else { BINS };
        Ok(Self {
            columns: bins::columns(records, most),
            class: targets.iter().map(|class| u16::try_from(*class).unwrap_or(u16::MAX)).collect(),
            weights: row_weights(weights, &rows_of),
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.class.len()
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Makes a model of grown trees.
    pub(crate) fn model(
        self,
        kind: &'static str,
        classes: Classes,
        grown: Vec<Grown>,
    ) -> Result<ClassTrees, FitError> {
        let mut importance = vec![0.0; self.columns()];
        let mut trees = Vec::with_capacity(grown.len());
        for Grown { tree, gains } in grown {
            let total: f64 = gains.iter().sum();
            if total > 0.0 {
                importance.iter_mut().zip(&gains).for_each(|(sum, gain)| *sum += gain / total);
            }
            trees.push(tree);
        }
        let total: f64 = importance.iter().sum();
        if total > 0.0 {
            importance.iter_mut().for_each(|share| *share /= total);
        }
        let fill = self.columns.iter().map(|column| column.fill).collect();
        ClassTrees::new(kind, classes, fill, importance, trees).map_err(FitError::Model)
    }
}

/// Counts the rows of each class; fewer than two classes with rows are refused, and too many.
pub(crate) fn rows_of_classes(
    targets: &Array1<usize>,
    classes: usize,
) -> Result<Vec<usize>, FitError> {
    let mut rows_of = vec![0_usize; classes];
    for class in targets {
        *rows_of.get_mut(*class).ok_or(FitError::Classes { found: *class + 1 })? += 1;
    }
    let found = rows_of.iter().filter(|rows| **rows > 0).count();
    if (2..=MOST_CLASSES).contains(&found) { Ok(rows_of) } else { Err(FitError::Classes { found }) }
}

/// Returns the weight of a row of each class; `rows_of` has the number of rows of each.
pub(crate) fn row_weights(weights: ClassWeights, rows_of: &[usize]) -> Vec<f64> {
    let found = rows_of.iter().filter(|rows| **rows > 0).count();
    let all: usize = rows_of.iter().sum();
    let weight = |rows: &usize| match weights {
        ClassWeights::Balanced if *rows > 0 => all as f64 / (found * rows) as f64,
        ClassWeights::Balanced | ClassWeights::Rows => 1.0,
    };
    rows_of.iter().map(weight).collect()
}

struct Split {
    column: usize,
    /// The last bin on the left.
    bin: u16,
    /// Weighted rows times squared shares, of both sides: larger is purer.
    purity: f64,
}

/// Grows one tree.
pub(crate) struct Grower<'a, R> {
    sample: &'a Sample,
    growth: Growth,
    random: R,
    order: Vec<usize>,
    scan: Scan,
    keys: Vec<u64>,
    histogram: Vec<u64>,
    aside: Vec<Member>,
}

impl<'a, R: RngCore> Grower<'a, R> {
    pub(crate) fn new(sample: &'a Sample, growth: Growth, random: R) -> Self {
        Self {
            sample,
            growth,
            random,
            order: Vec::new(),
            scan: Scan::default(),
            keys: Vec::new(),
            histogram: Vec::new(),
            aside: Vec::new(),
        }
    }

    pub(crate) fn grow(mut self, mut members: Vec<Member>) -> Grown {
        let columns = self.sample.columns();
        let mut grown = Grown { tree: ClassTree::default(), gains: vec![0.0; columns] };
        let counts = self.counts(&members);
        self.add_node(&mut grown.tree, &counts);
        let mut open = vec![(0, 0..members.len(), 0, counts)];
        while let Some((node, range, depth, counts)) = open.pop() {
            let members = &mut members[range.clone()];
            let impure = counts.iter().filter(|rows| **rows > 0).count() > 1;
            if depth >= self.growth.max_depth || !impure {
                continue;
            }
            let Some(split) = self.best_split(members, &counts) else { continue };
            grown.gains[split.column] += split.purity - self.purity(&counts);
            let (left, threshold) = self.divide(members, &split);
            let left_counts = self.counts(&members[..left]);
            let right_counts: Counts =
                counts.iter().zip(&left_counts).map(|(all, left)| all - left).collect();
            let child = grown.tree.nodes();
            grown.tree.lefts[node] = u32::try_from(child).unwrap_or(0);
            grown.tree.features[node] = u32::try_from(split.column).unwrap_or(0);
            grown.tree.thresholds[node] = threshold;
            self.add_node(&mut grown.tree, &left_counts);
            self.add_node(&mut grown.tree, &right_counts);
            let middle = range.start + left;
            open.push((child, range.start..middle, depth + 1, left_counts));
            open.push((child + 1, middle..range.end, depth + 1, right_counts));
        }
        grown
    }

    fn counts(&self, members: &[Member]) -> Counts {
        let mut counts = vec![0; self.sample.weights.len()];
        for member in members {
            counts[usize::from(self.sample.class[member.row as usize])] += member.copies;
        }
        counts
    }

    /// Returns the weighted rows times the sum of squared class shares: impurity is the weight
    /// minus this value.
    fn purity(&self, counts: &[u32]) -> f64 {
        let mut side = Side::default();
        side.set(counts, 0, &self.sample.weights);
        side.purity()
    }

    fn add_node(&self, tree: &mut ClassTree, counts: &[u32]) {
        let weighted = counts.iter().zip(&self.sample.weights);
        let weighted = || weighted.clone().map(|(rows, weight)| f64::from(*rows) * weight);
        let total = weighted().sum::<f64>().max(f64::MIN_POSITIVE);
        tree.shares.extend(weighted().map(|weight| single(weight / total).clamp(0.0, 1.0)));
        tree.features.push(0);
        tree.thresholds.push(0.0);
        tree.lefts.push(0);
    }

    /// Puts the members of the left side first, in their order; returns their number, and the value
    /// halfway between both sides.
    fn divide(&mut self, members: &mut [Member], split: &Split) -> (usize, f64) {
        let column = &self.sample.columns[split.column];
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        self.aside.clear();
        let mut left = 0;
        for place in 0..members.len() {
            let member = members[place];
            let row = member.row as usize;
            if column.bins[row] <= split.bin {
                low = low.max(column.values[row]);
                members[left] = member;
                left += 1;
            } else {
                high = high.min(column.values[row]);
                self.aside.push(member);
            }
        }
        members[left..].copy_from_slice(&self.aside);
        (left, bins::between(low, high))
    }

    /// Tries columns until the requested number of them were not constant at this node.
    fn best_split(&mut self, members: &[Member], counts: &[u32]) -> Option<Split> {
        let columns = self.sample.columns();
        self.order.clear();
        self.order.extend(0..columns);
        if self.growth.split_columns < columns {
            rows::shuffle(&mut self.random, &mut self.order);
        }
        let (mut best, mut tried): (Option<Split>, usize) = (None, 0);
        for place in 0..columns {
            if tried >= self.growth.split_columns {
                break;
            }
            let column = self.order[place];
            self.scan.start(counts, members.len(), &self.sample.weights);
            if members.len() < self.sample.columns[column].count() {
                self.scan_sorted(members, column);
            } else {
                self.scan_histogram(members, column);
            }
            if self.scan.places == 0 {
                continue;
            }
            tried += 1;
            let Some((bin, purity)) = self.scan.best else { continue };
            if best.as_ref().is_none_or(|best| purity > best.purity * (1.0 + BETTER)) {
                best = Some(Split { column, bin, purity });
            }
        }
        best
    }

    /// Goes through the bins of few rows: their bins are sorted.
    fn scan_sorted(&mut self, members: &[Member], column: usize) {
        let bins = &self.sample.columns[column].bins;
        let class = &self.sample.class;
        let key = |member: &Member| {
            let row = member.row as usize;
            u64::from(bins[row]) << 48 | u64::from(class[row]) << 32 | u64::from(member.copies)
        };
        self.keys.clear();
        self.keys.extend(members.iter().map(key));
        self.keys.sort_unstable();
        let least = self.growth.min_leaf_rows as usize;
        for key in &self.keys {
            #[expect(clippy::cast_possible_truncation, reason = "the parts that were put together")]
            let (bin, class, copies) =
                ((key >> 48) as u16, usize::from((key >> 32) as u16), *key as u32);
            self.scan.reach(bin, least);
            self.scan.take(class, 1, copies, self.sample.weights[class]);
        }
    }

    /// Goes through the bins of many rows: they are counted.
    fn scan_histogram(&mut self, members: &[Member], column: usize) {
        let column = &self.sample.columns[column];
        let classes = self.sample.weights.len();
        self.histogram.clear();
        self.histogram.resize(column.count() * classes, 0);
        for member in members {
            let row = member.row as usize;
            let slot =
                usize::from(column.bins[row]) * classes + usize::from(self.sample.class[row]);
            // The upper half counts rows, the lower half counts how often they were drawn.
            self.histogram[slot] += 1 << 32 | u64::from(member.copies);
        }
        let least = self.growth.min_leaf_rows as usize;
        for (bin, cells) in self.histogram.chunks_exact(classes).enumerate() {
            let bin = u16::try_from(bin).unwrap_or(u16::MAX);
            for (class, cell) in cells.iter().enumerate().filter(|(_, cell)| **cell > 0) {
                self.scan.reach(bin, least);
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the parts that were put together"
                )]
                let (rows, copies) = ((cell >> 32) as usize, *cell as u32);
                self.scan.take(class, rows, copies, self.sample.weights[class]);
            }
        }
    }
}
