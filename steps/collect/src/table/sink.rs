//! From rows in the file's order to samples in order of time.

use std::collections::HashMap;

use contract::{Span, StepError, Timestamp};
use frames::SamplesWriter;
use frames::samples::SampleRows;

use crate::range::Due;
use crate::tally::Tally;

/// Rows that are read, and written as one row group, at a time.
pub(super) const BLOCK_ROWS: usize = 16 * 1024;

/// Why the reading of a table stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// A row is earlier than the one before it: the table must be sorted first.
    OutOfOrder,
    /// For good.
    Error(StepError),
}

impl Stop {
    pub(super) fn into_error(self) -> StepError {
        match self {
            Self::Error(error) => error,
            Self::OutOfOrder => StepError::bug("a sorted table is not in order of time"),
        }
    }
}

impl From<StepError> for Stop {
    fn from(error: StepError) -> Self {
        Self::Error(error)
    }
}

/// Gives rows without a time column their times: a step apart, for each entity on its own.
#[derive(Debug)]
pub(super) struct Clock {
    start: Timestamp,
    step: Span,
    next: HashMap<String, Timestamp>,
}

impl Clock {
    pub(super) fn new(start: Option<Timestamp>, step: Span) -> Self {
        // The document requires a start where there is no time column.
        let start = start.unwrap_or(Timestamp::from_ms(0));
        Self { start, step, next: HashMap::new() }
    }

    fn tick(&mut self, entity: &str) -> Timestamp {
        if let Some(next) = self.next.get_mut(entity) {
            let time = *next;
            *next = time + self.step;
            return time;
        }
        self.next.insert(entity.to_owned(), self.start + self.step);
        self.start
    }
}

/// Rows that were left out, since they are not of the time that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outside {
    pub(super) rows: usize,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// A file of samples that is whole and not visible yet.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) writer: SamplesWriter,
    pub(super) tally: Tally,
    /// Rows that do not lie on whole steps.
    pub(super) off_grid: usize,
    pub(super) outside: Option<Outside>,
}

/// Takes blocks of rows and writes them in order of time.
#[derive(Debug)]
pub(super) struct Sink {
    writer: SamplesWriter,
    clock: Clock,
    due: Option<Due>,
    last: Option<Timestamp>,
    tally: Tally,
    off_grid: usize,
    outside: Option<Outside>,
    /// All rows, where they have to be sorted.
    held: Option<SampleRows>,
}

impl Sink {
    /// Makes a sink; `sorted` says that it holds all rows and sorts them.
    pub(super) fn new(writer: SamplesWriter, clock: Clock, due: Option<Due>, sorted: bool) -> Self {
        let held = sorted.then(SampleRows::default);
        let (tally, last, outside) = (Tally::default(), None, None);
        Self { writer, clock, due, last, tally, off_grid: 0, outside, held }
    }

    /// Adds rows; without times they get the clock's.
    pub(super) fn add(&mut self, mut rows: SampleRows) -> Result<(), Stop> {
        if rows.times.is_empty() {
            rows.times = rows.entities.iter().map(|entity| self.clock.tick(entity)).collect();
        }
        if let Some(due) = self.due {
            let inside: Vec<usize> =
                (0..rows.times.len()).filter(|row| due.contains(rows.times[*row])).collect();
            if inside.len() < rows.times.len() {
                self.leave_out(rows.times.iter().filter(|time| !due.contains(**time)));
                rows = pick(&rows, &inside);
            }
        }
        let step = self.clock.step;
        self.off_grid += rows.times.iter().filter(|time| time.floor(step) != **time).count();
        match &mut self.held {
            Some(held) => {
                append(held, rows);
                Ok(())
            }
            None => self.write(&rows),
        }
    }

    fn leave_out<'a>(&mut self, times: impl Iterator<Item = &'a Timestamp>) {
        for &time in times {
            let none = Outside { rows: 0, first: time, last: time };
            let Outside { rows, first, last } = self.outside.unwrap_or(none);
            let (first, last) = (first.min(time), last.max(time));
            self.outside = Some(Outside { rows: rows + 1, first, last });
        }
    }

    fn write(&mut self, rows: &SampleRows) -> Result<(), Stop> {
        let Some(last) = rows.times.last() else { return Ok(()) };
        let before = self.last.is_some_and(|before| rows.times[0] < before);
        if before || !rows.times.is_sorted() {
            return Err(Stop::OutOfOrder);
        }
        self.last = Some(*last);
        self.tally.add(rows);
        Ok(self.writer.write(rows)?)
    }

    /// Writes what is held, and returns the file with what was counted.
    pub(super) fn finish(mut self) -> Result<Written, Stop> {
        if let Some(held) = self.held.take() {
            let mut order: Vec<usize> = (0..held.times.len()).collect();
            order.sort_by_key(|row| held.times[*row]);
            for rows in order.chunks(BLOCK_ROWS) {
                self.write(&pick(&held, rows))?;
            }
        }
        let Self { writer, tally, off_grid, outside, .. } = self;
        Ok(Written { writer, tally, off_grid, outside })
    }
}

fn pick(rows: &SampleRows, chosen: &[usize]) -> SampleRows {
    SampleRows {
        times: chosen.iter().map(|row| rows.times[*row]).collect(),
        entities: chosen.iter().map(|row| rows.entities[*row].clone()).collect(),
        labels: chosen.iter().map(|row| rows.labels[*row].clone()).collect(),
        columns: (rows.columns.iter())
            .map(|column| chosen.iter().map(|row| column[*row]).collect())
            .collect(),
    }
}

fn append(held: &mut SampleRows, rows: SampleRows) {
    held.times.extend(rows.times);
    held.entities.extend(rows.entities);
    held.labels.extend(rows.labels);
    if held.columns.is_empty() {
        held.columns = rows.columns;
    } else {
        held.columns.iter_mut().zip(rows.columns).for_each(|(held, rows)| held.extend(rows));
    }
}
