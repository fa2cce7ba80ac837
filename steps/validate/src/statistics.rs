//! Statistics of the train part: `statistics.json`.

use contract::StepError;
use polars::prelude::{
    ChunkAgg as _, ChunkQuantile as _, ChunkVar as _, PolarsError, QuantileMethod,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::columns::{bug, numbers};
use crate::rows::Rows;

/// Quantiles that are computed for each column.
const QUANTILES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

/// The train part, column by column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Statistics {
    format: u32,
    rows: usize,
    /// By column name, in the contract's order.
    columns: Map<String, Value>,
}

/// Describes each feature in the rows of the train part: values, gaps, extremes, moments (n in the
/// divisor), quantiles.
pub(crate) fn describe(rows: &Rows, train: &[usize]) -> Result<Statistics, StepError> {
    let mut columns = Map::new();
    for column in &rows.table.contract.columns {
        let described = describe_column(rows.values_of(&column.name, train)?);
        let described = described.map_err(|e| bug(&e))?;
        columns.insert(column.name.clone(), described);
    }
    Ok(Statistics { format: 1, rows: train.len(), columns })
}

fn describe_column(values: Vec<f64>) -> Result<Value, PolarsError> {
    let numbers = numbers(&values);
    // For many rows it is as large as the numbers, so it is dropped early.
    drop(values);
    let found = numbers.quantiles(&QUANTILES, QuantileMethod::Linear)?;
    let quantiles: Map<String, Value> =
        QUANTILES.iter().zip(found).map(|(at, found)| (at.to_string(), found.into())).collect();
    let described = [
        ("count", (numbers.len() - numbers.null_count()).into()),
        ("nulls", numbers.null_count().into()),
        ("min", numbers.min().into()),
        ("max", numbers.max().into()),
        ("mean", numbers.mean().into()),
        ("std", numbers.std(0).into()),
        ("quantiles", Value::from(quantiles)),
    ];
    Ok(described.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
