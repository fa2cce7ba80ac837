//! Trees that predict the class of a row: a decision tree (Breiman and others: Classification and
//! Regression Trees, 1984) or a random forest (Breiman: Random Forests, 2001).

use std::ops::Range;

use contract::StepError;
use ndarray::{ArrayView1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Tensors;
use crate::class_model::ClassModel;
use crate::detector::{Detector, shares};

/// The kinds of model that are class trees, in the order of their names.
pub const KINDS: [&str; 2] = ["decision_tree", "random_forest"];

/// Weight of the rows of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// Every class has the same weight, also with few rows.
    Balanced,
    /// Every row has the same weight.
    Rows,
}

/// The classes of a model, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    /// Their names: labels of the scenario log or the table.
    pub names: Vec<String>,
    /// Which of them mean normal.
    pub normal: Vec<bool>,
}

/// One tree: parallel vectors with one item per node. The root is first, and two children are
/// adjacent, after their parent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClassTree {
    /// Column of the split; 0 at a leaf.
    pub features: Vec<u32>,
    /// A row whose value is larger goes right; 0 at a leaf.
    pub thresholds: Vec<f64>,
    /// Index of the left child, whose neighbour is the right one; 0 for a leaf.
    pub lefts: Vec<u32>,
    /// Weighted share of each class among the training rows of the node, node by node.
    pub shares: Vec<f32>,
}

/// How the trees' mean shares become probabilities: `(share + smoothing) ^ exponent`, scaled so
/// that they sum to 1. Temperature scaling (Guo and others: On Calibration of Modern Neural
/// Networks, 2017) with a share for classes that no tree predicts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Added to every share; above 0.
    pub smoothing: f64,
    /// Above 1 if the trees are underconfident, below 1 if they are overconfident.
    pub exponent: f64,
}

/// Class trees as a detector: the score is the probability that a row is of no normal class.
///
/// They take unscaled values: only their order counts. A gap, an infinity and a value beyond 1e150
/// are replaced by the training median.
///
/// Attribution: exact along the path. The share of normal classes changes at every split. A column
/// gets the decreases of its splits, over all trees; a column with a total increase gets 0.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassTrees {
    kind: &'static str,
    model: ClassModel,
    trees: Vec<ClassTree>,
}

fn refused(what: &str) -> StepError {
    StepError::damaged(format!("the class trees {what}"))
}

/// Returns whether the children of each node come after it and exist, so that every walk ends;
/// `lefts` has the left child of each node, 0 for a leaf.
pub(crate) fn is_tree(lefts: &[u32]) -> bool {
    lefts.iter().enumerate().all(|(node, left)| {
        let left = *left as usize;
        left == 0 || (left > node && left + 1 < lefts.len())
    })
}

/// Takes the tensor `tree_nodes`, the number of nodes of each tree, and returns the range of nodes
/// of each tree; `None` if their sum is not `nodes`.
pub(crate) fn take_ranges(
    tensors: &mut Tensors,
    nodes: usize,
) -> Result<Option<Vec<Range<usize>>>, StepError> {
    let trees = tensors.length("tree_nodes")?;
    let sizes = tensors.take_u32("tree_nodes", &[trees])?;
    if sizes.iter().map(|size| u64::from(*size)).sum::<u64>() != nodes as u64 {
        return Ok(None);
    }
    let mut start = 0;
    let ranges = sizes.iter().map(|size| {
        let range = start..start + *size as usize;
        start = range.end;
        range
    });
    Ok(Some(ranges.collect()))
}

impl ClassTree {
    /// Returns the number of nodes.
    pub fn nodes(&self) -> usize {
        self.lefts.len()
    }

    fn check(&self, classes: usize, columns: usize) -> Result<(), StepError> {
        let nodes = self.nodes();
        let sizes = [self.features.len(), self.thresholds.len(), self.shares.len()];
        if nodes == 0 || sizes != [nodes, nodes, nodes * classes] {
            return Err(refused("have vectors of different lengths"));
        }
        if self.features.iter().any(|feature| *feature as usize >= columns) {
            return Err(refused("split a column that is not there"));
        }
        if !self.shares.iter().all(|share| (0.0..=1.0).contains(share)) {
            return Err(refused("have shares that are none"));
        }
        if is_tree(&self.lefts) {
            return Ok(());
        }
        Err(refused("hold something that is not a tree"))
    }

    /// Returns the nodes a row without gaps passes, the root first.
    fn path<'a>(&'a self, row: &'a [f64]) -> impl Iterator<Item = usize> + 'a {
        std::iter::successors(Some(0), |node| {
            let left = self.lefts[*node] as usize;
            let goes_right = row[self.features[*node] as usize] > self.thresholds[*node];
            (left != 0).then(|| left + usize::from(goes_right))
        })
    }

    fn shares_of(&self, node: usize, classes: usize) -> &[f32] {
        &self.shares[node * classes..(node + 1) * classes]
    }
}

impl Calibration {
    /// Hardly changes the shares.
    pub const NONE: Self = Self { smoothing: 1e-9, exponent: 1.0 };

    /// Takes the tensor `calibration`.
    pub(crate) fn take(tensors: &mut Tensors) -> Result<Self, StepError> {
        let values = tensors.take_f64("calibration", &[2])?;
        Ok(Self { smoothing: values[0], exponent: values[1] })
    }

    /// Refuses a calibration that is out of range.
    pub fn checked(self) -> Result<Self, StepError> {
        let Self { smoothing, exponent } = self;
        if (1e-12..=1.0).contains(&smoothing) && (0.01..=100.0).contains(&exponent) {
            return Ok(self);
        }
        Err(refused("have a calibration out of range"))
    }

