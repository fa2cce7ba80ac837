//! Rows in memory that an adaptive model is fitted on.

use contract::{Span, Timestamp};
use ndarray::{Array2, Axis};

use super::Order;
use crate::fit::FitError;
use crate::fit::parts::{Part, Rows};

/// Rows in memory, as one part.
#[derive(Debug)]
pub(super) struct InMemory {
    step: Span,
    times: Vec<Timestamp>,
    entities: Vec<u32>,
    names: Vec<String>,
    normal: Vec<bool>,
    values: Array2<f64>,
}

impl InMemory {
    /// Puts records in the order of time.
    pub(super) fn new(records: &Array2<f64>, order: &Order) -> Self {
        let mut rows: Vec<usize> = (0..records.nrows()).collect();
        rows.sort_by_key(|row| order.times[*row]);
        let mut names: Vec<String> = order.entities.clone();
        names.sort();
        names.dedup();
        let index = |row: &usize| names.partition_point(|name| *name < order.entities[*row]);
        let index = |row: &usize| u32::try_from(index(row)).unwrap_or(u32::MAX);
        Self {
            step: order.step,
            times: rows.iter().map(|row| order.times[*row]).collect(),
            entities: rows.iter().map(index).collect(),
            normal: rows.iter().map(|row| order.normal[*row]).collect(),
            values: records.select(Axis(0), &rows),
            names,
        }
    }
}

impl Rows for InMemory {
    fn step(&self) -> Span {
        self.step
    }

    fn for_each_part(
        &self,
        each: &mut dyn FnMut(&Part<'_>) -> Result<(), FitError>,
    ) -> Result<(), FitError> {
        each(&Part {
            times: &self.times,
            entities: &self.entities,
            names: &self.names,
            normal: &self.normal,
            values: self.values.view(),
        })
    }
}
