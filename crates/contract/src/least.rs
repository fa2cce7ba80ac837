//! The least that a training needs, in one place: the steps that refuse less and the hints that say
//! how much is enough read the same numbers.

/// Normal rows that a model is fitted on, at least.
pub const TRAIN_ROWS: usize = 40;

/// Rows that calibrate scores and thresholds, at least.
pub const CALIBRATION_ROWS: usize = 20;

/// Share of the rows that may be too incomplete to count, where a needed range is computed.
pub const SPARE_RATIO: f64 = 0.1;
