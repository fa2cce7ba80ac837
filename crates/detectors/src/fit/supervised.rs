//! Models of labelled classes: fitted on labelled rows, measured on left-out runs.

use contract::Outcome;
use linfa::dataset::DatasetBase;
use ndarray::{Array1, Array2};
use serde_json::Value;

use crate::fit::cross_validation::{ClassDetector, CrossValidation, hold_out, likeliest};
use crate::fit::{ClassesJob, FitError};

/// Contents of a candidate of such a kind.
#[derive(Debug)]
pub struct FittedClasses {
    /// Bytes of the model's file.
    pub model: Vec<u8>,
    /// The parameters, with the names of the document.
    pub parameters: Value,
    /// Metrics on left-out runs.
    pub cross_validation: Value,
}

/// Fits a model that votes as a detector: at least one class must be normal and at least one not.
pub(crate) fn detector<M: ClassDetector>(
    job: &ClassesJob<'_>,
    parameters: Value,
    outcome: &mut Outcome,
    fit: impl Fn(&DatasetBase<Array2<f64>, Array1<usize>>) -> Result<M, FitError>,
) -> Result<FittedClasses, FitError> {
    let labelled = job.labelled;
    let normal = &labelled.classes.normal;
    if !(normal.contains(&true) && normal.contains(&false)) {
        return Err(FitError::OneSided);
    }
    let model = fit(&labelled.all())?;
    let held = hold_out(labelled, fit)?;
    let calibration = held.calibrate(labelled);
    let model = model.with_calibration(calibration).map_err(FitError::Model)?;
    let figures = held.figures(labelled, calibration, |held| {
        labelled.classes.names[likeliest(&held.shares)].clone()
    });
    let bytes = crate::save(&model).map_err(FitError::Model)?;
    note(outcome, &figures);
    Ok(FittedClasses { model: bytes, parameters, cross_validation: super::parameters(&figures) })
}

/// Records the metrics of a model.
pub(crate) fn note(outcome: &mut Outcome, figures: &CrossValidation) {
    outcome.metric("cross_validation.accuracy", figures.accuracy);
    outcome.metric("cross_validation.balanced_accuracy", figures.balanced_accuracy);
    outcome.metric("cross_validation.log_loss", figures.log_loss);
}
