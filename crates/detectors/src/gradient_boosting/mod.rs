//! Gradient-boosted trees that distinguish classes (Friedman: Greedy Function Approximation: A
//! Gradient Boosting Machine, 2001): a tree a class and round; the values of a row's leaves are
//! added up, and the softmax of the sums are the shares of the classes.

#[cfg(feature = "fit")]
pub mod fit;
pub mod settings;

use contract::StepError;
use ndarray::{ArrayView1, ArrayView2};

use crate::Tensors;
use crate::class_model::ClassModel;
use crate::class_trees::{Calibration, Classes, is_tree, take_ranges};
use crate::detector::{self, Detector, Reader};

/// How the kind is read.
pub(crate) const READER: Reader =
    Reader::Rows(|tensors| Ok(Box::new(BoostedTrees::read(tensors)?)));

/// Kind of model, as the document names it.
pub const KIND: &str = "gradient_boosting";

/// One tree: parallel vectors with one item per node. The root is first, and two children are
/// adjacent, after their parent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValueTree {
    /// Column of the split; 0 at a leaf.
    pub features: Vec<u32>,
    /// A row whose value is larger goes right; 0 at a leaf.
    pub thresholds: Vec<f64>,
    /// Index of the left child, whose neighbour is the right one; 0 for a leaf.
    pub lefts: Vec<u32>,
    /// Value that a leaf adds to the sum of its class; for a split the value that it would add as a
    /// leaf.
    pub values: Vec<f64>,
}

/// Fitted boosted trees. They take unscaled values; a gap, an infinity and a value beyond 1e150 are
/// replaced by the training median.
#[derive(Debug, Clone, PartialEq)]
pub struct BoostedTrees {
    model: ClassModel,
    /// Sum of each class before the first tree.
    base: Vec<f64>,
    /// Round by round, in each the classes in their order.
    trees: Vec<ValueTree>,
}

fn refused(what: &str) -> StepError {
    StepError::damaged(format!("the boosted trees {what}"))
}

impl ValueTree {
    fn check(&self, columns: usize) -> Result<(), StepError> {
        let nodes = self.lefts.len();
        let sizes = [self.features.len(), self.thresholds.len(), self.values.len()];
        if nodes == 0 || sizes != [nodes; 3] {
            return Err(refused("have vectors of different lengths"));
        }
        if self.features.iter().any(|feature| *feature as usize >= columns) {
            return Err(refused("split a column that is not there"));
        }
        if !self.values.iter().all(|value| value.is_finite()) {
            return Err(refused("have a value that is not finite"));
        }
        if is_tree(&self.lefts) {
            return Ok(());
        }
        Err(refused("hold something that is not a tree"))
    }

    /// Returns the value of the leaf that a row without gaps ends in.
    pub fn value(&self, row: &[f64]) -> f64 {
        let mut node = 0;
        while let Some(next) = self.next(node, row) {
            node = next;
        }
        self.values[node]
    }

    /// Returns the child of a node that a row goes to; nothing at a leaf.
    fn next(&self, node: usize, row: &[f64]) -> Option<usize> {
        let left = self.lefts[node] as usize;
        if left == 0 {
            return None;
        }
        let goes_right = row[self.features[node] as usize] > self.thresholds[node];
        Some(left + usize::from(goes_right))
    }

    /// Adds to each column the changes at its splits on the path of a row, times a factor.
    fn contribute(&self, row: &[f64], factor: f64, contributions: &mut [f64]) {
        let mut node = 0;
        while let Some(next) = self.next(node, row) {
            let column = self.features[node] as usize;
            contributions[column] += factor * (self.values[next] - self.values[node]);
            node = next;
        }
    }
}

impl BoostedTrees {
    /// Makes the model. `fill` is the median and `importance` the share of each column in what the
    /// splits gained; `base` has an item a class, and so has each round of `trees`.
    pub fn new(
        classes: Classes,
        fill: Vec<f64>,
        importance: Vec<f64>,
        base: Vec<f64>,
        trees: Vec<ValueTree>,
    ) -> Result<Self, StepError> {
        let count = classes.names.len();
        let in_order = classes.names.windows(2).all(|pair| pair[0] < pair[1]);
        if count < 2 || classes.normal.len() != count || !in_order {
            return Err(refused("have too few classes, or not in the order of their names"));
        }
        if base.len() != count || !trees.len().is_multiple_of(count) {
            return Err(refused("are not a tree a class and round"));
        }
        if fill.is_empty() || fill.len() != importance.len() {
            return Err(refused("do not match their columns"));
        }
        trees.iter().try_for_each(|tree| tree.check(fill.len()))?;
        let calibration = Calibration::NONE;
        Ok(Self { model: ClassModel { classes, fill, importance, calibration }, base, trees })
    }

    /// Sets how shares become probabilities.
    pub fn calibrated(mut self, calibration: Calibration) -> Result<Self, StepError> {
        self.model.calibration = calibration.checked()?;
        Ok(self)
    }

