//! The rows of a data set that a model of the order of time is fitted on, read once per pass.

use std::path::Path;

use contract::{FeatureContract, Span, StepError};
use detectors::fit::FitError;
use detectors::fit::parts::{Part, Rows};
use frames::FeatureTable;
use models::matrix;
use models::measure::normal_rows;

/// The train and the validation part of a data set, in their files.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    /// `train.parquet`: every row is normal.
    pub(crate) train: &'a Path,
    /// `validation.parquet`: the model is calibrated by folds on rows it was not fitted on, so
    /// these rows are used for fitting, too.
    pub(crate) validation: &'a Path,
    /// Labels that mean normal.
    pub(crate) normal: &'a [String],
    /// The features of both.
    pub(crate) contract: &'a FeatureContract,
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
