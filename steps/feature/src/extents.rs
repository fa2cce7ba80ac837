//! First and last window of each entity.

use std::collections::HashMap;

use contract::{Span, StepError, Timestamp};
use frames::Table;

/// Latest and earliest accepted time: the years 0 to 9999.
const TIME_LIMITS_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;
/// Maximum number of grid rows per sample; more rows mean a wrong time or a wrong step, unless the
/// grid is small.
const ROWS_PER_SAMPLE: u64 = 100;
const ALWAYS_ALLOWED_ROWS: u64 = 1_000_000;

/// The windows of an entity, from its first sample to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) name: String,
    /// End of the window of the first sample.
    pub(crate) first: Timestamp,
    /// End of the window of the last sample.
    pub(crate) last: Timestamp,
}

/// The windows of every entity, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extents {
    pub(crate) step: Span,
    pub(crate) entities: Vec<Extent>,
    /// Number of samples.
    pub(crate) samples: usize,
    /// Whether the samples are sorted by time.
    pub(crate) sorted: bool,
}

impl Extents {
    /// Returns the index of an entity by name.
    pub(crate) fn index(&self, name: &str) -> usize {
        self.entities.partition_point(|extent| extent.name.as_str() < name)
    }

    /// Returns the ends of the first and the last window of all entities; `None` without samples.
    pub(crate) fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.entities.iter().map(|extent| extent.first).min()?;
        Some((first, self.entities.iter().map(|extent| extent.last).max()?))
    }
}

/// Extents under construction.
#[derive(Debug)]
pub(crate) struct Scan {
    step: Span,
    bounds: HashMap<String, (Timestamp, Timestamp)>,
    samples: usize,
    sorted: bool,
    last: Option<Timestamp>,
}

impl Scan {
    pub(crate) fn new(step: Span) -> Self {
        Self { step, bounds: HashMap::new(), samples: 0, sorted: true, last: None }
    }

    /// Adds the next rows. Errors: refused for an invalid time.
    pub(crate) fn add(&mut self, rows: &Table) -> Result<(), StepError> {
        let mut bounds: Vec<Option<(Timestamp, Timestamp)>> = vec![None; rows.entities.len()];
        for (row, (time, entity)) in rows.times.iter().zip(&rows.entity).enumerate() {
            if !TIME_LIMITS_MS.contains(&time.ms()) {
                let (number, ms) = (self.samples + row + 1, time.ms());
                return Err(StepError::refused(format!("time of sample {number} is {ms} ms"))
                    .hint("times count from 1970; check the time column and its format"));
            }
            self.sorted &= self.last.is_none_or(|last| *time >= last);
            self.last = Some(*time);
            let (first, last) = bounds[*entity as usize].get_or_insert((*time, *time));
            (*first, *last) = ((*first).min(*time), (*last).max(*time));
        }
        self.samples += rows.rows();
        for (name, bounds) in rows.entities.iter().zip(bounds) {
            let Some((first, last)) = bounds else { continue };
            let known = self.bounds.entry(name.clone()).or_insert((first, last));
            *known = (known.0.min(first), known.1.max(last));
        }
        Ok(())
    }

    /// Returns the extents. Errors: refused if there are many more windows than samples.
    pub(crate) fn finish(self) -> Result<Extents, StepError> {
        let Self { step, bounds, samples, sorted, .. } = self;
        let entities = bounds.into_iter().map(|(name, (first, last))| Extent {
            name,
            first: window_end(first, step),
            last: window_end(last, step),
        });
        let mut entities: Vec<Extent> = entities.collect();
        entities.sort_by(|a, b| a.name.cmp(&b.name));
        let rows_of = |extent: &Extent| (extent.last - extent.first).in_steps(step) as u64 + 1;
        let rows: u64 = entities.iter().map(rows_of).sum();
        if rows > ALWAYS_ALLOWED_ROWS.max(ROWS_PER_SAMPLE * samples as u64) {
            return Err(StepError::refused(format!(
                "{samples} samples would need {rows} windows of {step}"
            ))
            .hint("check the time column for wrong times, and `step` in the document"));
        }
        Ok(Extents { step, entities, samples, sorted })
    }
}

/// Returns the end of the window a time belongs to.
pub(crate) fn window_end(time: Timestamp, step: Span) -> Timestamp {
    let floor = time.floor(step);
    if floor == time { time } else { floor + step }
}
