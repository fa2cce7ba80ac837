//! Random trees that isolate rare rows early (Liu, Ting, Zhou: Isolation Forest, ICDM 2008), with
//! hyperplane splits as an option (Hariri, Carrasco Kind, Brunner: Extended Isolation Forest, 2019).

#[cfg(feature = "fit")]
pub mod fit;
mod perfect;
pub mod settings;

use contract::StepError;
use ndarray::{ArrayView1, ArrayView2};

use self::perfect::{Block, PerfectTree};
use crate::blocks::score_blocks;
use crate::detector::{Detector, Reader, shares};
use crate::scaler::single;
use crate::{Scaler, Tensors};

/// How the kind is read.
pub(crate) const READER: Reader =
    Reader::Rows(|tensors| Ok(Box::new(IsolationForest::read(tensors)?)));

/// Rows that a thread takes at a time.
const BLOCK_ROWS: usize = 8 * perfect::ROWS;

/// Rows that walk down a tree side by side, so that their memory accesses overlap.
const LANES: usize = 8;

const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// One tree: parallel vectors with one item per node. The root is first, and two children are
/// adjacent, after their parent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree {
    /// Columns of a node's split, as many as the forest's width, node by node.
    pub features: Vec<u32>,
    /// Weights of those columns; empty for a forest of width 1.
    pub weights: Vec<f32>,
    /// A row whose weighted sum of scaled values is larger goes right.
    pub thresholds: Vec<f32>,
    /// Index of the left child, whose neighbour is the right one; 0 for a leaf.
    pub lefts: Vec<u32>,
    /// Training rows that reached the node.
    pub samples: Vec<u32>,
}

/// The parts of a node that a walk reads; a leaf leads to itself.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    threshold: f32,
    feature: u32,
    next: u32,
}

/// Data that is derived from a tree for scoring.
#[derive(Debug, Clone, PartialEq)]
struct Walk {
    steps: Vec<Step>,
    /// Depth plus expected remaining path length at each node.
    lengths: Vec<f64>,
    depth: usize,
}

/// Anomaly score of the forest, `2^(-mean path length / expected path length)`, between 0 and 1:
/// scikit-learn's `score_samples` with the sign turned.
///
/// Attribution: exact along the path. The expected path length changes at every split by `1 +
/// c(rows of the child) - c(rows of the node)`; the changes of a walk sum to the path length minus
/// the forest's expectation. A column gets the shortening of the path at its splits (in a split of
/// several columns in proportion to their terms); a column that lengthened the path gets 0.
#[derive(Debug, Clone, PartialEq)]
pub struct IsolationForest {
    scaler: Scaler,
    width: usize,
    subsample: u32,
    trees: Vec<Tree>,
    walks: Vec<Walk>,
    /// The trees for scoring many rows; `None` if one is too deep or splits several columns.
    perfect: Option<Vec<PerfectTree>>,
}

/// Returns the expected path length of an unsuccessful search in a binary tree of `rows` leaves:
/// `c(n)` of the paper.
pub fn expected_path_length(rows: u32) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let rest = f64::from(rows) - 1.0;
            2.0 * (rest.ln() + EULER_GAMMA) - 2.0 * rest / f64::from(rows)
        }
    }
}

fn whole_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Tree {
    /// Returns the number of nodes.
    pub fn nodes(&self) -> usize {
        self.lefts.len()
    }

    fn walk(&self, width: usize, columns: usize) -> Result<Walk, StepError> {
        let wrong = |what: &str| Err(StepError::damaged(format!("a tree of the forest {what}")));
        let nodes = self.nodes();
        let weights = if width == 1 { 0 } else { nodes * width };
        let sizes =
            [self.features.len(), self.weights.len(), self.thresholds.len(), self.samples.len()];
        if nodes == 0 || sizes != [nodes * width, weights, nodes, nodes] {
            return wrong("has vectors of different lengths");
        }
        if self.features.iter().any(|feature| *feature as usize >= columns) {
            return wrong("splits a column that is not there");
        }
        // Children come after their parent and each has one: so every walk ends.
        let mut depths = vec![0_u32; nodes];
        let mut reached = vec![false; nodes];
        reached[0] = true;
        let mut steps = Vec::with_capacity(nodes);
        for (node, left) in self.lefts.iter().enumerate() {
            let child = *left as usize;
            if child == 0 {
                steps.push(Step { threshold: f32::INFINITY, feature: 0, next: whole_u32(node) });
                continue;
            }
            if child <= node || child + 1 >= nodes || reached[child] || reached[child + 1] {
                return wrong("is not a tree");
            }
            (reached[child], reached[child + 1]) = (true, true);
            (depths[child], depths[child + 1]) = (depths[node] + 1, depths[node] + 1);
            let feature = self.features[node * width];
            steps.push(Step { threshold: self.thresholds[node], feature, next: *left });
        }
        if reached.contains(&false) {
            return wrong("has a node that nothing leads to");
        }
        let nodes = depths.iter().zip(&self.samples);
        let lengths = nodes.map(|(depth, rows)| f64::from(*depth) + expected_path_length(*rows));
        let depth = depths.iter().copied().max().unwrap_or(0) as usize;
        Ok(Walk { steps, lengths: lengths.collect(), depth })
    }

    /// Returns whether a scaled row goes right at a node.
    fn goes_right(&self, node: usize, width: usize, row: &[f32]) -> bool {
        let features = &self.features[node * width..(node + 1) * width];
        let sum: f32 = if width == 1 {
            features.iter().map(|feature| row[*feature as usize]).sum()
        } else {
            let weights = &self.weights[node * width..(node + 1) * width];
            features
                .iter()
                .zip(weights)
                .map(|(feature, weight)| weight * row[*feature as usize])
                .sum()
        };
        sum > self.thresholds[node]
    }
}

