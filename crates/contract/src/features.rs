//! The feature contract: what each column of a feature table means, in order.

use serde::{Deserialize, Serialize};

use crate::{Span, StepError, artifact};

/// One feature column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureColumn {
    /// The column's name, with its unit as suffix if it has one.
    pub name: String,
    /// The unit: `seconds`, `bytes`, `per_second`, `ratio`, ...; empty for a plain number.
    pub unit: String,
    /// How it is computed: the query of the sample, or the formula over other columns.
    pub formula: String,
}

/// The properties of features that must be the same in training and scoring: ordered columns, step,
/// lookback and fill.
///
/// It is in the Parquet metadata of every feature table and in every bundle. `score` refuses
/// features of any other contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureContract {
    /// Version of this format.
    pub format: u32,
    /// Distance between windows.
    pub step: Span,
    /// Time before a window that its features depend on; earlier samples cannot change them.
    pub lookback: Span,
    /// How gaps are filled, as in the document.
    pub fill: String,
    /// The columns, in order.
    pub columns: Vec<FeatureColumn>,
}

impl FeatureContract {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Key of the contract's JSON in the metadata of a Parquet file.
    pub const METADATA_KEY: &str = "lynceus.contract";

    /// Returns the contract as compact JSON, the bytes that are hashed.
    pub fn to_json(&self) -> Result<String, StepError> {
        serde_json::to_string(self)
            .map_err(|e| StepError::bug(format!("cannot write the feature contract: {e}")))
    }

    /// Returns the SHA-256 of the contract's JSON.
    pub fn sha256(&self) -> Result<String, StepError> {
        Ok(artifact::sha256(self.to_json()?.as_bytes()))
    }

    /// Returns the column names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    /// Returns a description of the first difference of `other` from this contract, or `None` if
    /// there is none.
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        if self.format != other.format {
            return Some(format!("format `{}` is not `{}`", other.format, self.format));
        }
        if self.step != other.step {
            return Some(format!("step `{}` is not `{}`", other.step, self.step));
        }
        if self.fill != other.fill {
            return Some(format!("fill `{}` is not `{}`", other.fill, self.fill));
        }
        for (index, expected) in self.columns.iter().enumerate() {
            let Some(found) = other.columns.get(index) else {
                return Some(format!("column {} `{}` is missing", index + 1, expected.name));
            };
            if expected.name != found.name {
                return Some(format!(
                    "column {} is `{}`, expected `{}`",
                    index + 1,
                    found.name,
                    expected.name
                ));
            }
            if expected.unit != found.unit {
                return Some(format!(
                    "column `{}` is in `{}`, expected `{}`",
                    found.name, found.unit, expected.unit
                ));
            }
            if expected.formula != found.formula {
                return Some(format!(
                    "column `{}` is `{}`, expected `{}`",
                    found.name, found.formula, expected.formula
                ));
            }
        }
        if let Some(extra) = other.columns.get(self.columns.len()) {
            return Some(format!("column `{}` is not expected", extra.name));
        }
        (self.lookback != other.lookback)
            .then(|| format!("lookback `{}` is not `{}`", other.lookback, self.lookback))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> FeatureContract {
        let column = |name: &str| FeatureColumn {
            name: name.into(),
            unit: "bytes".into(),
            formula: "raw".into(),
        };
        FeatureContract {
            format: 1,
            step: Span::from_seconds(60),
            lookback: Span::ZERO,
            fill: "zero".into(),
            columns: vec![column("a"), column("b")],
        }
    }

    type Change = fn(&mut FeatureContract);

    #[test]
    fn every_departure_is_named_and_changes_the_hash() {
        let base = contract();
        assert_eq!(base.first_difference(&contract()), None);
        let changes: [(&str, Change); 6] = [
            ("step `30s` is not `1m`", |c| c.step = Span::from_seconds(30)),
            ("fill `drop_row` is not `zero`", |c| c.fill = "drop_row".into()),
            ("column 2 `b` is missing", |c| drop(c.columns.pop())),
            ("column 1 is `b`, expected `a`", |c| c.columns.swap(0, 1)),
            ("column `a` is in `seconds`, expected `bytes`", |c| {
                c.columns[0].unit = "seconds".into();
            }),
            ("lookback `1s` is not `0s`", |c| c.lookback = Span::from_seconds(1)),
        ];
        for (words, change) in changes {
            let mut other = contract();
            change(&mut other);
            assert_eq!(base.first_difference(&other).as_deref(), Some(words));
            assert_ne!(base.sha256().unwrap(), other.sha256().unwrap());
        }
    }
}
