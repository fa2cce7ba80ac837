//! Minimum amounts of data for a training. The steps that refuse less and the hints that name the
//! minimum use the same numbers.

/// Normal rows that a model is fitted on, at least.
pub const TRAIN_ROWS: usize = 40;

/// Rows that calibrate scores and thresholds, at least.
pub const CALIBRATION_ROWS: usize = 20;

/// Share of the rows that is assumed to be too incomplete when a required range is computed.
pub const SPARE_RATIO: f64 = 0.1;
