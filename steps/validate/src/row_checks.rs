//! Expectations on the rows as a whole: their number, their distances in time, and their age.

use contract::{Span, StepError, Timestamp};
use document::expectations::{MaxSpan, RowCount};
use polars::prelude::PolarsError;

use crate::columns::keys;
use crate::expectations::{Checker, Failing, Verdict};

/// What `feature` writes as the formula of a sample column that has no query.
const SAMPLE_FORMULA: &str = "sample";

impl Checker<'_> {
    pub(crate) fn row_count(&self, check: &RowCount) -> Verdict {
        let rows = self.rows.table.rows() as u64;
        let expected = match check.max {
            Some(max) => format!("{} to {max} rows", check.min),
            None => format!("at least {} rows", check.min),
        };
        let passed = rows >= check.min && check.max.is_none_or(|max| rows <= max);
        Verdict { passed, expected, found: format!("{rows} rows"), failing: Failing::default() }
    }

    /// Calls `each` with the time since the previous row of the entity, in milliseconds, for each
    /// row that counts, in order; not for the first row of an entity.
    fn each_since_row_before(
        &self,
        counts: impl Fn(usize) -> bool,
        mut each: impl FnMut(Timestamp, i64),
    ) {
        let table = &self.rows.table.table;
        let mut before: Vec<Option<i64>> = vec![None; table.entities.len()];
        let rows = table.times.iter().zip(&table.entity).enumerate();
        for (_, (time, entity)) in rows.filter(|(row, _)| counts(*row)) {
            if let Some(before) = before[*entity as usize].replace(time.ms()) {
                each(*time, time.ms() - before);
            }
        }
    }

    pub(crate) fn time_monotonic(&self) -> Verdict {
        let mut failing = Failing::default();
        self.each_since_row_before(
            |_| true,
            |time, since| {
                if since <= 0 {
                    failing.add(time);
                }
            },
        );
        Verdict {
            passed: failing.rows == 0,
            expected: "time to grow from row to row of each entity".to_owned(),
            found: format!("{} rows that do not come after the row before", failing.rows),
            failing,
        }
    }

    pub(crate) fn time_unique(&self) -> Result<Verdict, PolarsError> {
        let twice = keys(&self.rows.table)?.is_duplicated()?;
        let failing = self.failing_where(|row| twice.get(row) == Some(true));
        Ok(Verdict {
            passed: failing.rows == 0,
            expected: "one row for each entity and time".to_owned(),
            found: format!("{} rows that share both", failing.rows),
            failing,
        })
    }

    pub(crate) fn freshness(&self, check: &MaxSpan) -> Verdict {
        let last = self.rows.table.table.times.iter().max();
        let age = last.map(|last| self.now - *last);
        Verdict {
            passed: age.is_some_and(|age| age <= check.max),
            expected: format!("a last row at most {} before {}", check.max, self.now),
            found: match (last, age) {
                (Some(last), Some(age)) => format!("{last}, {age} before"),
                _ => "no row".to_owned(),
            },
            failing: Failing {
                rows: usize::from(age.is_none_or(|age| age > check.max)),
                times: last.copied().filter(|_| age > Some(check.max)).into_iter().collect(),
            },
        }
    }

    /// Rows in which every sample column has a gap mean missing samples, and do not count as rows
    /// here.
    pub(crate) fn gap_length(&self, check: &MaxSpan, there: &[bool]) -> Verdict {
        let (mut longest, mut failing) = (0, Failing::default());
        self.each_since_row_before(
            |row| there[row],
            |time, since| {
                longest = longest.max(since);
                if since > check.max.ms() {
                    failing.add(time);
                }
            },
        );
        let longest = Span::from_ms(longest);
        Verdict {
            passed: longest <= check.max,
            expected: format!("at most {} between two rows of an entity", check.max),
            found: format!("{longest}"),
            failing,
        }
    }

    /// Returns for each row whether any sample column has a value.
    pub(crate) fn rows_with_samples(&self) -> Result<Vec<bool>, StepError> {
        let contract = &self.rows.table.contract.columns;
        let known = &self.document.columns;
        let is_sample = |name: &str| {
            known.iter().any(|column| column.name == name)
                || contract.iter().any(|c| c.name == name && c.formula == SAMPLE_FORMULA)
        };
        let mut samples: Vec<_> = contract.iter().filter(|c| is_sample(&c.name)).collect();
        if samples.is_empty() {
            // The contract has only statistics: a window without any value is still a gap.
            samples = contract.iter().collect();
        }
        let mut there = vec![false; self.rows.table.rows()];
        for column in samples {
            for (there, value) in there.iter_mut().zip(&*self.rows.values(&column.name)?) {
                *there |= !value.is_nan();
            }
        }
        Ok(there)
    }
}
