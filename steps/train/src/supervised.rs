//! Models of labelled classes: fitted on labelled rows, measured on runs left out.

use contract::{DetectorKind, Outcome, StepError};
use document::ranges::Ranges as _;
use document::sections::Train as Sections;
use linfa::ParamGuard as _;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use ndarray::{Array1, Array2};
use serde_json::Value;

use crate::FitError;
use crate::boosted_trees;
use crate::cross_validation::{ClassDetector, hold_out, likeliest};
use crate::decision_tree::DecisionTreeParams;
use crate::diagnose::DiagnoseParams;
use crate::kind::{Fitting, Trained};
use crate::labelled::Labelled;
use crate::random_forest::RandomForestParams;

/// What a candidate of such a kind is made of.
pub(crate) struct Fitted {
    pub(crate) model: Vec<u8>,
    pub(crate) parameters: Value,
    pub(crate) cross_validation: Value,
}

/// Fits a detector of labelled classes, or the second stage.
pub(crate) fn fit(
    kind: Trained,
    document: &Sections,
    labelled: &Labelled,
    Fitting { seed, threads }: Fitting,
    outcome: &mut Outcome,
) -> Result<Fitted, StepError> {
    outcome.count("labelled_rows", labelled.class.len());
    outcome.count("classes", labelled.classes.names.len());
    let models = &document.models;
    let fitted = match kind {
        Trained::Detector(DetectorKind::DecisionTree) => {
            let settings = models.decision_tree.clone().unwrap_or_default();
            let parameters = crate::parameters(&settings);
            let params = DecisionTreeParams::new(settings, labelled.classes.clone());
            detector(labelled, parameters, outcome, |rows| params.check_ref()?.fit(rows))
        }
        Trained::Detector(DetectorKind::RandomForest) => {
            let settings = models.random_forest.clone().unwrap_or_default();
            let parameters = crate::parameters(&settings);
            let classes = labelled.classes.clone();
            let params = RandomForestParams::new(settings, classes, seed, threads);
            detector(labelled, parameters, outcome, |rows| params.check_ref()?.fit(rows))
        }
        Trained::Detector(DetectorKind::GradientBoosting) => {
            let settings = models.gradient_boosting.clone().unwrap_or_default();
            let parameters = crate::parameters(&settings);
            detector(labelled, parameters, outcome, |rows| {
                settings.check()?;
                let data = (&rows.records, &rows.targets);
                boosted_trees::fit(&settings, data, labelled.classes.clone(), (seed, threads))
            })
        }
        Trained::Diagnosis => {
            let settings = models.diagnose.clone().unwrap_or_default();
            let parameters = crate::parameters(&settings);
            let fitted = DiagnoseParams::new(settings, seed, threads).fit(labelled);
            fitted.and_then(|fitted| {
                note(outcome, &fitted.figures.rows);
                let cross_validation = crate::parameters(&fitted.figures);
                let model = fitted.model.save().map_err(FitError::Model)?;
                Ok(Fitted { model, parameters, cross_validation })
            })
        }
        Trained::Detector(
            DetectorKind::Adaptive
            | DetectorKind::Autoencoder
            | DetectorKind::IsolationForest
            | DetectorKind::Mahalanobis
            | DetectorKind::OneClassSvm
            | DetectorKind::ZScore,
        ) => return Err(StepError::bug(format!("`{}` is not fitted on labels", kind.name()))),
    };
    let fitted = fitted.map_err(|error| error.of_model(kind.name()))?;
    outcome.details.insert("cross_validation".to_owned(), fitted.cross_validation.clone());
    Ok(fitted)
}

/// Fits a model that votes as a detector: some class must be normal, some not.
fn detector<M: ClassDetector>(
    labelled: &Labelled,
    parameters: Value,
    outcome: &mut Outcome,
    fit: impl Fn(&DatasetBase<Array2<f64>, Array1<usize>>) -> Result<M, FitError>,
) -> Result<Fitted, FitError> {
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
    let bytes = models::save(&model).map_err(FitError::Model)?;
    note(outcome, &figures);
    Ok(Fitted { model: bytes, parameters, cross_validation: crate::parameters(&figures) })
}

fn note(outcome: &mut Outcome, figures: &crate::cross_validation::CrossValidation) {
    outcome.metric("cross_validation.accuracy", figures.accuracy);
    outcome.metric("cross_validation.balanced_accuracy", figures.balanced_accuracy);
    outcome.metric("cross_validation.log_loss", figures.log_loss);
}
