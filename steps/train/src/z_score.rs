//! Fitting the plainest baseline.

use document::models::ZScore as Settings;
use linfa::ParamGuard;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use models::Scaler;
use models::z_score::ZScore;
use ndarray::Array2;

use crate::{FitError, rows};

/// Checked parameters of the z-score.
#[derive(Debug, Clone, PartialEq)]
pub struct ZScoreValidParams {
    settings: Settings,
}

/// Parameters of the z-score.
#[derive(Debug, Clone, PartialEq)]
pub struct ZScoreParams(ZScoreValidParams);

impl ZScoreParams {
    /// Takes the document's parameters.
    pub fn new(settings: Settings) -> Self {
        Self(ZScoreValidParams { settings })
    }
}

impl ParamGuard for ZScoreParams {
    type Checked = ZScoreValidParams;
    type Error = FitError;

    fn check_ref(&self) -> Result<&Self::Checked, FitError> {
        let limit = self.0.settings.limit;
        if !(limit.is_finite() && limit >= 0.0) {
            return Err(FitError::parameter("limit", limit, "0 or more"));
        }
        Ok(&self.0)
    }

    fn check(self) -> Result<Self::Checked, FitError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

impl<T> Fit<Array2<f64>, T, FitError> for ZScoreValidParams {
    type Object = ZScore;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<ZScore, FitError> {
        rows::check(&dataset.records, 2)?;
        let scaler = Scaler::fit(dataset.records.view(), models::Scaling::ZScore);
        Ok(ZScore::new(scaler, self.settings.limit))
    }
}
