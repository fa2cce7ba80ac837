//! The models and their parameters.

mod settings;

use contract::Span;
use contract::detector::{DetectorKind, Shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::classify::GradientBoosting;
use crate::search::Search;

pub use settings::DetectorSettings;

/// The models of a pipeline: each kind that is set is trained and votes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Follows the slow drift of each signal, and scores how unlikely the departures of all signals
    /// are together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
    /// A network that learns to reproduce normal rows through a bottleneck.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoencoder: Option<Autoencoder>,
    /// A tree that distinguishes labelled classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_tree: Option<DecisionTree>,
    /// Names the kind of fault of an alarm; it has no vote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnose: Option<Diagnose>,
    /// Trees that distinguish labelled classes, each correcting the trees before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_boosting: Option<GradientBoosting>,
    /// Random trees that isolate rare rows early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation_forest: Option<IsolationForest>,
    /// Mahalanobis distance with a shrunk covariance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mahalanobis: Option<Mahalanobis>,
    /// A boundary around the normal rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_class_svm: Option<OneClassSvm>,
    /// Many trees that distinguish labelled classes, each fitted on a sample of rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_forest: Option<RandomForest>,
    /// Columns outside their usual range: the simplest baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z_score: Option<ZScore>,
}

impl Models {
    /// Returns the kinds of detectors that are set, in the order of their names.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.set().map(DetectorKind::name).collect()
    }

    /// Returns everything that is trained: the detectors, then [`Models::DIAGNOSE`] where it is set.
    pub fn trained(&self) -> Vec<&'static str> {
        let diagnose = self.diagnose.as_ref().map(|_| Self::DIAGNOSE);
        self.kinds().into_iter().chain(diagnose).collect()
    }

    /// Returns whether something is fitted on labelled rows, anomalous ones too.
    pub fn learn_from_labels(&self) -> bool {
        self.diagnose.is_some() || self.set().any(|kind| kind.shape() == Shape::Classes)
    }

    /// Name of the second stage, as `train --model` takes it.
    pub const DIAGNOSE: &str = "diagnose";
}

/// Scaling of a model's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Training minimum to 0, training maximum to 1.
    MinMax,
    /// Training mean to 0, training standard deviation to 1.
    ZScore,
    /// Training median to 0, training interquartile range to 1.
    Robust,
}

/// A model that follows the slow drift of each signal by an EWMA, and scores how unlikely the
/// departures of all signals are together, by a Mahalanobis distance. It needs plain signals and
/// computes its own windows. It needs no validation part: it is fitted on that part, too, and
/// calibrates itself by cross-fitting.
///
/// The defaults come from three machines of the Server Machine Dataset, a day of microservices and
/// a recorded cluster. Parameters that must cover a number of rows are given in rows, for any step.
/// Parameters that follow the course of a day are given in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adaptive {
    /// Half-life of the EWMA of each signal's level, greater than 0s and at most as long as an
    /// entity's training rows. A longer half-life follows lasting changes more slowly, and their
    /// alarms last longer.
    pub mean_half_life: Span,
    /// Half-life of the EWMA of each signal's variance, greater than 0s. A longer half-life forgets
    /// times with large variance more slowly.
    pub variance_half_life: Span,
    /// Shortest half-life in rows: with long steps a half-life in time would cover too few rows for
    /// a stable estimate.
    pub min_half_life_rows: u32,
    /// Usual deviations at which a departure is clipped (winsorised) before the model learns from
    /// it, 0.000001 to 1000000. With a smaller value the model learns less from outliers.
    pub cap: f64,
    /// Largest scaled value and largest departure that is scored, 0.000001 to 1000000. Larger ones
    /// are clipped to this value.
    pub clip: f64,
    /// Smallest scale of a column, as a share of its range in training, 0.000001 to 1000000. A
    /// larger value makes the model less sensitive to columns that hardly move.
    pub min_range_share: f64,
    /// Smallest usual deviation of a signal, in standard deviations of training, 0.000001 to
    /// 1000000. A larger value raises fewer alarms after a quiet time.
    pub min_std: f64,
    /// Trailing windows over which departures are averaged, in rows: at most 8 of 2 to 1440. Longer
    /// windows find smaller and slower changes, but later.
    pub window_rows: Vec<u32>,
    /// Regularisation of the distance, 0.000001 to 1000000: added to the diagonal of the
    /// covariance, and the smallest standard deviation of a feature, if there are at most 10
    /// training rows per feature. From 30 rows per feature on a third of it is used. A larger value
    /// gives correlations less weight.
    pub ridge: f64,
    /// Parts of the training rows for cross-fitting, 2 to 20: each part is scored by a model that
    /// is fitted on the others.
    pub folds: u32,
    /// Windows of the short score that opens the gate for alarms, in rows: at most 8 of 2 to 1440.
    /// Shorter windows end alarms sooner.
    pub gate_window_rows: Vec<u32>,
    /// An alarm needs one row that is unusual by the short score among this many of the newest, 1
    /// to 1440.
    pub gate_rows: u32,
    /// Share of training rows that the short score calls usual, 0 to 1. With a larger share the
    /// gate opens less often.
    pub gate_share: f64,
    /// An alarm continues only while one of this many of the newest rows is unusual by itself, 0 to
    /// 1440, so that it ends when the signals are normal again. With 0 only the gate ends alarms.
    pub stay_rows: u32,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            mean_half_life: Span::from_seconds(12 * 3600),
            variance_half_life: Span::from_seconds(24 * 3600),
            min_half_life_rows: 240,
            cap: 3.5,
            clip: 30.0,
            min_range_share: 0.01,
            min_std: 0.5,
            window_rows: vec![5, 15, 30],
            ridge: 0.3,
            folds: 4,
            gate_window_rows: vec![5],
            gate_rows: 5,
            gate_share: 0.95,
            stay_rows: 3,
        }
    }
}

