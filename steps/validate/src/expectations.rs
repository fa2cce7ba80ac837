//! Checks feature rows against the document's expectations.

use contract::validation::{Finding, Severity};
use contract::{StepError, Timestamp};
use document::expectations::Expectation;
use document::sections::Validate as Sections;
use frames::columns::resolve;

use crate::columns::bug;
use crate::rows::Rows;

/// Maximum number of times of failing rows that are recorded.
const MAX_TIMES: usize = 20;

/// Checks rows against every expectation; `now` is the evaluation time for the age of the last row.
///
/// Infinite values are always reported, because no model can use them.
pub(crate) fn check(
    rows: &Rows,
    document: &Sections,
    now: Timestamp,
) -> Result<Vec<Finding>, StepError> {
    let checker = Checker { rows, document, now };
    let mut findings = Vec::new();
    for expectation in &document.expectations {
        checker.check(expectation, &mut findings)?;
    }
    checker.infinite(&mut findings)?;
    Ok(findings)
}

/// Inputs of the checks.
pub(crate) struct Checker<'a> {
    pub(crate) rows: &'a Rows,
    pub(crate) document: &'a Sections,
    pub(crate) now: Timestamp,
}

/// Result of one check.
pub(crate) struct Verdict {
    pub(crate) passed: bool,
    pub(crate) expected: String,
    pub(crate) found: String,
    pub(crate) failing: Failing,
}

/// The rows that break an expectation.
#[derive(Default)]
pub(crate) struct Failing {
    pub(crate) rows: usize,
    /// The first of their distinct times.
    pub(crate) times: Vec<Timestamp>,
}

impl Failing {
    /// Counts a row, and records its time if it is one of the first.
    pub(crate) fn add(&mut self, time: Timestamp) {
        self.rows += 1;
        if self.times.len() < MAX_TIMES && self.times.last() != Some(&time) {
            self.times.push(time);
        }
    }
}

impl Checker<'_> {
    fn check(&self, expectation: &Expectation, into: &mut Vec<Finding>) -> Result<(), StepError> {
        let rows = |name: &str, severity: Severity, verdict: Verdict| {
            Ok(vec![verdict.about(name, None, severity)])
        };
        let findings = match expectation {
            Expectation::RowCount(check) => {
                rows("row_count", check.severity, self.row_count(check))
            }
            Expectation::TimeMonotonic(check) => {
                rows("time_monotonic", check.severity, self.time_monotonic())
            }
            Expectation::TimeUnique(check) => {
                let verdict = self.time_unique().map_err(|e| bug(&e))?;
                rows("time_unique", check.severity, verdict)
            }
            Expectation::Freshness(check) => {
                rows("freshness", check.severity, self.freshness(check))
            }
            Expectation::GapLength(check) => {
                let there = self.rows_with_samples()?;
                rows("gap_length", check.severity, self.gap_length(check, &there))
            }
            Expectation::NullShare(check) => {
                self.each("null_share", check.severity, &check.columns, |values| {
                    self.null_share(values, check.max)
                })
            }
            Expectation::Range(check) => {
                self.each("range", check.severity, &check.columns, |values| {
                    self.range(values, check)
                })
            }
            Expectation::AllowedValues(check) => {
                self.each("allowed_values", check.severity, &check.columns, |values| {
                    self.allowed(values, &check.values)
                })
            }
            Expectation::Constant(check) => {
                self.each("constant", check.severity, &check.columns, |values| {
                    self.constant(values)
                })
            }
        };
        into.extend(findings?);
        Ok(())
    }

    /// Returns the rows that break the expectation.
    pub(crate) fn failing_where(&self, is_broken: impl Fn(usize) -> bool) -> Failing {
        let mut failing = Failing::default();
        for (row, time) in self.rows.table.table.times.iter().enumerate() {
            if is_broken(row) {
                failing.add(*time);
            }
        }
        failing
    }

    /// Applies a check to each column that matches the patterns.
    fn each(
        &self,
        name: &str,
        severity: Severity,
        patterns: &[String],
        check: impl Fn(&[f64]) -> Verdict,
    ) -> Result<Vec<Finding>, StepError> {
        let mut findings = Vec::new();
        for column in self.columns(name, patterns)? {
            let values = self.rows.values(column)?;
            findings.push(check(&values).about(name, Some(column), severity));
        }
        Ok(findings)
    }

    fn columns(&self, name: &str, patterns: &[String]) -> Result<Vec<&str>, StepError> {
        let available = self.rows.table.contract.names();
        let patterns = self.document.patterns_of_present(patterns, &available);
        resolve(&patterns, &available).map_err(|unknown| {
            let error = StepError::usage(format!(
                "expectation {name}: no feature is named `{}`",
                unknown.name
            ));
            match document::closest(&unknown.name, available.iter().copied()) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error.hint(format!("features: {}", available.join(", "))),
            }
        })
    }
}

impl Verdict {
    /// Makes the report's entry for this result.
    pub(crate) fn about(self, name: &str, column: Option<&str>, severity: Severity) -> Finding {
        let Self { passed, expected, found, failing } = self;
        Finding {
            expectation: name.to_owned(),
            column: column.map(str::to_owned),
            severity,
            passed,
            expected,
            found,
            failing_rows: failing.rows as u64,
            failing_times: failing.times,
        }
    }
}

/// Returns a share of rows; without rows it is 1, which exceeds every limit.
pub(crate) fn share(part: usize, rows: usize) -> f64 {
    if rows == 0 { 1.0 } else { part as f64 / rows as f64 }
}
