//! The settings of the detector that follows slow drift.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ranges::{DetectorSettings, OutOfRange, Ranges, number, require, whole};

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
    /// covariance, and the smallest standard deviation of a feature, if there are at most 3
    /// training rows per feature. With more rows less of it is used, down to a sixth (a third for
    /// the scores that open and end alarms), except for columns that were constant in training. A
    /// larger value gives correlations less weight.
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
    /// An alarm continues only while the mean score of this many of the newest rows, each by itself,
    /// is unusual, 0 to 1440, so that it ends when the signals are normal again. Newer rows have more
    /// weight: with 3 rows, weights of 3, 2 and 1. With 0 only the gate ends alarms.
    pub stay_rows: u32,
    /// Share of training rows that are usual by themselves, 0 to 1. With a larger share alarms end
    /// sooner.
    pub stay_gate_share: f64,
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
            gate_share: 0.9,
            stay_rows: 3,
            stay_gate_share: 0.95,
        }
    }
}

impl Ranges for Adaptive {
    fn check(&self) -> Result<(), OutOfRange> {
        for (field, span) in [
            ("mean_half_life", self.mean_half_life),
            ("variance_half_life", self.variance_half_life),
        ] {
            require(span > Span::ZERO, field, span, || "greater than 0s".to_owned())?;
        }
        // Reading a fitted model checks the same bounds.
        for (field, value) in [
            ("cap", self.cap),
            ("clip", self.clip),
            ("min_range_share", self.min_range_share),
            ("min_std", self.min_std),
            ("ridge", self.ridge),
        ] {
            number(field, value, 1e-6..=1e6)?;
        }
        for (field, windows) in
            [("window_rows", &self.window_rows), ("gate_window_rows", &self.gate_window_rows)]
        {
            let fits = windows.len() <= 8 && windows.iter().all(|rows| (2..=1440).contains(rows));
            require(fits, field, format!("{windows:?}"), || {
                "at most 8 windows of 2 to 1440 rows".to_owned()
            })?;
        }
        whole("folds", self.folds, 2..=20)?;
        whole("gate_rows", self.gate_rows, 1..=1440)?;
        whole("stay_rows", self.stay_rows, 0..=1440)?;
        number("gate_share", self.gate_share, 0.0..=1.0)?;
        number("stay_gate_share", self.stay_gate_share, 0.0..=1.0)
    }
}

impl DetectorSettings for Adaptive {}
