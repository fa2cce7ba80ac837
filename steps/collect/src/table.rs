//! The source `table`: rows of a CSV or Parquet file.

mod cells;
mod columns;
mod csv;
mod foreign;
mod sink;

use std::path::Path;

use contract::{Outcome, StepError};
use document::Document;
use document::document::TableSource;
use frames::SamplesWriter;

use crate::range::Due;
use columns::Columns;
use sink::{Clock, Outside, Sink, Stop, Written};

/// A table to be read, with what is known of its columns.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    pub(crate) path: &'a Path,
    pub(crate) source: &'a TableSource,
    pub(crate) document: &'a Document,
    /// Rows outside are left out; nothing means that all rows are taken.
    pub(crate) due: Option<Due>,
    /// A tick may find no new row; a training may not.
    pub(crate) scoring: bool,
}

impl Table<'_> {
    /// Writes the table's rows as samples.
    pub(crate) fn collect(&self, samples: &Path, outcome: &mut Outcome) -> Result<(), StepError> {
        let columns = self.columns(outcome)?;
        let written = match self.write(&columns, samples, false) {
            Err(Stop::OutOfOrder) => {
                tracing::info!("The table is not in order of time: sorting it in memory");
                self.write(&columns, samples, true).map_err(Stop::into_error)?
            }
            other => other.map_err(Stop::into_error)?,
        };
        let Written { writer, tally, off_grid, outside } = written;
        writer.publish()?;
        tally.report(columns.samples.len(), outcome);
        if let Some(outside) = outside.filter(|_| !self.scoring) {
            outcome.count("rows_outside_range", outside.rows);
        }
        if off_grid > 0 {
            outcome.warn(format!(
                "{off_grid} rows of `{}` do not lie on whole steps of {}",
                self.path.display(),
                self.document.step
            ));
        }
        Ok(())
    }

    fn is_parquet(&self) -> bool {
        self.path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
    }

    fn columns(&self, outcome: &mut Outcome) -> Result<Columns, StepError> {
        let (columns, left_out) = if self.is_parquet() {
            foreign::columns(self.path, self.source)?
        } else {
            csv::columns(self.path, self.source)?
        };
        for reason in left_out {
            outcome.warn(format!("`{}`: {reason}", self.path.display()));
        }
        Ok(columns)
    }

    /// Streams the rows to the file; sorted, all of them are in memory before the first is written.
    fn write(&self, columns: &Columns, samples: &Path, sorted: bool) -> Result<Written, Stop> {
        let names: Vec<&str> = columns.samples.iter().map(|column| column.name.as_str()).collect();
        let writer = SamplesWriter::create(samples, &names, columns.label.is_some())?;
        let clock = Clock::new(self.source.start, self.document.step);
        let mut sink = Sink::new(writer, clock, self.due, sorted);
        if self.is_parquet() {
            foreign::read(self.path, self.source, columns, &mut |rows| sink.add(rows))?;
        } else {
            csv::read(self.path, self.source, columns, &mut |rows| sink.add(rows))?;
        }
        let written = sink.finish()?;
        if written.tally.is_empty() && !self.scoring {
            return Err(Stop::Error(self.nothing(&written)));
        }
        Ok(written)
    }

    /// Makes the error of a table that a training finds nothing in.
    fn nothing(&self, written: &Written) -> StepError {
        let path = self.path.display();
        let (Some(outside), Some(due)) = (&written.outside, self.due) else {
            return StepError::refused(format!("`{path}` holds no sample"));
        };
        let Outside { rows, first, last } = outside;
        StepError::refused(format!(
            "all {rows} rows of `{path}`, from `{first}` to `{last}`, lie outside the range from `{}` to `{}`",
            due.after, due.end
        ))
        .hint("`--now TIME` takes another time for the present, and `range` says how far back to go")
    }
}
