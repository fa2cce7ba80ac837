//! Feature tables as polars sees them.

use contract::StepError;
use frames::FeatureTable;
use polars::prelude::{Column, DataFrame, Float64Chunked, IntoColumn as _, PolarsError};

/// Makes the error for what polars cannot do: nothing a user can change.
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

/// Returns numbers as a column named `value` in which a gap is null.
pub(crate) fn value_column(values: &[f64]) -> Column {
    let values = values.iter().map(|value| (!value.is_nan()).then_some(*value));
    let column: Float64Chunked = values.collect();
    column.into_column().with_name("value".into())
}

/// Returns the keys with one column of numbers beside them.
pub(crate) fn with_values(keys: &DataFrame, values: &[f64]) -> Result<DataFrame, PolarsError> {
    keys.hstack(&[value_column(values)])
}
