//! Helpers for the tables of these tests.

use contract::{FeatureColumn, FeatureContract, Span};

/// Returns the contract of plain columns, with one row per minute.
pub(crate) fn contract(columns: &[&str], fill: &str) -> FeatureContract {
    let column = |name: &&str| FeatureColumn {
        name: (*name).to_owned(),
        unit: String::new(),
        formula: "raw".to_owned(),
    };
    FeatureContract {
        format: FeatureContract::FORMAT,
        step: Span::from_seconds(60),
        lookback: Span::ZERO,
        fill: fill.to_owned(),
        columns: columns.iter().map(column).collect(),
    }
}
