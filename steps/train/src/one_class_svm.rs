//! Fitting a one-class support vector machine: exactly, or on a kernel of low rank for many rows.

use document::models::OneClassSvm as Settings;
use linfa::ParamGuard;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use models::Scaler;
use models::one_class_svm::OneClassSvm;
use models::scaler::single;
use ndarray::Array2;

use crate::smo::{self, Problem};
use crate::{FitError, nystroem, rows};

/// Checked parameters of the one-class support vector machine.
#[derive(Debug, Clone, PartialEq)]
pub struct OneClassSvmValidParams {
    settings: Settings,
    seed: u64,
    threads: usize,
}

/// Parameters of the one-class support vector machine.
#[derive(Debug, Clone, PartialEq)]
pub struct OneClassSvmParams(OneClassSvmValidParams);

impl OneClassSvmParams {
    /// Takes the document's parameters; the seed picks landmarks where the kernel is approximated,
    /// the machine does not depend on the number of threads.
    pub fn new(settings: Settings, seed: u64, threads: usize) -> Self {
        Self(OneClassSvmValidParams { settings, seed, threads })
    }
}

impl ParamGuard for OneClassSvmParams {
    type Checked = OneClassSvmValidParams;
    type Error = FitError;

    fn check_ref(&self) -> Result<&Self::Checked, FitError> {
        let Settings { nu, gamma, tolerance, cache_mib, max_exact_rows, .. } = self.0.settings;
        if !(nu > 0.0 && nu <= 1.0) {
            return Err(FitError::parameter("nu", nu, "above 0 and at most 1"));
        }
        if let Some(gamma) = gamma.filter(|gamma| !(*gamma > 0.0 && *gamma <= 1e6)) {
            return Err(FitError::parameter("gamma", gamma, "above 0 and at most 1e6"));
        }
        if !(1e-12..1.0).contains(&tolerance) {
            return Err(FitError::parameter("tolerance", tolerance, "from 1e-12 to below 1"));
        }
        if cache_mib == 0 {
            return Err(FitError::parameter("cache_mib", cache_mib, "1 or more"));
        }
        if max_exact_rows < 2 {
            return Err(FitError::parameter("max_exact_rows", max_exact_rows, "2 or more"));
        }
        Ok(&self.0)
    }

    fn check(self) -> Result<Self::Checked, FitError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// A fitted machine and how it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedSvm {
    /// The machine.
    pub model: OneClassSvm,
    /// Steps of the solver.
    pub iterations: usize,
    /// Says that the solver met its tolerance; else it ran out of iterations.
    pub converged: bool,
    /// Landmarks that stand in for the rows, if the kernel was approximated.
    pub landmarks: Option<usize>,
}

impl<T> Fit<Array2<f64>, T, FitError> for OneClassSvmValidParams {
    type Object = FittedSvm;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<FittedSvm, FitError> {
        let records = &dataset.records;
        rows::check(records, 2)?;
        let columns = records.ncols();
        let scaler = Scaler::fit(records.view(), rows::scaling(self.settings.scaling));
        let scaled: Vec<f32> = records
            .indexed_iter()
            .map(|((_, column), value)| single(scaler.scale(column, *value)))
            .collect();
        let gamma = self.settings.gamma.unwrap_or(1.0 / columns as f64);
        let problem = Problem {
            rows: &scaled,
            columns,
            gamma: single(gamma),
            nu: self.settings.nu,
            tolerance: self.settings.tolerance,
            cache_bytes: self.settings.cache_mib as usize * 1024 * 1024,
            threads: self.threads.max(1),
        };
        if records.nrows() > self.settings.max_exact_rows as usize {
            let found = nystroem::solve(problem, self.seed)?;
            let landmarks = found.coefficients.len();
            let model =
                OneClassSvm::new(scaler, &found.landmarks, found.coefficients, gamma, found.rho);
            return Ok(FittedSvm {
                model: model.map_err(FitError::Model)?,
                iterations: found.steps,
                converged: true,
                landmarks: Some(landmarks),
            });
        }
        let found = smo::solve(problem);
        let (mut vectors, mut coefficients) = (Vec::new(), Vec::new());
        for (row, multiplier) in scaled.chunks_exact(columns).zip(&found.multipliers) {
            if *multiplier > 0.0 {
                vectors.extend_from_slice(row);
                coefficients.push(*multiplier);
            }
        }
        let model = OneClassSvm::new(scaler, &vectors, coefficients, gamma, found.rho);
        Ok(FittedSvm {
            model: model.map_err(FitError::Model)?,
            iterations: found.iterations,
            converged: found.converged,
            landmarks: None,
        })
    }
}
