//! Converts rows in the file's order to samples in order of time.

use std::collections::HashMap;

use contract::{Span, Timestamp};
use frames::samples::SampleRows;

use super::sort::Sorter;
use crate::range::Due;
use crate::source::{Each, Stop};

/// Number of rows that are read at a time, and written as one row group.
pub(super) const BLOCK_ROWS: usize = 16 * 1024;

/// Assigns times to rows without a time column: a step apart, separately for each entity.
#[derive(Debug)]
pub(super) struct Clock {
    start: Timestamp,
    step: Span,
    next: HashMap<String, Timestamp>,
}

impl Clock {
    pub(super) fn new(start: Option<Timestamp>, step: Span) -> Self {
        // The document requires a start if there is no time column.
        let start = start.unwrap_or(Timestamp::from_ms(0));
        Self { start, step, next: HashMap::new() }
    }

    pub(super) fn tick(&mut self, entity: &str) -> Timestamp {
        if let Some(next) = self.next.get_mut(entity) {
            let time = *next;
            *next = time + self.step;
            return time;
        }
        self.next.insert(entity.to_owned(), self.start + self.step);
        self.start
    }
}

/// Rows that were left out, because they are outside the requested range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outside {
    pub(super) rows: usize,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// Statistics of the rows.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Whether some row had a value.
    pub(super) has_values: bool,
    /// Number of rows whose time is not a whole step.
    pub(super) off_grid: usize,
    pub(super) outside: Option<Outside>,
}

/// Takes blocks of rows and passes them on in order of time.
pub(super) struct Sink<'a, 'each> {
    each: &'a mut Each<'each>,
    clock: Clock,
    due: Option<Due>,
    last: Option<Timestamp>,
    written: Written,
    /// Sorts the rows, if necessary.
    sorter: Option<Sorter>,
}

impl<'a, 'each> Sink<'a, 'each> {
    /// Makes a sink; with a sorter the rows may be in any order.
    pub(super) fn new(
        each: &'a mut Each<'each>,
        clock: Clock,
        due: Option<Due>,
        sorter: Option<Sorter>,
    ) -> Self {
        Self { each, clock, due, last: None, written: Written::default(), sorter }
    }

    /// Adds rows; rows without times get those of the clock.
    pub(super) fn add(&mut self, mut rows: SampleRows) -> Result<(), Stop> {
        if rows.times.is_empty() {
            rows.times = rows.entities.iter().map(|entity| self.clock.tick(entity)).collect();
        }
        if let Some(due) = self.due {
            let inside: Vec<usize> =
                (0..rows.times.len()).filter(|row| due.contains(rows.times[*row])).collect();
            if inside.len() < rows.times.len() {
                let outside = rows.times.iter().filter(|time| !due.contains(**time)).copied();
                self.leave_out(outside);
                rows = pick(&rows, &inside);
            }
        }
        let step = self.clock.step;
        self.written.off_grid +=
            rows.times.iter().filter(|time| time.floor(step) != **time).count();
        match &mut self.sorter {
            Some(sorter) => Ok(sorter.add(rows)?),
            None => self.write(rows),
        }
    }

    fn leave_out(&mut self, times: impl Iterator<Item = Timestamp>) {
        for time in times {
            let none = Outside { rows: 0, first: time, last: time };
            let Outside { rows, first, last } = self.written.outside.unwrap_or(none);
            let (first, last) = (first.min(time), last.max(time));
            self.written.outside = Some(Outside { rows: rows + 1, first, last });
        }
    }

    fn write(&mut self, rows: SampleRows) -> Result<(), Stop> {
        let Some(last) = rows.times.last() else { return Ok(()) };
        let before = self.last.is_some_and(|before| rows.times[0] < before);
        if before || !rows.times.is_sorted() {
            return Err(Stop::OutOfOrder);
        }
        self.last = Some(*last);
        self.written.has_values |= rows.columns.iter().flatten().any(Option::is_some);
        Ok((self.each)(rows)?)
    }

    /// Passes on the sorted rows, and returns the statistics.
    pub(super) fn finish(mut self) -> Result<Written, Stop> {
        if let Some(sorter) = self.sorter.take() {
            sorter.finish(&mut |rows| self.write(rows))?;
        }
        Ok(self.written)
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
