//! The rows that an adaptive model is fitted on, read as often as a pass needs them.

use std::path::Path;

use contract::{Span, StepError, Timestamp};
use frames::FeatureTable;
use models::matrix;
use models::measure::normal_rows;
use ndarray::{Array2, ArrayView2, Axis};

use super::Order;
use crate::FitError;

/// Rows in the order of time, in parts, so that they need not be in memory together.
pub trait Rows: Sync {
    /// Returns the distance between the rows of an entity.
    fn step(&self) -> Span;

    /// Calls `each` with the parts in order; every call of this gives the same parts.
    fn for_each_part(
        &self,
        each: &mut dyn FnMut(&Part<'_>) -> Result<(), FitError>,
    ) -> Result<(), FitError>;
}

/// Consecutive rows; every slice has one item a row.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// End of each row's window.
    pub times: &'a [Timestamp],
    /// Index of each row's entity in `names`.
    pub entities: &'a [u32],
    /// Names of entities; other parts may have others.
    pub names: &'a [String],
    /// Returns which rows count as normal. The others update the state, as in scoring, but are not
    /// used for fitting.
    pub normal: &'a [bool],
    /// The features, of shape (rows, columns); a gap is `NaN`.
    pub values: ArrayView2<'a, f64>,
}

/// The train and the validation part of a data set, in their files.
#[derive(Debug)]
pub struct Files<'a> {
    /// `train.parquet`: every row is normal.
    pub train: &'a Path,
    /// `validation.parquet`: the model calibrates itself on rows it was not fitted on, so these are
    /// fitted on, too.
    pub validation: &'a Path,
    /// Labels that mean normal.
    pub normal: &'a [String],
    /// Distance between the rows of an entity.
    pub step: Span,
}

impl Rows for Files<'_> {
    fn step(&self) -> Span {
        self.step
    }

    fn for_each_part(
        &self,
        each: &mut dyn FnMut(&Part<'_>) -> Result<(), FitError>,
    ) -> Result<(), FitError> {
        // An error of a fit has to pass through a reader that knows the errors of steps alone.
        let mut failed = None;
        for (path, labelled) in [(self.train, false), (self.validation, true)] {
            let read = FeatureTable::read_parts(path, |table| {
                let mut normal = vec![!labelled; table.rows()];
                if labelled {
                    normal_rows(table, self.normal).into_iter().for_each(|row| normal[row] = true);
                }
                let values = matrix(table);
                let part = Part {
                    times: &table.table.times,
                    entities: &table.table.entity,
                    names: &table.table.entities,
                    normal: &normal,
                    values: values.view(),
                };
                each(&part).map_err(|error| {
                    failed = Some(error);
                    StepError::bug("fitting stopped")
                })
            });
            match (failed.take(), read) {
                (Some(error), _) => return Err(error),
                (None, Err(error)) => return Err(FitError::Model(error)),
                (None, Ok(_)) => {}
            }
        }
        Ok(())
    }
}

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
