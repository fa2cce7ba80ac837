//! Expectations on the values of a feature column; a gap is null.

use document::expectations::{Range, Severity};
use polars::prelude::{Expr, IntoLazy as _, PolarsError, col, lit};

use crate::columns::with_values;
use crate::expectations::{Checker, Failing, Verdict, failing, share};
use crate::report::Finding;

impl Checker<'_> {
    pub(crate) fn null_share(&self, values: &[f64], max: f64) -> Result<Verdict, PolarsError> {
        let failing = self.failing_where(values, col("value").is_null())?;
        let share = share(failing.rows, values.len());
        Ok(Verdict {
            passed: share <= max,
            expected: format!("a share of at most {max} gaps"),
            found: format!("{share:.4} ({} of {} rows)", failing.rows, values.len()),
            failing,
        })
    }

    pub(crate) fn range(&self, values: &[f64], check: &Range) -> Result<Verdict, PolarsError> {
        let extent = self.extent(values)?;
        let low = check.min.map_or(lit(false), |min| col("value").lt(lit(min)));
        let high = check.max.map_or(lit(false), |max| col("value").gt(lit(max)));
        let failing = self.failing_where(values, low.or(high))?;
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
        let extent = self.extent(values)?;
        let known = allowed.iter().map(|value| col("value").eq(lit(*value)));
        let unknown = known.reduce(Expr::or).map_or(col("value").is_not_null(), Expr::not);
        let failing = self.failing_where(values, unknown)?;
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
        let extent = self.extent(values)?;
        let passed = extent.is_some_and(|(min, max)| min < max);
        let failing =
            if passed { Failing::default() } else { self.failing_where(values, lit(true))? };
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
    pub(crate) fn infinite(&self, into: &mut Vec<Finding>) -> Result<(), PolarsError> {
        for column in &self.table.table.columns {
            if !column.values.iter().any(|value| value.is_infinite()) {
                continue;
            }
            let infinite =
                col("value").eq(lit(f64::INFINITY)).or(col("value").eq(lit(f64::NEG_INFINITY)));
            let failing = self.failing_where(&column.values, infinite)?;
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

    /// Returns smallest and largest value, nothing if there is none.
    fn extent(&self, values: &[f64]) -> Result<Option<(f64, f64)>, PolarsError> {
        let found = with_values(&self.keys, values)?
            .lazy()
            .select([col("value").min().alias("min"), col("value").max().alias("max")])
            .collect()?;
        let bound =
            |name| -> Result<Option<f64>, PolarsError> { Ok(found.column(name)?.f64()?.get(0)) };
        Ok(bound("min")?.zip(bound("max")?))
    }

    fn failing_where(&self, values: &[f64], broken: Expr) -> Result<Failing, PolarsError> {
        failing(&with_values(&self.keys, values)?.lazy().filter(broken).collect()?)
    }
}
