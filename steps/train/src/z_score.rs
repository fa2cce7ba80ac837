//! Fitting the simplest baseline.

use document::models::ZScore as Settings;
use document::ranges::{OutOfRange, Ranges};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use models::Scaler;
use models::z_score::ZScore;
use ndarray::Array2;

use crate::params::Unchecked;
use crate::{FitError, rows};

/// Checked parameters of the z-score.
#[derive(Debug, Clone, PartialEq)]
pub struct ZScoreValidParams {
    settings: Settings,
}

/// Parameters of the z-score.
pub type ZScoreParams = Unchecked<ZScoreValidParams>;

impl ZScoreParams {
    /// Takes the document's parameters.
    pub fn new(settings: Settings) -> Self {
        Unchecked(ZScoreValidParams { settings })
    }
}

impl Ranges for ZScoreValidParams {
    fn check(&self) -> Result<(), OutOfRange> {
        self.settings.check()
    }
}

impl<T> Fit<Array2<f64>, T, FitError> for ZScoreValidParams {
    type Object = ZScore;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<ZScore, FitError> {
        rows::check(&dataset.records, 2)?;
        let scaler = Scaler::fit(dataset.records.view(), models::Scaling::ZScore);
        Ok(ZScore::new(scaler, self.settings.threshold))
    }
}