/// An autoencoder: a network with a bottleneck, fitted by Adam; the score is its reconstruction
/// error (Hinton, Salakhutdinov 2006).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Autoencoder {
    /// Sizes of the layers between input and output, 1 to 16 of them, each 1 to 4096; the smallest
    /// is the bottleneck. With a smaller bottleneck more rows are reproduced badly, and more rows
    /// are unusual.
    pub layers: Vec<u32>,
    /// Passes over the training rows, 1 to 10000; more take longer.
    pub epochs: u32,
    /// Rows between two updates, 1 or more.
    pub batch: u32,
    /// Step size of Adam (Kingma and Ba 2015), above 0 and at most 1. Lower it if the loss grows.
    pub learning_rate: f64,
    /// Standard deviation of the noise added to inputs while training, in scaled units, 0 to 100; 0
    /// adds none.
    pub noise: f64,
    /// Passes without gain on the validation rows before training ends early; 0 never ends early.
    pub patience: u32,
    /// Whether the residual of each column is divided by its spread on the training rows, so that
    /// all columns have the same weight.
    pub normalise_residuals: bool,
    /// How inputs are scaled.
    pub scaling: Scaling,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for Autoencoder {
    fn default() -> Self {
        Self {
            layers: vec![6],
            epochs: 10,
            batch: 256,
            learning_rate: 1e-3,
            noise: 0.0,
            patience: 0,
            normalise_residuals: false,
            scaling: Scaling::MinMax,
            search: None,
        }
    }
}

/// Weight of the rows of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// Every class has the same weight, also with few rows.
    Balanced,
    /// Every row has the same weight.
    Rows,
}

/// A decision tree (Breiman et al. 1984): Gini impurity, thresholds between neighbouring values.
///
/// It is fitted on the labelled rows of the train part, anomalous ones too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionTree {
    /// Most splits from the root to a leaf, 1 to 64; fewer overfit less.
    pub max_depth: u32,
    /// Fewest training rows of a leaf, 1 or more; more overfit less.
    pub min_leaf_rows: u32,
    /// Weight of the rows of a class.
    pub class_weights: ClassWeights,
}

impl Default for DecisionTree {
    fn default() -> Self {
        Self { max_depth: 12, min_leaf_rows: 5, class_weights: ClassWeights::Balanced }
    }
}

/// A random forest (Breiman 2001) of decision trees, each grown on as many rows as there are, drawn with
/// replacement.
///
/// It is fitted on the labelled rows of the train part, anomalous ones too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomForest {
    /// Number of trees, 1 to 10000. With more trees the scores vary less, and the model is larger
    /// and slower.
    pub trees: u32,
    /// Most splits from the root to a leaf, 1 to 64; fewer overfit less.
    pub max_depth: u32,
    /// Fewest training rows of a leaf, 1 or more; more overfit less.
    pub min_leaf_rows: u32,
    /// Columns drawn for each split, 1 or more. The default is the square root of their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_columns: Option<u32>,
    /// Weight of the rows of a class.
    pub class_weights: ClassWeights,
}

