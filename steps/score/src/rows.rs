//! The due rows: which of them have samples, and which have enough values to be scored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use contract::{Span, StepError, Timestamp};
use frames::{FeatureTable, Samples};

use crate::windows::Windows;

/// Windows and entities for which the source has samples.
///
/// `fill` also fills windows without any measurement. Such a window would look normal, but is
/// unknown.
#[derive(Debug)]
pub(crate) struct Measured {
    entities: HashMap<String, u32>,
    cells: HashSet<(Timestamp, u32)>,
}

impl Measured {
    pub(crate) fn read(path: &Path, step: Span) -> Result<Self, StepError> {
        let samples = Samples::read(path)?.table;
        let said = |row: usize| samples.columns.iter().any(|column| column.values[row].is_finite());
        let cell = |row: usize| {
            // The end of the window that the sample falls in.
            let window = (samples.times[row] - Span::from_ms(1)).floor(step) + step;
            (window, samples.entity[row])
        };
        let cells = (0..samples.rows()).filter(|row| said(*row)).map(cell).collect();
        Ok(Self { entities: samples.entities.into_iter().zip(0..).collect(), cells })
    }

    /// Marks the windows that end at these times as not measured.
    pub(crate) fn leave_out(&mut self, is_left_out: impl Fn(Timestamp) -> bool) {
        self.cells.retain(|(time, _)| !is_left_out(*time));
    }

    fn has(&self, time: Timestamp, entity: &str) -> bool {
        self.entities.get(entity).is_some_and(|index| self.cells.contains(&(time, *index)))
    }
}

/// The rows of the windows that are due, without those that cannot be scored because they are
/// warm-up or have no measurement.
#[derive(Debug)]
pub(crate) struct DueRows {
    pub(crate) table: FeatureTable,
    /// Numbers of the rows of each window.
    by_time: BTreeMap<Timestamp, Vec<usize>>,
    /// End of the last window with a row that can be scored.
    pub(crate) heard: Option<Timestamp>,
}

impl DueRows {
    pub(crate) fn new(
        features: &FeatureTable,
        due: &Windows,
        measured: Option<&Measured>,
        min_completeness: f64,
    ) -> Self {
        let table = &features.table;
        let counts = |row: &usize| {
            let time = table.times[*row];
            let measured = measured.is_none_or(|known| known.has(time, table.entity_of(*row)));
            due.contains(time) && !features.warm_up[*row] && measured
        };
        let rows: Vec<usize> = (0..features.rows()).filter(counts).collect();
        let table = features.select(&rows);
        let mut by_time: BTreeMap<Timestamp, Vec<usize>> = BTreeMap::new();
        for (row, time) in table.table.times.iter().enumerate() {
            by_time.entry(*time).or_default().push(row);
        }
        let columns = &table.table.columns;
        let enough = |row: &usize| {
            let present = columns.iter().filter(|column| column.values[*row].is_finite()).count();
            present as f64 / columns.len().max(1) as f64 >= min_completeness
        };
        let mut newest = by_time.iter().rev();
        let heard = newest.find(|(_, rows)| rows.iter().any(enough)).map(|(time, _)| *time);
        Self { table, by_time, heard }
    }

    /// Returns the numbers of a window's rows.
    pub(crate) fn of(&self, time: Timestamp) -> &[usize] {
        self.by_time.get(&time).map_or(&[], Vec::as_slice)
    }

    /// Returns the names of a window's entities.
    pub(crate) fn present(&self, time: Timestamp) -> Vec<&str> {
        self.of(time).iter().map(|row| self.table.table.entity_of(*row)).collect()
    }
}
