//! Growing a tree that tells classes apart (Breiman and others: Classification and Regression
//! Trees, 1984): Gini impurity, thresholds halfway between neighbouring values.
//!
//! Own code, and not `linfa-trees` 0.8: that sums impurities in the order of a hash map, so that the
//! same rows give other trees from run to run, and takes values closer than 1e-5 for equal,
//! whatever their unit. Tests compare the two where neither matters.

use document::models::ClassWeights;
use models::class_trees::{ClassTree, Classes};
use models::scaler::{Scaling, single};
use models::{ClassTrees, Scaler};
use ndarray::{Array1, Array2, ArrayView2};
use rand::RngCore;

use crate::{FitError, rows};

/// Most classes: more are a sign that something else than a label was taken for one.
const MOST_CLASSES: usize = 100;

/// Rows with their classes, as trees take them.
pub(crate) struct Sample {
    /// Values of each column without gaps.
    columns: Vec<Vec<f64>>,
    class: Vec<usize>,
    /// What a row of each class counts.
    weights: Vec<f64>,
    fill: Vec<f64>,
}

/// How far a tree grows.
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
    pub(crate) row: usize,
    pub(crate) copies: u32,
}

/// A tree and what each column's splits gained, weighted by rows.
pub(crate) struct Grown {
    pub(crate) tree: ClassTree,
    pub(crate) gains: Vec<f64>,
}

impl Sample {
    /// Refuses rows that nothing can be learned from, and fewer than two classes.
    pub(crate) fn new(
        records: &Array2<f64>,
        targets: &Array1<usize>,
        classes: &Classes,
        weights: ClassWeights,
    ) -> Result<Self, FitError> {
        rows::check(records, 2)?;
        let count = classes.names.len();
        let mut rows_of = vec![0_usize; count];
        for class in targets {
            *rows_of.get_mut(*class).ok_or(FitError::Classes { found: *class + 1 })? += 1;
        }
        let found = rows_of.iter().filter(|rows| **rows > 0).count();
        if !(2..=MOST_CLASSES).contains(&found) || targets.len() != records.nrows() {
            return Err(FitError::Classes { found });
        }
        let weight = |rows: &usize| match weights {
            ClassWeights::Balanced if *rows > 0 => targets.len() as f64 / (found * rows) as f64,
            _ => 1.0,
        };
        // For its medians and what it takes for a gap.
        let scaler = Scaler::fit(records.view(), Scaling::Robust);
        Ok(Self {
            columns: filled(records.view(), scaler.fill()),
            class: targets.to_vec(),
            weights: rows_of.iter().map(weight).collect(),
            fill: scaler.fill().to_vec(),
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.class.len()
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Puts grown trees together.
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
        ClassTrees::new(kind, classes, [self.fill, importance], trees).map_err(FitError::Model)
    }
}

fn filled(records: ArrayView2<'_, f64>, fill: &[f64]) -> Vec<Vec<f64>> {
    let columns = records.columns().into_iter().zip(fill);
    columns
        .map(|(column, fill)| {
            column.iter().map(|v| if models::scaler::is_there(*v) { *v } else { *fill }).collect()
        })
        .collect()
}

/// Rows of each class at a node. Whole numbers: their sums do not depend on the order of rows.
type Counts = Vec<u32>;

struct Split {
    column: usize,
    threshold: f64,
    /// Weighted rows times squared shares, of both sides: larger is purer.
    purity: f64,
}

/// Grows one tree.
pub(crate) struct Grower<'a, R> {
    pub(crate) sample: &'a Sample,
    pub(crate) growth: Growth,
    pub(crate) random: R,
}

impl<R: RngCore> Grower<'_, R> {
    pub(crate) fn grow(mut self, mut members: Vec<Member>) -> Grown {
        let columns = self.sample.columns();
        let mut grown = Grown { tree: ClassTree::default(), gains: vec![0.0; columns] };
        self.add_node(&mut grown.tree, &members);
        let mut open = vec![(0, 0..members.len(), 0)];
        while let Some((node, range, depth)) = open.pop() {
            let members = &mut members[range.clone()];
            if depth >= self.growth.max_depth {
                continue;
            }
            let counts = self.counts(members);
            if counts.iter().filter(|rows| **rows > 0).count() < 2 {
                continue;
            }
            let Some(split) = self.best_split(members, &counts) else { continue };
            grown.gains[split.column] += split.purity - self.purity(&counts);
            let values = &self.sample.columns[split.column];
            // The order of the members inside a node does not matter.
            members
                .sort_unstable_by_key(|member| (values[member.row] > split.threshold, member.row));
            let left = members.partition_point(|member| values[member.row] <= split.threshold);
            let child = grown.tree.nodes();
            grown.tree.lefts[node] = u32::try_from(child).unwrap_or(0);
            grown.tree.features[node] = u32::try_from(split.column).unwrap_or(0);
            grown.tree.thresholds[node] = split.threshold;
            self.add_node(&mut grown.tree, &members[..left]);
            self.add_node(&mut grown.tree, &members[left..]);
            let middle = range.start + left;
            open.push((child, range.start..middle, depth + 1));
            open.push((child + 1, middle..range.end, depth + 1));
        }
        grown
    }

