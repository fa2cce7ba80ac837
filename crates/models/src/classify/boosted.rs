//! Gradient-boosted trees that distinguish classes (Friedman: Greedy Function Approximation: A
//! Gradient Boosting Machine, 2001): a tree a class and round; the values of a row's leaves are
//! added up, and the softmax of the sums are the shares of the classes.

use contract::{DAMAGED_HINT, StepError};

use crate::Tensors;
use crate::class_trees::{Calibration, is_tree, take_ranges};
use crate::scaler::is_there;

/// Kind of model, as the document names it.
pub const KIND: &str = "gradient_boosting";

/// One tree: parallel vectors with an item a node, the root first, children after their parent and
/// side by side.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValueTree {
    /// Column of the split; 0 at a leaf.
    pub features: Vec<u32>,
    /// A row whose value is larger goes right; 0 at a leaf.
    pub thresholds: Vec<f64>,
    /// Index of the left child, whose neighbour is the right one; 0 for a leaf.
    pub lefts: Vec<u32>,
    /// What a leaf adds to the sum of its class; 0 at a split.
    pub values: Vec<f64>,
}

/// Fitted boosted trees. They take unscaled values; a gap, an infinity and a value beyond 1e150 are
/// replaced by the training median.
#[derive(Debug, Clone, PartialEq)]
pub struct BoostedTrees {
    classes: Vec<String>,
    fill: Vec<f64>,
    importance: Vec<f64>,
    calibration: Calibration,
    /// Sum of each class before the first tree.
    base: Vec<f64>,
    /// Round by round, in each the classes in their order.
    trees: Vec<ValueTree>,
}

fn refused(what: &str) -> StepError {
    StepError::refused(format!("the boosted trees {what}")).hint(DAMAGED_HINT)
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
        loop {
            let left = self.lefts[node] as usize;
            if left == 0 {
                return self.values[node];
            }
            let goes_right = row[self.features[node] as usize] > self.thresholds[node];
            node = left + usize::from(goes_right);
        }
    }
}

impl BoostedTrees {
    /// Makes the model. `fill` is the median and `importance` the share of each column in what the
    /// splits gained; `base` has an item a class, and so has each round of `trees`.
    pub fn new(
        classes: Vec<String>,
        [fill, importance]: [Vec<f64>; 2],
        base: Vec<f64>,
        trees: Vec<ValueTree>,
    ) -> Result<Self, StepError> {
        let count = classes.len();
        if count < 2 || !classes.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(refused("have too few classes, or not in the order of their names"));
        }
        if base.len() != count || !trees.len().is_multiple_of(count) {
            return Err(refused("are not a tree a class and round"));
        }
        if fill.is_empty() || fill.len() != importance.len() {
            return Err(refused("do not match their columns"));
        }
        trees.iter().try_for_each(|tree| tree.check(fill.len()))?;
        Ok(Self { classes, fill, importance, calibration: Calibration::NONE, base, trees })
    }

    /// Sets how shares become probabilities.
    pub fn calibrated(self, calibration: Calibration) -> Result<Self, StepError> {
        Ok(Self { calibration: calibration.checked()?, ..self })
    }

    /// Returns how shares become probabilities.
    pub fn calibration(&self) -> Calibration {
        self.calibration
    }

    /// Returns the classes, in the order of their names.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns the number of columns of a row.
    pub fn columns(&self) -> usize {
        self.fill.len()
    }

    /// Returns each column's share in what the splits gained.
    pub fn importance(&self) -> &[f64] {
        &self.importance
    }

    /// Returns the share of each class; they sum to 1.
    pub fn shares(&self, row: &[f64]) -> Vec<f64> {
        let values = row.iter().zip(&self.fill);
        let row: Vec<f64> =
            values.map(|(value, fill)| if is_there(*value) { *value } else { *fill }).collect();
        let mut sums = self.base.clone();
        for round in self.trees.chunks_exact(sums.len()) {
            round.iter().zip(&mut sums).for_each(|(tree, sum)| *sum += tree.value(&row));
        }
        softmax(&mut sums);
        sums
    }

    pub(crate) fn tensors(&self) -> Tensors {
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
        tensors.insert_f64("fill", &[self.fill.len()], self.fill.clone());
        tensors.insert_f64("importance", &[self.importance.len()], self.importance.clone());
        let Calibration { smoothing, exponent } = self.calibration;
        tensors.insert_f64("calibration", &[2], vec![smoothing, exponent]);
        tensors.insert_f64("base", &[self.base.len()], self.base.clone());
        tensors.insert_text("class_names", &self.classes.join("\n"));
        tensors.insert_u32("tree_nodes", &[sizes.len()], sizes);
        tensors.insert_u32("feature", &[nodes], whole(|tree| &tree.features));
        tensors.insert_u32("left", &[nodes], whole(|tree| &tree.lefts));
        tensors.insert_f64("threshold", &[nodes], numbers(|tree| &tree.thresholds));
        tensors.insert_f64("value", &[nodes], numbers(|tree| &tree.values));
        tensors
    }

    pub(crate) fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let columns = tensors.length("fill")?;
        let fill = tensors.take_f64("fill", &[columns])?;
        let importance = tensors.take_f64("importance", &[columns])?;
        let calibration = Calibration::take(tensors)?;
        let count = tensors.length("base")?;
        let base = tensors.take_f64("base", &[count])?;
        let names = tensors.take_text("class_names")?;
        let classes = names.split('\n').map(str::to_owned).collect();
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
        Self::new(classes, [fill, importance], base, trees)?.calibrated(calibration)
    }
}

/// Turns sums into shares that sum to 1.
pub fn softmax(sums: &mut [f64]) {
    let highest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    sums.iter_mut().for_each(|sum| *sum = (*sum - highest).exp());
    let total: f64 = sums.iter().sum();
    sums.iter_mut().for_each(|sum| *sum /= total);
}
