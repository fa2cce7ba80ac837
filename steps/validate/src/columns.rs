//! Conversion of feature tables to polars.

use contract::StepError;
use frames::FeatureTable;
use polars::prelude::{Column, DataFrame, Float64Chunked, PolarsError};

/// Makes the error for a failure of polars, which is a bug and not caused by the user.
pub(crate) fn bug(error: &PolarsError) -> StepError {
    StepError::bug(format!("cannot compute over the features: {error}"))
}

/// Returns `time` (milliseconds) and `entity` (index) of every row.
pub(crate) fn keys(table: &FeatureTable) -> Result<DataFrame, PolarsError> {
    let times: Vec<i64> = table.table.times.iter().map(|time| time.ms()).collect();
    let columns = vec![
        Column::new("time".into(), times),
        Column::new("entity".into(), table.table.entity.as_slice()),
    ];
    DataFrame::new(table.rows(), columns)
}

/// Returns numbers as a polars column, a gap as null.
pub(crate) fn numbers(values: &[f64]) -> Float64Chunked {
    values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect()
}