    fn counts(&self, members: &[Member]) -> Counts {
        let mut counts = vec![0; self.sample.weights.len()];
        members.iter().for_each(|member| counts[self.sample.class[member.row]] += member.copies);
        counts
    }

    fn weight(&self, counts: &[u32]) -> f64 {
        counts.iter().zip(&self.sample.weights).map(|(rows, w)| f64::from(*rows) * w).sum()
    }

    /// Returns the weighted rows times the sum of squared class shares: impurity is what is missing
    /// to the weight.
    fn purity(&self, counts: &[u32]) -> f64 {
        let weighted =
            counts.iter().zip(&self.sample.weights).map(|(rows, w)| f64::from(*rows) * w);
        let (sum, squares) =
            weighted.fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
        if sum > 0.0 { squares / sum } else { 0.0 }
    }

    fn add_node(&self, tree: &mut ClassTree, members: &[Member]) {
        let counts = self.counts(members);
        let total = self.weight(&counts).max(f64::MIN_POSITIVE);
        let weighted =
            counts.iter().zip(&self.sample.weights).map(|(rows, w)| f64::from(*rows) * w);
        tree.shares.extend(weighted.map(|weight| single(weight / total).clamp(0.0, 1.0)));
        tree.features.push(0);
        tree.thresholds.push(0.0);
        tree.lefts.push(0);
    }

    /// Tries columns until as many as wanted were not constant here.
    fn best_split(&mut self, members: &[Member], counts: &[u32]) -> Option<Split> {
        let mut columns: Vec<usize> = (0..self.sample.columns()).collect();
        if self.growth.split_columns < columns.len() {
            rows::shuffle(&mut self.random, &mut columns);
        }
        let (mut best, mut tried): (Option<Split>, usize) = (None, 0);
        let mut sorted = Vec::with_capacity(members.len());
        for column in columns {
            if tried >= self.growth.split_columns {
                break;
            }
            let values = &self.sample.columns[column];
            sorted.clear();
            sorted.extend(members.iter().map(|member| (values[member.row], *member)));
            sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.row.cmp(&b.1.row)));
            if sorted.first().map(|first| first.0) >= sorted.last().map(|last| last.0) {
                continue;
            }
            tried += 1;
            self.improve(&mut best, column, &sorted, counts);
        }
        best
    }

    /// Takes over the best threshold of a column where it is better than the best so far.
    fn improve(
        &self,
        best: &mut Option<Split>,
        column: usize,
        sorted: &[(f64, Member)],
        counts: &[u32],
    ) {
        let (mut left, mut right) = (vec![0; counts.len()], counts.to_vec());
        let least = self.growth.min_leaf_rows as usize;
        for (index, pair) in sorted.windows(2).enumerate() {
            let [(value, member), (next, _)] = [pair[0], pair[1]];
            let class = self.sample.class[member.row];
            left[class] += member.copies;
            right[class] -= member.copies;
            let rows = index + 1;
            if value >= next || rows < least || sorted.len() - rows < least {
                continue;
            }
            let purity = self.purity(&left) + self.purity(&right);
            if best.as_ref().is_none_or(|best| purity > best.purity) {
                // Halves first: the sum of two large values may be infinite.
                let middle = value / 2.0 + next / 2.0;
                let threshold = if middle < next { middle.max(value) } else { value };
                *best = Some(Split { column, threshold, purity });
            }
        }
    }
}
