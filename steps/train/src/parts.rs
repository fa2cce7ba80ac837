//! The rows that a model of the order of time is fitted on, read once per pass.

use std::path::Path;

use contract::{FeatureContract, Span, StepError, Timestamp};
use frames::FeatureTable;
use models::matrix;
use models::measure::normal_rows;
use ndarray::ArrayView2;

use crate::FitError;

/// Rows in the order of time, in parts, so that they do not have to be in memory together.
pub trait Rows: Sync {
    /// Returns the distance between the rows of an entity.
    fn step(&self) -> Span;

    /// Calls `each` with the parts in order; every call passes the same parts.
    fn for_each_part(
        &self,
        each: &mut dyn FnMut(&Part<'_>) -> Result<(), FitError>,
    ) -> Result<(), FitError>;
}

/// Consecutive rows; every slice has one item per row.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// End of each row's window.
    pub times: &'a [Timestamp],
    /// Index of each row's entity in `names`.
    pub entities: &'a [u32],
    /// Names of entities; other parts may have other names.
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
    /// `validation.parquet`: the model is calibrated by folds on rows it was not fitted on, so
    /// these rows are used for fitting, too.
    pub validation: &'a Path,
    /// Labels that mean normal.
    pub normal: &'a [String],
    /// The features of both.
    pub contract: &'a FeatureContract,
}

impl Rows for Files<'_> {
    fn step(&self) -> Span {
        self.contract.step
    }

    fn for_each_part(
        &self,
        each: &mut dyn FnMut(&Part<'_>) -> Result<(), FitError>,
    ) -> Result<(), FitError> {
        // The reader can only return errors of steps, so an error of the fit is kept here.
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
