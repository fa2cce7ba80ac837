//! The metric by which trials are ranked.
//!
//! With labels it is average precision. Without labels, faults are injected into a tenth of the
//! validation rows, and it is the average precision of finding them; it is reduced if more than one
//! in a hundred of the unmodified rows exceed the training rows' 99th percentile, because then the
//! model scores drift after the training as anomalous.
//!
//! Without labels the ranking has almost no information: over random settings of a forest, a
//! one-class SVM and a Mahalanobis distance on three machines of Server Machine Dataset its mean
//! rank correlation with the average precision on the labelled test part was 0.01 and 0.05, and its
//! choice reached 0.26 where a random setting reached 0.25. Other criteria correlate with up to
//! 0.27 and choose no better (tests/bench/README.md). It is not recommended for choosing
//! parameters.

use contract::StepError;
use detectors::search::SearchMetric;
use models::measure::normal_rows;
use models::reference::quantile;
use models::{Model, matrix, quality};
use ndarray::Array2;
use rand::seq::index;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Hunt;

/// Rows of an injected fault.
const FAULT_ROWS: usize = 10;

/// One in this number of rows belongs to an injected fault.
const FAULTY_SHARE: usize = 10;

/// Share of training rows above the threshold with which later rows are compared.
const EXPECTED_SHARE: f64 = 0.01;

/// How far an injected fault moves a column, in standard deviations of training.
const SHIFT: std::ops::Range<f64> = 2.0..8.0;

/// Rows with known truth, from labels or injected faults.
pub(super) struct Criterion {
    metric: SearchMetric,
    rows: Array2<f64>,
    anomalous: Vec<bool>,
    /// For injected faults: training rows, and the unmodified validation rows.
    untouched: Option<[Array2<f64>; 2]>,
}

impl Criterion {
    /// Takes the validation part's labels, or injects faults into its normal rows.
    pub(super) fn new(hunt: &Hunt<'_>) -> Result<Self, StepError> {
        let labelled = Self::labelled(hunt);
        let has_both = labelled.anomalous.contains(&true) && labelled.anomalous.contains(&false);
        match hunt.search.metric {
            Some(SearchMetric::AveragePrecision) | None if has_both => Ok(labelled),
            Some(SearchMetric::AveragePrecision) => Err(StepError::usage(format!(
                "`models.{}.search.metric: average_precision` needs labelled anomalies in the validation part",
                hunt.kind.name()
            ))
            .hint("remove the metric: the trials are then ranked by injected faults")),
            Some(SearchMetric::InjectedFaults) | None => Self::injected(hunt),
        }
    }

    fn labelled(hunt: &Hunt<'_>) -> Self {
        let part = hunt.validation;
        let counts = |row: &usize| {
            !part.warm_up[*row] && part.labels.as_ref().is_some_and(|labels| !labels.excluded[*row])
        };
        let rows: Vec<usize> = (0..part.rows()).filter(counts).collect();
        let labels =
            part.labels.iter().flat_map(|labels| rows.iter().map(|row| &labels.label[*row]));
        let anomalous = labels.map(|label| !frames::is_normal(hunt.normal, label)).collect();
        Self {
            metric: SearchMetric::AveragePrecision,
            rows: matrix(&part.select(&rows)),
            anomalous,
            untouched: None,
        }
    }

    /// Half of the faults shift some columns by a few usual deviations; the other half give some
    /// columns the values of another time, which only a model of the relations between columns can
    /// find.
    fn injected(hunt: &Hunt<'_>) -> Result<Self, StepError> {
        let normal = normal_rows(hunt.validation, hunt.normal);
        let usual = matrix(&hunt.validation.select(&normal));
        let (count, columns) = usual.dim();
        let faults = count / (FAULT_ROWS * FAULTY_SHARE);
        if faults == 0 || columns == 0 {
            return Err(StepError::refused(format!(
                "a search needs {} normal validation rows, there are {count}",
                FAULT_ROWS * FAULTY_SHARE
            ))
            .hint("use a longer `range` or a larger `split.validation`, or remove the search"));
        }
        let train = matrix(hunt.train);
        let deviations = deviations(&train);
        let mut random = ChaCha8Rng::seed_from_u64(hunt.seed);
        let mut rows = usual.clone();
        let mut anomalous = vec![false; count];
        for fault in 0..faults {
            // Each fault is in a separate range of rows, so that faults do not overlap.
            let (low, high) = (fault * count / faults, (fault + 1) * count / faults);
            let start = random.random_range(low..=high - FAULT_ROWS);
            let other = random.random_range(0..=count - FAULT_ROWS);
            let most = (columns / 4).max(1);
            let chosen = index::sample(&mut random, columns, columns_of(most, fault));
            for column in chosen {
                let size = random.random_range(SHIFT) * deviations[column];
                let shift = if random.random() { size } else { -size };
                for row in 0..FAULT_ROWS {
                    rows[[start + row, column]] = if fault % 2 == 0 {
                        usual[[start + row, column]] + shift
                    } else {
                        usual[[other + row, column]]
                    };
                }
            }
            anomalous[start..start + FAULT_ROWS].fill(true);
        }
        let untouched = Some([train, usual]);
        Ok(Self { metric: SearchMetric::InjectedFaults, rows, anomalous, untouched })
    }

    /// Returns whether labels rank the trials.
    pub(super) fn is_labelled(&self) -> bool {
        self.metric == SearchMetric::AveragePrecision
    }

    /// Returns the name of the ranking metric.
    pub(super) fn metric(&self) -> &'static str {
        match self.metric {
            SearchMetric::AveragePrecision => "average_precision",
            SearchMetric::InjectedFaults => "injected_faults",
        }
    }

    /// Returns the metric of a model, higher is better; `NaN` for a model that cannot be ranked.
    pub(super) fn value(&self, model: &Model) -> f64 {
        let Model::Rows(detector) = model else { return f64::NAN };
        let scores = detector.decision(self.rows.view(), 1);
        let precision = quality::average_precision(&scores, &self.anomalous).unwrap_or(f64::NAN);
        let Some([train, usual]) = &self.untouched else { return precision };
        let mut train = detector.decision(train.view(), 1);
        train.sort_unstable_by(f64::total_cmp);
        let threshold = quantile(&train, 1.0 - EXPECTED_SHARE);
        let later = detector.decision(usual.view(), 1);
        let above = later.iter().filter(|score| **score > threshold).count();
        let share = above as f64 / later.len().max(1) as f64;
        precision * (EXPECTED_SHARE / share.max(EXPECTED_SHARE)).sqrt()
    }
}

/// Columns of a fault: from one to `most`, in turn.
fn columns_of(most: usize, fault: usize) -> usize {
    1 + (fault / 2) % most
}

/// Returns the standard deviation of each column's finite values; for a constant column one
/// hundredth of its value.
fn deviations(rows: &Array2<f64>) -> Vec<f64> {
    let deviation = |column: ndarray::ArrayView1<'_, f64>| {
        let values: Vec<f64> = column.iter().copied().filter(|value| value.abs() < 1e150).collect();
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / count).sqrt().max(0.01 * mean.abs()).max(1e-6)
    };
    rows.columns().into_iter().map(deviation).collect()
}
