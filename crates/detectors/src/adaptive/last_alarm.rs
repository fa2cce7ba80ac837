//! Columns whose usual level an alarm has moved.
//!
//! If an alarm ends because the signals are normal again, their usual levels have hardly changed.
//! If it ends because a lasting change was learned, the levels have moved, and people who got the
//! alert must know that the system did not recover.

use contract::StepError;
use contract::tensors::{Arrays, Numbers};

use super::Memory;
use crate::sequence::NewLevel;

/// Smallest movement of a usual level that counts as a new level, in standard deviations of the
/// entity in training.
const MOVED: f64 = 1.0;

/// How long after the end of an alarm new levels are reported.
const REPORTED_MS: i64 = 3_600_000;

/// The open alarm, or the last one.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct LastAlarm {
    /// Times of its first and last row.
    first_ms: i64,
    last_ms: i64,
    /// Usual level of each column before it; empty if there was no alarm yet.
    levels: Vec<f64>,
}

impl LastAlarm {
    /// Adds it to the arrays of an entity.
    pub(super) fn write(&self, arrays: Arrays) -> Arrays {
        arrays
            .with("last_alarm_ms", Numbers::I64(vec![self.first_ms, self.last_ms]))
            .with("levels_before_alarm", Numbers::F64(self.levels.clone()))
    }

    /// Takes it from the arrays of an entity.
    pub(super) fn read(arrays: &mut Arrays) -> Result<Self, StepError> {
        let times = arrays.take_i64("last_alarm_ms")?;
        let &[first_ms, last_ms] = times.as_slice() else {
            return Err(StepError::damaged("`last_alarm_ms` does not contain two times"));
        };
        Ok(Self { first_ms, last_ms, levels: arrays.take_f64("levels_before_alarm")? })
    }

    pub(super) fn is_none(&self) -> bool {
        self.levels.is_empty()
    }

    /// Returns whether it is valid for this number of columns; a file may contain anything.
    pub(super) fn fits(&self, columns: usize) -> bool {
        self.is_none() || self.levels.len() == columns
    }
}

impl Memory {
    /// Records whether there is an alarm after the newest row. An alarm that starts within an hour
    /// after the last one continues it.
    pub(super) fn note_alarm(&mut self, alarmed: bool) {
        if let Some(now) = self.time_ms.filter(|_| alarmed) {
            let alarm = &mut self.last_alarm;
            let is_over = now.saturating_sub(alarm.last_ms) > REPORTED_MS;
            if !self.alarmed && (alarm.is_none() || is_over) {
                alarm.first_ms = now;
                alarm.levels.clone_from(&self.means);
            }
            alarm.last_ms = now;
        }
        self.alarmed = alarmed;
    }

    /// Returns the columns that the last alarm left on a new usual level, for an hour after its
    /// end; `None` if it moved none.
    pub fn new_level(&self) -> Option<NewLevel> {
        let alarm = &self.last_alarm;
        if self.alarmed || self.time_ms?.saturating_sub(alarm.last_ms) > REPORTED_MS {
            return None;
        }
        let levels = self.means.iter().zip(&alarm.levels).enumerate();
        let moved = levels.filter(|(column, (now, before))| {
            (*now - *before).abs() > MOVED * self.own.deviation(*column)
        });
        let columns: Vec<usize> = moved.map(|(column, _)| column).collect();
        (!columns.is_empty()).then_some(NewLevel { since_ms: alarm.first_ms, columns })
    }
}
