//! Expectations on the rows as a whole: how many, how they follow each other, how old they are.

use contract::Span;
use document::expectations::{MaxSpan, RowCount};
use polars::prelude::{Column, Expr, IntoLazy as _, LazyFrame, PolarsError, col, len, lit};

use crate::expectations::{Checker, Failing, Verdict, failing};

/// What `feature` writes as the formula of a sample column that has no query.
const SAMPLE_FORMULA: &str = "sample";

impl Checker<'_> {
    pub(crate) fn row_count(&self, check: &RowCount) -> Verdict {
        let rows = self.table.rows() as u64;
        let expected = match check.max {
            Some(max) => format!("{} to {max} rows", check.min),
            None => format!("at least {} rows", check.min),
        };
        let passed = rows >= check.min && check.max.is_none_or(|max| rows <= max);
        Verdict { passed, expected, found: format!("{rows} rows"), failing: Failing::default() }
    }

    /// Returns the keys with `since`, the time in milliseconds since the entity's row before.
    fn since_row_before(&self, there: Expr) -> Result<LazyFrame, PolarsError> {
        let before = col("time").shift(lit(1)).over([col("entity")])?;
        let since = (col("time") - before).alias("since");
        Ok(self.keys.clone().lazy().filter(there).with_column(since))
    }

    pub(crate) fn time_monotonic(&self) -> Result<Verdict, PolarsError> {
        let since = self.since_row_before(lit(true))?;
        let failing = failing(&since.filter(col("since").lt_eq(lit(0))).collect()?)?;
        Ok(Verdict {
            passed: failing.rows == 0,
            expected: "time to grow from row to row of each entity".to_owned(),
            found: format!("{} rows that do not come after the row before", failing.rows),
            failing,
        })
    }

    pub(crate) fn time_unique(&self) -> Result<Verdict, PolarsError> {
        let repeated = self
            .keys
            .clone()
            .lazy()
            .with_column(len().over([col("entity"), col("time")])?.alias("rows"))
            .filter(col("rows").gt(lit(1)))
            .collect()?;
        let failing = failing(&repeated)?;
        Ok(Verdict {
            passed: failing.rows == 0,
            expected: "one row for each entity and time".to_owned(),
            found: format!("{} rows that share both", failing.rows),
            failing,
        })
    }

    pub(crate) fn freshness(&self, check: &MaxSpan) -> Verdict {
        let last = self.table.table.times.iter().max();
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

    /// Rows in which every sample column has a gap stand for missing samples: they do not count
    /// as rows here.
    pub(crate) fn gap_length(&self, check: &MaxSpan) -> Result<Verdict, PolarsError> {
        let there = Column::new("there".into(), self.rows_with_samples());
        let keys = self.keys.hstack(&[there])?;
        let checker = Checker { keys, table: self.table, document: self.document, now: self.now };
        let gaps = checker.since_row_before(col("there"))?;
        let longest = gaps.clone().select([col("since").max()]).collect()?;
        let longest = Span::from_ms(longest.column("since")?.i64()?.get(0).unwrap_or(0));
        let failing = failing(&gaps.filter(col("since").gt(lit(check.max.ms()))).collect()?)?;
        Ok(Verdict {
            passed: longest <= check.max,
            expected: format!("at most {} between two rows of an entity", check.max),
            found: format!("{longest}"),
            failing,
        })
    }

    fn rows_with_samples(&self) -> Vec<bool> {
        let contract = &self.table.contract.columns;
        let known = self.document.columns();
        let is_sample = |name: &str| {
            known.iter().any(|column| column.name == name)
                || contract.iter().any(|c| c.name == name && c.formula == SAMPLE_FORMULA)
        };
        let columns = &self.table.table.columns;
        let mut samples: Vec<_> = columns.iter().filter(|c| is_sample(&c.name)).collect();
        if samples.is_empty() {
            // Statistics alone: a window without any value is a gap all the same.
            samples = columns.iter().collect();
        }
        let mut there = vec![false; self.table.rows()];
        for column in samples {
            for (there, value) in there.iter_mut().zip(&column.values) {
                *there |= !value.is_nan();
            }
        }
        there
    }
}