    /// Returns how shares become probabilities.
    pub fn calibration(&self) -> Calibration {
        self.model.calibration
    }

    /// Returns the classes, in the order of their names.
    pub fn classes(&self) -> &[String] {
        &self.model.classes.names
    }

    /// Returns each column's share in what the splits gained.
    pub fn importance(&self) -> &[f64] {
        &self.model.importance
    }

    /// Returns the share of each class; they sum to 1.
    pub fn shares(&self, row: &[f64]) -> Vec<f64> {
        let row = self.model.filled(row);
        let mut sums = self.base.clone();
        for round in self.trees.chunks_exact(sums.len()) {
            round.iter().zip(&mut sums).for_each(|(tree, sum)| *sum += tree.value(&row));
        }
        softmax(&mut sums);
        sums
    }

    /// Returns the probability of each class; they sum to 1.
    pub fn probabilities(&self, row: &[f64]) -> Vec<f64> {
        let mut shares = self.shares(row);
        self.model.calibration.apply(&mut shares);
        shares
    }

    /// Reads a model from its tensors; invalid ones are refused.
    pub fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let model = ClassModel::take(tensors)?;
        let base = tensors.take_f64("base", &[model.classes.names.len()])?;
        let nodes = tensors.length("feature")?;
        let features = tensors.take_u32("feature", &[nodes])?;
        let lefts = tensors.take_u32("left", &[nodes])?;
        let thresholds = tensors.take_f64("threshold", &[nodes])?;
        let values = tensors.take_f64("value", &[nodes])?;
        let ranges = take_ranges(tensors, nodes)?
            .ok_or_else(|| refused("do not have the nodes that `tree_nodes` says"))?;
        let trees = ranges.into_iter().map(|range| ValueTree {
            features: features[range.clone()].to_vec(),
            thresholds: thresholds[range.clone()].to_vec(),
            lefts: lefts[range.clone()].to_vec(),
            values: values[range].to_vec(),
        });
        let trees = trees.collect();
        let ClassModel { classes, fill, importance, calibration } = model;
        Self::new(classes, fill, importance, base, trees)?.calibrated(calibration)
    }
}

/// As a detector: the score is the probability that a row is of no normal class.
///
/// Attribution: along the path of each tree. A column gets the additions of its splits to the sums
/// of anomalous classes, minus those to normal classes; a negative result counts as 0.
impl Detector for BoostedTrees {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn columns(&self) -> usize {
        self.model.fill.len()
    }

    fn decision(&self, rows: ArrayView2<'_, f64>, threads: usize) -> Vec<f64> {
        self.model.abnormal(rows, threads, |row| self.probabilities(row))
    }

    fn attribution(&self, row: ArrayView1<'_, f64>) -> Vec<f64> {
        assert_eq!(row.len(), self.columns(), "a row has the columns of the model");
        let row = self.model.filled(&row.to_vec());
        let mut contributions = vec![0.0; row.len()];
        for round in self.trees.chunks_exact(self.model.classes.names.len()) {
            for (tree, normal) in round.iter().zip(&self.model.classes.normal) {
                let factor = if *normal { -1.0 } else { 1.0 };
                tree.contribute(&row, factor, &mut contributions);
            }
        }
        detector::shares(contributions)
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        let nodes: usize = self.trees.iter().map(|tree| tree.lefts.len()).sum();
        let sizes =
            self.trees.iter().map(|tree| u32::try_from(tree.lefts.len()).unwrap_or(u32::MAX));
        let sizes: Vec<u32> = sizes.collect();
        let whole = |pick: fn(&ValueTree) -> &Vec<u32>| -> Vec<u32> {
            self.trees.iter().flat_map(pick).copied().collect()
        };
        let numbers = |pick: fn(&ValueTree) -> &Vec<f64>| -> Vec<f64> {
            self.trees.iter().flat_map(pick).copied().collect()
        };
        self.model.put(&mut tensors);
        tensors.insert_f64("base", &[self.base.len()], self.base.clone());
        tensors.insert_u32("tree_nodes", &[sizes.len()], sizes);
        tensors.insert_u32("feature", &[nodes], whole(|tree| &tree.features));
        tensors.insert_u32("left", &[nodes], whole(|tree| &tree.lefts));
        tensors.insert_f64("threshold", &[nodes], numbers(|tree| &tree.thresholds));
        tensors.insert_f64("value", &[nodes], numbers(|tree| &tree.values));
        tensors
    }

    fn is_ratio_scaled(&self) -> bool {
        false
    }
}

/// Turns sums into shares that sum to 1.
pub fn softmax(sums: &mut [f64]) {
    let highest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    sums.iter_mut().for_each(|sum| *sum = (*sum - highest).exp());
    let total: f64 = sums.iter().sum();
    sums.iter_mut().for_each(|sum| *sum /= total);
}
