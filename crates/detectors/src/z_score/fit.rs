//! Fitting the simplest baseline.

use contract::Outcome;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::Array2;
use rand::Rng as _;

use super::ZScore;
use super::settings::ZScore as Settings;
use crate::Scaler;
use crate::fit::space::Space;
use crate::fit::{self, FitError, Fitted, Fitter, Job, Params, ValidParams, rows};

/// Parameters of the z-score.
pub type ZScoreParams = Params<Settings>;

/// How the kind is fitted.
pub(crate) const FITTER: Fitter = Fitter::Rows { fit, draw };

/// Fits the model that a document sets.
fn fit(
    job: &Job<'_>,
    rows: &DatasetBase<Array2<f64>, ()>,
    _outcome: &mut Outcome,
) -> Result<Fitted, FitError> {
    let settings = job.models.z_score.clone().unwrap_or_default();
    let parameters = fit::parameters(&settings);
    Ok(Fitted::rows(ZScoreParams::from(settings).fit(rows)?, parameters))
}

/// Draws the parameters that a search tries.
fn draw(space: &mut Space<'_>) {
    let threshold = space.random.random_range(0.0..6.0);
    space.set("threshold", threshold);
}

impl<T> Fit<Array2<f64>, T, FitError> for ValidParams<Settings> {
    type Object = ZScore;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<ZScore, FitError> {
        rows::check(&dataset.records, 2)?;
        let scaler = Scaler::fit(dataset.records.view(), crate::Scaling::ZScore);
        Ok(ZScore::new(scaler, self.settings.threshold))
    }
}