impl Walk {
    /// Adds each row's path length, for splits of one column.
    fn add_lengths(&self, rows: &[f32], columns: usize, sums: &mut [f64]) {
        let groups = rows.chunks_exact(columns * LANES).zip(sums.chunks_exact_mut(LANES));
        let done = groups.len() * LANES;
        for (rows, sums) in groups {
            let mut at = [0_u32; LANES];
            for _ in 0..self.depth {
                for (lane, node) in at.iter_mut().enumerate() {
                    let step = self.steps[*node as usize];
                    let value = rows[lane * columns + step.feature as usize];
                    *node = step.next + u32::from(value > step.threshold);
                }
            }
            for (sum, node) in sums.iter_mut().zip(at) {
                *sum += self.lengths[node as usize];
            }
        }
        for (row, sum) in rows.chunks_exact(columns).zip(sums).skip(done) {
            let mut node = 0;
            for _ in 0..self.depth {
                let step = self.steps[node as usize];
                node = step.next + u32::from(row[step.feature as usize] > step.threshold);
            }
            *sum += self.lengths[node as usize];
        }
    }
}

impl IsolationForest {
    /// Makes the detector of trees that were grown on rows scaled by `scaler` and rounded to
    /// single precision. `width` is the number of columns in each split, `subsample` the number of
    /// rows each tree saw.
    pub fn new(
        scaler: Scaler,
        width: usize,
        subsample: u32,
        trees: Vec<Tree>,
    ) -> Result<Self, StepError> {
        if trees.is_empty() || width == 0 || subsample == 0 {
            return Err(StepError::damaged("the forest has no trees, no rows or no columns"));
        }
        let walks = trees.iter().map(|tree| tree.walk(width, scaler.columns()));
        let walks = walks.collect::<Result<Vec<_>, _>>()?;
        let perfect = if width == 1 { walks.iter().map(PerfectTree::of).collect() } else { None };
        Ok(Self { scaler, width, subsample, trees, walks, perfect })
    }

    /// Adds each row's path length in tree number `index`.
    fn add_lengths(&self, index: usize, rows: &[f32], sums: &mut [f64]) {
        let columns = self.scaler.columns();
        let (tree, walk) = (&self.trees[index], &self.walks[index]);
        if self.width == 1 {
            return walk.add_lengths(rows, columns, sums);
        }
        for (row, sum) in rows.chunks_exact(columns).zip(sums) {
            let mut node = 0;
            while tree.lefts[node] != 0 {
                node =
                    tree.lefts[node] as usize + usize::from(tree.goes_right(node, self.width, row));
            }
            *sum += walk.lengths[node];
        }
    }

    /// Adds the path lengths of all full blocks of rows and returns how many rows that were.
    fn add_to_blocks<const WIDTH: usize>(
        &self,
        trees: &[PerfectTree],
        rows: &[f64],
        sums: &mut [f64],
    ) -> usize {
        let full = sums.len() / perfect::ROWS;
        if full == 0 {
            return 0;
        }
        let mut block = Block::<WIDTH>::new();
        let parts = rows.chunks_exact(perfect::ROWS * self.columns());
        for (rows, sums) in parts.zip(sums.chunks_exact_mut(perfect::ROWS)) {
            block.fill(rows, &self.scaler);
            trees.iter().for_each(|tree| tree.add_lengths(&block, sums));
        }
        full * perfect::ROWS
    }

    /// Adds to each column what its splits shortened the row's way in a tree by.
    fn add_contributions(&self, tree: &Tree, row: &[f32], contributions: &mut [f64]) {
        let mut node = 0;
        while tree.lefts[node] != 0 {
            let child =
                tree.lefts[node] as usize + usize::from(tree.goes_right(node, self.width, row));
            let lengthened = 1.0 + expected_path_length(tree.samples[child])
                - expected_path_length(tree.samples[node]);
            let split = node * self.width..(node + 1) * self.width;
            let features = tree.features[split.clone()].iter().map(|feature| *feature as usize);
            if self.width == 1 {
                features.for_each(|feature| contributions[feature] -= lengthened);
            } else {
                let weights = &tree.weights[split];
                let terms = features.zip(weights).map(|(feature, weight)| {
                    (feature, f64::from((weight * row[feature]).abs()) + f64::MIN_POSITIVE)
                });
                let total: f64 = terms.clone().map(|(_, term)| term).sum();
                terms.for_each(|(feature, term)| {
                    contributions[feature] -= lengthened * term / total;
                });
            }
            node = child;
        }
    }

