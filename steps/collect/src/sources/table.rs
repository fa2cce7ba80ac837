//! The source `table`: rows of a CSV or Parquet file.

mod bad;
mod cells;
mod columns;
mod csv;
mod flows;
mod parquet;
mod sink;
mod sort;
mod text;

use std::path::PathBuf;

use contract::{Outcome, Span, StepError};
use document::sources::Entity;
use document::sources::table::TableSource;
use frames::samples::SampleRows;

use crate::range::{Due, OTHER_RANGE_HINT};
use crate::source::{Each, Opener, Opening, Source, Stop};
use columns::Columns;
use sink::{Clock, Outside, Sink, Written};
use sort::Sorter;

/// A table to be read, and its columns.
#[derive(Debug)]
struct Table<'a> {
    path: PathBuf,
    settings: &'a TableSource,
    entity: &'a Entity,
    step: Span,
    columns: Columns,
    /// Columns that are left out, and why.
    left_out: Vec<String>,
    /// Rows outside are left out; `None` means that all rows are included.
    due: Option<Due>,
    /// Set for a tick, which may find no new row; a training may not.
    is_scoring: bool,
    /// Whether the rows are sorted.
    is_sorting: bool,
    /// Folder for temporary files of sorting.
    scratch: PathBuf,
    written: Option<Written>,
    /// Sentences on cells that are neither numbers nor gaps.
    bad: Vec<String>,
}

impl Opener for TableSource {
    /// Opens the source: finds the columns of the table.
    fn open<'a>(&'a self, mut opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let settings = self;
        if settings.format.is_flows() {
            return flows::open(settings, opening);
        }
        let path = opening.take_data()?;
        let (columns, left_out) = if is_parquet(&path) {
            parquet::columns(&path, settings, &opening.settings.entity)?
        } else {
            csv::columns(&path, settings, &opening.settings.entity)?
        };
        // Rows without times are one range, unless a part of it is requested.
        let all = settings.time.is_none() && opening.takes_all;
        Ok(Box::new(Table {
            path,
            settings,
            entity: &opening.settings.entity,
            step: opening.document.step,
            columns,
            left_out,
            due: (!all).then_some(opening.due),
            is_scoring: opening.is_scoring,
            is_sorting: false,
            scratch: opening.work.to_owned(),
            written: None,
            bad: Vec::new(),
        }))
    }
}

/// Returns the names of a table's columns, in the order of the file.
pub(crate) fn header(
    path: &std::path::Path,
    settings: &TableSource,
) -> Result<Vec<String>, StepError> {
    if is_parquet(path) { parquet::header(path) } else { csv::header(path, settings) }
}

/// Passes all rows of a table to `each`, in the order of the file.
pub(crate) fn each_block(
    path: &std::path::Path,
    settings: &TableSource,
    entity: &Entity,
    step: Span,
    each: &mut dyn FnMut(SampleRows) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let mut clock = Clock::new(settings.start, step);
    let mut add = |mut rows: SampleRows| -> Result<(), Stop> {
        if rows.times.is_empty() {
            rows.times = rows.entities.iter().map(|entity| clock.tick(entity)).collect();
        }
        for name in &mut rows.entities {
            let renamed = entity.rename(name);
            if renamed != name {
                *name = renamed.to_owned();
            }
        }
        Ok(each(rows)?)
    };
    let read = if is_parquet(path) {
        let (columns, _) = parquet::columns(path, settings, entity)?;
        parquet::read(path, settings, &columns, &mut add)
            .and_then(|bad| Ok(bad.check(path, &columns.samples)?))
    } else {
        let (columns, _) = csv::columns(path, settings, entity)?;
        csv::read(path, settings, &columns, &mut add)
            .and_then(|bad| Ok(bad.check(path, &columns.samples)?))
    };
    match read {
        Ok(_) => Ok(()),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::OutOfOrder) => {
            Err(StepError::bug("rows out of order in a read that needs no order"))
        }
    }
}

fn is_parquet(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

impl Source for Table<'_> {
    fn columns(&self) -> Vec<String> {
        let samples = self.columns.samples.iter().map(|column| &column.name);
        samples.chain(self.entity.texts.keys()).cloned().collect()
    }

    fn is_labelled(&self) -> bool {
        self.columns.label.is_some()
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        let clock = Clock::new(self.settings.start, self.step);
        let entity = self.entity;
        let sorter = self.is_sorting.then(|| Sorter::new(&self.scratch));
        let mut sink = Sink::new(each, clock, self.due, sorter);
        let mut add = |mut rows: SampleRows| {
            for name in &mut rows.entities {
                let renamed = entity.rename(name);
                if renamed != name {
                    *name = renamed.to_owned();
                }
            }
            sink.add(rows)
        };
        let read = if is_parquet(&self.path) {
            parquet::read(&self.path, self.settings, &self.columns, &mut add)
        } else {
            csv::read(&self.path, self.settings, &self.columns, &mut add)
        };
        if let Err(Stop::OutOfOrder) = read {
            tracing::info!("The table is not in order of time: sorting it");
            self.is_sorting = true;
        }
        let bad = read?;
        self.written = Some(sink.finish()?);
        self.bad = bad.check(&self.path, &self.columns.samples)?;
        Ok(())
    }

    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError> {
        let path = self.path.display();
        let Some(written) = self.written.take() else { return Ok(()) };
        if !written.has_values && !self.is_scoring {
            return Err(self.nothing(&written));
        }
        for reason in &self.left_out {
            outcome.warn(format!("`{path}`: {reason}"));
        }
        self.bad.iter().for_each(|bad| outcome.warn(bad));
        if let Some(outside) = written.outside.filter(|_| !self.is_scoring) {
            outcome.count("rows_outside_range", outside.rows);
        }
        if written.off_grid > 0 {
            outcome.warn(format!(
                "{} rows of `{path}` do not lie on whole steps of {}",
                written.off_grid, self.step
            ));
        }
        Ok(())
    }
}

impl Table<'_> {
    /// Makes the error of a training without rows from the table.
    fn nothing(&self, written: &Written) -> StepError {
        let path = self.path.display();
        let (Some(outside), Some(due)) = (&written.outside, self.due) else {
            return StepError::refused(format!("`{path}` has no sample"))
                .hint("use a table with at least one row below its header");
        };
        let Outside { rows, first, last } = outside;
        StepError::refused(format!(
            "all {rows} rows of `{path}`, from `{first}` to `{last}`, lie outside the range from `{}` to `{}`",
            due.after, due.end
        ))
        .hint(OTHER_RANGE_HINT)
    }
}
