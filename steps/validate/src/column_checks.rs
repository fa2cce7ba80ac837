//! Expectations on the values of a feature column; a gap is null.

use contract::StepError;
use document::expectations::{Range, Severity};
use polars::prelude::{
    BooleanChunked, ChunkAgg as _, ChunkCompareEq as _, ChunkCompareIneq as _, ChunkFull as _,
};
use polars::prelude::{Float64Chunked, PolarsError};

use crate::columns::{bug, numbers};
use crate::expectations::{Checker, Failing, Verdict, failing, share};
use crate::report::Finding;

impl Checker<'_> {
    pub(crate) fn null_share(&self, values: &[f64], max: f64) -> Result<Verdict, PolarsError> {
        let failing = self.failing_where(&numbers(values).is_null())?;
        let share = share(failing.rows, values.len());
        Ok(Verdict {
            passed: share <= max,
            expected: format!("a share of at most {max} gaps"),
            found: format!("{share:.4} ({} of {} rows)", failing.rows, values.len()),
            failing,
        })
    }

    pub(crate) fn range(&self, values: &[f64], check: &Range) -> Result<Verdict, PolarsError> {
        let numbers = numbers(values);
        let extent = extent(&numbers);
        let low = check.min.map(|min| numbers.lt(min));
        let high = check.max.map(|max| numbers.gt(max));
        let failing = self.failing_where(&any(low.into_iter().chain(high), values.len()))?;
        let bounds = match (check.min, check.max) {
            (Some(min), Some(max)) => format!("values from {min} to {max}"),
            (Some(min), None) => format!("values of at least {min}"),
            (None, Some(max)) => format!("values of at most {max}"),
            (None, None) => "any value".to_owned(),
        };
        let outside = share(failing.rows, values.len());
        Ok(Verdict {
            // A column without any value is not inside: silence must not open a gate.
            passed: extent.is_some() && outside <= check.max_outside_ratio,
            expected: match check.max_outside_ratio {
                0.0 => bounds,
                ratio => format!("{bounds}, but for a share of {ratio}"),
            },
            found: extent.map_or("no value".to_owned(), |(min, max)| {
                format!("{min} to {max}, {} of {} rows outside", failing.rows, values.len())
            }),
            failing,
        })
    }

    pub(crate) fn allowed(&self, values: &[f64], allowed: &[f64]) -> Result<Verdict, PolarsError> {
        let numbers = numbers(values);
        let extent = extent(&numbers);
        let known = any(allowed.iter().map(|value| numbers.equal(*value)), values.len());
        let failing = self.failing_where(&(!known & numbers.is_not_null()))?;
        let list: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        Ok(Verdict {
            passed: extent.is_some() && failing.rows == 0,
            expected: format!("only values of {}", list.join(", ")),
            found: extent.map_or("no value".to_owned(), |(min, max)| {
                format!("{} rows with others, from {min} to {max}", failing.rows)
            }),
            failing,
        })
    }

    pub(crate) fn constant(&self, values: &[f64]) -> Result<Verdict, PolarsError> {
        let extent = extent(&numbers(values));
        let passed = extent.is_some_and(|(min, max)| min < max);
        let failing = if passed { Failing::default() } else { failing(&self.keys)? };
        Ok(Verdict {
            passed,
            expected: "values that change".to_owned(),
            found: match extent {
                Some((min, _)) if !passed => format!("{min} in every row"),
                Some((min, max)) => format!("{min} to {max}"),
                None => "no value".to_owned(),
            },
            failing,
        })
    }

    /// Adds a finding for each column with infinite values.
    pub(crate) fn infinite(&self, into: &mut Vec<Finding>) -> Result<(), StepError> {
        for column in &self.rows.table.contract.columns {
            let values = self.rows.values(&column.name)?;
            if !values.iter().any(|value| value.is_infinite()) {
                continue;
            }
            let infinite = values.iter().map(|value| value.is_infinite()).collect();
            let failing = self.failing_where(&infinite).map_err(|e| bug(&e))?;
            let verdict = Verdict {
                passed: false,
                expected: "finite values".to_owned(),
                found: format!("{} infinite values", failing.rows),
                failing,
            };
            into.push(verdict.about("finite", Some(&column.name), Severity::Error));
        }
        Ok(())
    }

    fn failing_where(&self, broken: &BooleanChunked) -> Result<Failing, PolarsError> {
        failing(&self.keys.filter(broken)?)
    }
}

/// Returns smallest and largest value, `None` if there is none.
fn extent(numbers: &Float64Chunked) -> Option<(f64, f64)> {
    numbers.min().zip(numbers.max())
}

/// Returns which of `rows` rows one of the masks marks.
fn any(masks: impl Iterator<Item = BooleanChunked>, rows: usize) -> BooleanChunked {
    let none = BooleanChunked::full("any".into(), false, rows);
    masks.fold(none, |any, mask| any | mask)
}
