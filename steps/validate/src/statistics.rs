//! What the train part looks like: `statistics.json`.

use contract::StepError;
use frames::FeatureTable;
use polars::prelude::{
    DataFrame, DataType, Expr, IntoLazy as _, PolarsError, QuantileMethod, col, lit,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::columns::{bug, value_column};

/// Quantiles that are noted of each column.
const QUANTILES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

/// The train part, column by column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Statistics {
    format: u32,
    rows: usize,
    /// By column name, in the contract's order.
    columns: Map<String, Value>,
}

/// Describes each column of a table: values, gaps, extremes, moments (n in the divisor), quantiles.
pub(crate) fn describe(table: &FeatureTable) -> Result<Statistics, StepError> {
    let mut columns = Map::new();
    for column in &table.table.columns {
        let described = describe_column(&column.values).map_err(|e| bug(&e))?;
        columns.insert(column.name.clone(), described);
    }
    Ok(Statistics { format: 1, rows: table.rows(), columns })
}

fn describe_column(values: &[f64]) -> Result<Value, PolarsError> {
    let value = || col("value");
    let mut asked = vec![
        value().count().cast(DataType::Float64).alias("count"),
        value().null_count().cast(DataType::Float64).alias("nulls"),
        value().min().alias("min"),
        value().max().alias("max"),
        value().mean().alias("mean"),
        value().std(0).alias("std"),
    ];
    let quantile = |quantile: &f64| -> Expr {
        value().quantile(lit(*quantile), QuantileMethod::Linear).alias(quantile.to_string())
    };
    asked.extend(QUANTILES.iter().map(quantile));
    let frame = DataFrame::new(values.len(), vec![value_column(values)])?;
    let found = frame.lazy().select(asked).collect()?;
    let number =
        |name: &str| -> Result<Value, PolarsError> { Ok(found.column(name)?.f64()?.get(0).into()) };
    let whole = |name: &str| -> Result<Value, PolarsError> {
        // Row counts are far below where Float64 has gaps.
        let count = found.column(name)?.f64()?.get(0).unwrap_or(0.0);
        Ok(Value::from(format!("{count:.0}").parse::<u64>().unwrap_or(0)))
    };
    let mut described = Map::new();
    for name in ["count", "nulls"] {
        described.insert(name.to_owned(), whole(name)?);
    }
    for name in ["min", "max", "mean", "std"] {
        described.insert(name.to_owned(), number(name)?);
    }
    let mut quantiles = Map::new();
    for quantile in QUANTILES {
        quantiles.insert(quantile.to_string(), number(&quantile.to_string())?);
    }
    described.insert("quantiles".to_owned(), quantiles.into());
    Ok(described.into())
}