impl Default for RandomForest {
    fn default() -> Self {
        Self {
            trees: 100,
            max_depth: 32,
            min_leaf_rows: 1,
            split_columns: None,
            class_weights: ClassWeights::Balanced,
        }
    }
}

/// The second stage, which names the kind of fault of an alarm.
///
/// It learns from the labelled rows of the train part; a kind is a label that does not mean normal.
/// One scenario per kind is enough for a training, but predicts little about the next scenario. Its
/// metrics leave out one scenario at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Diagnose {
    /// The forest that distinguishes the kinds.
    pub random_forest: RandomForest,
    /// Probability of the most likely kind, 0 to 1, below which the kind of an alarm is unknown.
    pub min_probability: f64,
    /// Similarity to the usual pattern of the kind, -1 to 1, below which the kind of an alarm is
    /// unknown.
    pub min_likeness: f64,
    /// Weight of the likeness relative to the forest's probability, 0 to 1000; with 0 only the
    /// forest is used.
    pub likeness_weight: f64,
}

impl Default for Diagnose {
    fn default() -> Self {
        Self {
            random_forest: RandomForest::default(),
            min_probability: 0.5,
            min_likeness: 0.9,
            likeness_weight: 20.0,
        }
    }
}

/// An isolation forest: random splits isolate rare rows after few steps (Liu, Ting, Zhou 2008).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IsolationForest {
    /// Number of trees, 1 to 10000. With more trees the scores vary less, and the model is larger
    /// and slower.
    pub trees: u32,
    /// Training rows for each tree, 2 to 65536. More rows distinguish denser regions.
    pub samples: u32,
    /// Columns in each split besides the first: 0 is the original forest (Liu, Ting, Zhou 2008),
    /// more than 0 the extended forest (Hariri et al. 2019).
    pub extension: u32,
    /// How inputs are scaled.
    pub scaling: Scaling,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for IsolationForest {
    fn default() -> Self {
        Self { trees: 50, samples: 256, extension: 0, scaling: Scaling::ZScore, search: None }
    }
}

/// A Mahalanobis distance from the training mean (Mahalanobis 1936), with a regularised covariance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mahalanobis {
    /// Added to the diagonal of the correlation matrix so that it can be inverted, 0 or more. A
    /// larger value gives correlations less weight.
    pub ridge: f64,
    /// Smallest standard deviation of a column, in its own unit, 0 or more. A larger value makes
    /// the model less sensitive to columns that hardly move.
    pub min_std: f64,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for Mahalanobis {
    fn default() -> Self {
        Self { ridge: 0.1, min_std: 0.01, search: None }
    }
}

/// A one-class support vector machine with a Gaussian kernel (Schölkopf et al. 2001).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OneClassSvm {
    /// Upper bound of the share of training rows outside the boundary, and lower bound of the share
    /// of support vectors; above 0 and at most 1. A larger value draws the boundary tighter.
    pub nu: f64,
    /// Width of the Gaussian kernel `exp(-gamma |x - y|^2)`, above 0 and at most 1000000; the
    /// default is 1 / number of columns. A larger value follows the training rows more closely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Largest violation of the optimality conditions at the end, 1e-12 to below 1; smaller is more
    /// exact and slower.
    pub tolerance: f64,
    /// Memory for rows of the kernel matrix, in MiB, 1 or more; more is faster.
    pub cache_mib: u32,
    /// Training rows above which the kernel is approximated, 2 or more; more is more exact, and its
    /// time grows with their square.
    pub max_exact_rows: u32,
    /// How inputs are scaled.
    pub scaling: Scaling,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for OneClassSvm {
    fn default() -> Self {
        Self {
            nu: 0.05,
            gamma: None,
            tolerance: 1e-3,
            cache_mib: 16,
            max_exact_rows: 25_000,
            scaling: Scaling::MinMax,
            search: None,
        }
    }
}

/// The simplest baseline: how many columns are outside their usual range, and how far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZScore {
    /// Distance from a column's mean, in standard deviations, above which the column counts fully,
    /// 0 or more. A column within it counts one hundredth.
    pub threshold: f64,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for ZScore {
    fn default() -> Self {
        Self { threshold: 3.0, search: None }
    }
}