    pub(crate) fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let scaler = Scaler::read(tensors)?;
        let subsample = tensors.take_u32("subsample", &[1])?[0];
        let (nodes, width) = tensors.dimensions("feature")?;
        let count = tensors.length("tree_nodes")?;
        let sizes = tensors.take_u32("tree_nodes", &[count])?;
        let features = tensors.take_u32("feature", &[nodes, width])?;
        let weights = match width {
            1 => Vec::new(),
            _ => tensors.take_f32("weight", &[nodes, width])?,
        };
        let thresholds = tensors.take_f32("threshold", &[nodes])?;
        let lefts = tensors.take_u32("left", &[nodes])?;
        let samples = tensors.take_u32("samples", &[nodes])?;
        if sizes.iter().map(|size| u64::from(*size)).sum::<u64>() != nodes as u64 || width == 0 {
            return Err(StepError::damaged(
                "tensor `tree_nodes` does not sum to the number of nodes",
            ));
        }
        let mut start = 0;
        let trees = sizes.iter().map(|size| {
            let range = start..start + *size as usize;
            let wide = range.start * width..range.end * width;
            start = range.end;
            Tree {
                features: features[wide.clone()].to_vec(),
                weights: weights.get(wide).unwrap_or_default().to_vec(),
                thresholds: thresholds[range.clone()].to_vec(),
                lefts: lefts[range.clone()].to_vec(),
                samples: samples[range].to_vec(),
            }
        });
        let trees = trees.collect();
        Self::new(scaler, width, subsample, trees)
    }
}

impl Detector for IsolationForest {
    fn kind(&self) -> &'static str {
        "isolation_forest"
    }

    fn columns(&self) -> usize {
        self.scaler.columns()
    }

    fn decision(&self, rows: ArrayView2<'_, f64>, threads: usize) -> Vec<f64> {
        let columns = self.columns();
        assert_eq!(rows.ncols(), columns, "a row has the columns of the model");
        let expected = expected_path_length(self.subsample).max(f64::MIN_POSITIVE);
        score_blocks(rows, BLOCK_ROWS, threads, |rows, scores| {
            let done = match &self.perfect {
                Some(trees) if columns <= 32 => self.add_to_blocks::<32>(trees, rows, scores),
                Some(trees) if columns <= 128 => self.add_to_blocks::<128>(trees, rows, scores),
                _ => 0,
            };
            let (rows, rest) = (&rows[done * columns..], &mut scores[done..]);
            let mut scaled = vec![0.0_f32; rows.len()];
            self.scaler.scale_rows(rows, &mut scaled, single);
            (0..self.trees.len()).for_each(|tree| self.add_lengths(tree, &scaled, rest));
            for score in scores {
                *score = (-(*score / self.trees.len() as f64) / expected).exp2();
            }
        })
    }

    fn attribution(&self, row: ArrayView1<'_, f64>) -> Vec<f64> {
        assert_eq!(row.len(), self.columns(), "a row has the columns of the model");
        let mut scaled = vec![0.0_f32; row.len()];
        self.scaler.scale_rows(&row.to_vec(), &mut scaled, single);
        let mut contributions = vec![0.0; row.len()];
        for tree in &self.trees {
            self.add_contributions(tree, &scaled, &mut contributions);
        }
        shares(contributions)
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        self.scaler.write(&mut tensors);
        let nodes: usize = self.trees.iter().map(Tree::nodes).sum();
        let sizes: Vec<u32> = self.trees.iter().map(|tree| whole_u32(tree.nodes())).collect();
        tensors.insert_u32("subsample", &[1], vec![self.subsample]);
        tensors.insert_u32("tree_nodes", &[sizes.len()], sizes);
        let whole = |pick: fn(&Tree) -> &Vec<u32>| -> Vec<u32> {
            self.trees.iter().flat_map(pick).copied().collect()
        };
        let real = |pick: fn(&Tree) -> &Vec<f32>| -> Vec<f32> {
            self.trees.iter().flat_map(pick).copied().collect()
        };
        tensors.insert_u32("feature", &[nodes, self.width], whole(|tree| &tree.features));
        if self.width > 1 {
            tensors.insert_f32("weight", &[nodes, self.width], real(|tree| &tree.weights));
        }
        tensors.insert_f32("threshold", &[nodes], real(|tree| &tree.thresholds));
        tensors.insert_u32("left", &[nodes], whole(|tree| &tree.lefts));
        tensors.insert_u32("samples", &[nodes], whole(|tree| &tree.samples));
        tensors
    }

    fn is_ratio_scaled(&self) -> bool {
        false
    }
}