    /// Turns mean shares into probabilities.
    pub fn apply(&self, shares: &mut [f64]) {
        for share in shares.iter_mut() {
            *share = (*share + self.smoothing).powf(self.exponent);
        }
        let total: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= total);
    }
}

impl ClassTrees {
    /// Makes the model. `kind` is one of [`KINDS`], `fill` the median of each column, and
    /// `importance` its share of the gain of the splits.
    pub fn new(
        kind: &'static str,
        classes: Classes,
        fill: Vec<f64>,
        importance: Vec<f64>,
        trees: Vec<ClassTree>,
    ) -> Result<Self, StepError> {
        let count = classes.names.len();
        let named = classes.normal.len() == count && classes.names.windows(2).all(|n| n[0] < n[1]);
        if count == 0 || !named {
            return Err(refused("have no classes, or not in the order of their names"));
        }
        if trees.is_empty() || fill.len() != importance.len() {
            return Err(refused("are none, or their columns do not match"));
        }
        trees.iter().try_for_each(|tree| tree.check(count, fill.len()))?;
        let calibration = Calibration::NONE;
        Ok(Self { kind, model: ClassModel { classes, fill, importance, calibration }, trees })
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

    /// Returns the trees.
    pub fn trees(&self) -> &[ClassTree] {
        &self.trees
    }

    /// Returns the classes.
    pub fn classes(&self) -> &Classes {
        &self.model.classes
    }

    /// Returns each column's share in what the splits gained, weighted by rows; they sum to 1, or
    /// are all 0 without a split.
    pub fn importance(&self) -> &[f64] {
        &self.model.importance
    }

    /// Returns the mean share of each class over the trees, not calibrated.
    pub fn mean_shares(&self, row: &[f64]) -> Vec<f64> {
        let row = self.model.filled(row);
        let mut sums = vec![0.0; self.model.classes.names.len()];
        for tree in &self.trees {
            let leaf = tree.path(&row).last().unwrap_or(0);
            let shares = tree.shares_of(leaf, sums.len());
            sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += f64::from(*share));
        }
        sums.iter_mut().for_each(|sum| *sum /= self.trees.len() as f64);
        sums
    }

    /// Returns the probability of each class; they sum to 1.
    ///
    /// # Panics
    /// If the row does not have the columns of the model.
    pub fn probabilities(&self, row: &[f64]) -> Vec<f64> {
        assert_eq!(row.len(), self.model.fill.len(), "a row has the columns of the model");
        let mut shares = self.mean_shares(row);
        self.model.calibration.apply(&mut shares);
        shares
    }

    fn normal_share(&self, shares: &[f32]) -> f64 {
        let pairs = shares.iter().zip(&self.model.classes.normal);
        pairs.filter(|(_, normal)| **normal).map(|(share, _)| f64::from(*share)).sum()
    }

    /// Reads a model from its tensors; invalid ones are refused.
    pub fn read(kind: &'static str, tensors: &mut Tensors) -> Result<Self, StepError> {
        let model = ClassModel::take(tensors)?;
        let (nodes, classes) = tensors.dimensions("share")?;
        let shares = tensors.take_f32("share", &[nodes, classes])?;
        let features = tensors.take_u32("feature", &[nodes])?;
        let thresholds = tensors.take_f64("threshold", &[nodes])?;
        let lefts = tensors.take_u32("left", &[nodes])?;
        let ranges = take_ranges(tensors, nodes)?
            .ok_or_else(|| refused("do not have the nodes that `tree_nodes` says"))?;
        let trees = ranges.into_iter().map(|range| ClassTree {
            shares: shares[range.start * classes..range.end * classes].to_vec(),
            features: features[range.clone()].to_vec(),
            thresholds: thresholds[range.clone()].to_vec(),
            lefts: lefts[range].to_vec(),
        });
        let trees = trees.collect();
        let ClassModel { classes, fill, importance, calibration } = model;
        Self::new(kind, classes, fill, importance, trees)?.calibrated(calibration)
    }
}

impl Detector for ClassTrees {
    fn kind(&self) -> &'static str {
        self.kind
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
        for tree in &self.trees {
            let share =
                |node| self.normal_share(tree.shares_of(node, self.model.classes.names.len()));
            let path: Vec<usize> = tree.path(&row).collect();
            for step in path.windows(2) {
                let column = tree.features[step[0]] as usize;
                contributions[column] += share(step[0]) - share(step[1]);
            }
        }
        shares(contributions)
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        let nodes: usize = self.trees.iter().map(ClassTree::nodes).sum();
        let sizes = self.trees.iter().map(|tree| u32::try_from(tree.nodes()).unwrap_or(u32::MAX));
        let sizes: Vec<u32> = sizes.collect();
        let whole = |pick: fn(&ClassTree) -> &Vec<u32>| -> Vec<u32> {
            self.trees.iter().flat_map(pick).copied().collect()
        };
        self.model.put(&mut tensors);
        tensors.insert_u32("tree_nodes", &[sizes.len()], sizes);
        tensors.insert_u32("feature", &[nodes], whole(|tree| &tree.features));
        tensors.insert_u32("left", &[nodes], whole(|tree| &tree.lefts));
        let thresholds = self.trees.iter().flat_map(|tree| &tree.thresholds).copied().collect();
        tensors.insert_f64("threshold", &[nodes], thresholds);
        let shares = self.trees.iter().flat_map(|tree| &tree.shares).copied().collect();
        tensors.insert_f32("share", &[nodes, self.model.classes.names.len()], shares);
        tensors
    }

    fn is_ratio_scaled(&self) -> bool {
        false
    }
}
