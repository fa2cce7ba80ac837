//! Expectations on the values of a feature column; a gap is null.

use contract::StepError;
use contract::validation::{Finding, Severity};
use document::expectations::Range;

use crate::expectations::{Checker, Failing, Verdict, share};

impl Checker<'_> {
    pub(crate) fn null_share(&self, values: &[f64], max: f64) -> Verdict {
        let failing = self.failing_where(|row| values[row].is_nan());
        let share = share(failing.rows, values.len());
        Verdict {
            passed: share <= max,
            expected: format!("a share of at most {max} gaps"),
            found: format!("{share:.4} ({} of {} rows)", failing.rows, values.len()),
            failing,
        }
    }

    pub(crate) fn range(&self, values: &[f64], check: &Range) -> Verdict {
        let extent = extent(values);
        let failing = self.failing_where(|row| {
            check.min.is_some_and(|min| values[row] < min)
                || check.max.is_some_and(|max| values[row] > max)
        });
        let bounds = match (check.min, check.max) {
            (Some(min), Some(max)) => format!("values from {min} to {max}"),
            (Some(min), None) => format!("values of at least {min}"),
            (None, Some(max)) => format!("values of at most {max}"),
            (None, None) => "any value".to_owned(),
        };
        let outside = share(failing.rows, values.len());
        Verdict {
            // A column without any value does not pass: missing data must not pass the gate.
            passed: extent.is_some() && outside <= check.max_outside_ratio,
            expected: match check.max_outside_ratio {
                0.0 => bounds,
                ratio => format!("{bounds}, but for a share of {ratio}"),
            },
            found: extent.map_or("no value".to_owned(), |(min, max)| {
                format!("{min} to {max}, {} of {} rows outside", failing.rows, values.len())
            }),
            failing,
        }
    }

    pub(crate) fn allowed(&self, values: &[f64], allowed: &[f64]) -> Verdict {
        let extent = extent(values);
        let failing =
            self.failing_where(|row| !values[row].is_nan() && !allowed.contains(&values[row]));
        let list: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        Verdict {
            passed: extent.is_some() && failing.rows == 0,
            expected: format!("only values of {}", list.join(", ")),
            found: extent.map_or("no value".to_owned(), |(min, max)| {
                format!("{} rows with others, from {min} to {max}", failing.rows)
            }),
            failing,
        }
    }

    pub(crate) fn constant(&self, values: &[f64]) -> Verdict {
        let extent = extent(values);
        let passed = extent.is_some_and(|(min, max)| min < max);
        let failing = if passed { Failing::default() } else { self.failing_where(|_| true) };
        Verdict {
            passed,
            expected: "values that change".to_owned(),
            found: match extent {
                Some((min, _)) if !passed => format!("{min} in every row"),
                Some((min, max)) => format!("{min} to {max}"),
                None => "no value".to_owned(),
            },
            failing,
        }
    }

    /// Adds a finding for each column with infinite values.
    pub(crate) fn infinite(&self, into: &mut Vec<Finding>) -> Result<(), StepError> {
        for column in &self.rows.table.contract.columns {
            let values = self.rows.values(&column.name)?;
            if !values.iter().any(|value| value.is_infinite()) {
                continue;
            }
            let failing = self.failing_where(|row| values[row].is_infinite());
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
}

/// Returns smallest and largest value, `None` if there is none.
fn extent(values: &[f64]) -> Option<(f64, f64)> {
    let there = || values.iter().copied().filter(|value| !value.is_nan());
    there().reduce(f64::min).zip(there().reduce(f64::max))
}
