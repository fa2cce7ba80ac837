//! Fitting a one-class support vector machine: exactly, or on a kernel of low rank for many rows.

mod nystroem;
mod smo;

use contract::Outcome;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::Array2;

use self::smo::Problem;
use super::OneClassSvm;
use super::settings::OneClassSvm as Settings;
use crate::Scaler;
use crate::fit::space::Space;
use crate::fit::{self, FitError, FitOptions, Fitted, Fitter, Job, Params, ValidParams, rows};
use crate::scaler::single;

/// Parameters of the one-class support vector machine. The seed selects landmarks if the kernel is
/// approximated; the machine does not depend on the number of threads.
pub type OneClassSvmParams = Params<Settings, FitOptions>;

/// How the kind is fitted.
pub(crate) const FITTER: Fitter = Fitter::Rows { fit, draw };

/// Fits the model that a document sets.
fn fit(
    job: &Job<'_>,
    rows: &DatasetBase<Array2<f64>, ()>,
    outcome: &mut Outcome,
) -> Result<Fitted, FitError> {
    let settings = job.models.one_class_svm.clone().unwrap_or_default();
    let parameters = fit::parameters(&settings);
    let params = OneClassSvmParams::new(settings, job.options);
    let fitted = params.fit(rows)?;
    outcome.count("support_vectors", fitted.model.support_vectors());
    outcome.count("iterations", fitted.iterations);
    if let Some(landmarks) = fitted.landmarks {
        outcome.warn(format!(
            "more rows than `models.one_class_svm.max_exact_rows`: the kernel is approximated on {landmarks} landmark rows"
        ));
    }
    if !fitted.converged {
        outcome.warn("the solver ran out of iterations before it met its tolerance");
    }
    Ok(Fitted::rows(fitted.model, parameters))
}

/// Draws the parameters that a search tries.
fn draw(space: &mut Space<'_>) {
    let nu = space.logarithmic(5e-3, 0.2);
    space.set("nu", nu);
    let gamma = space.logarithmic(0.05, 5.0) / space.columns.max(1) as f64;
    space.set("gamma", gamma);
}

/// A fitted machine and the result of the solver.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedSvm {
    /// The machine.
    pub model: OneClassSvm,
    /// Steps of the solver.
    pub iterations: usize,
    /// Whether the solver reached its tolerance; otherwise it reached the maximum number of
    /// iterations.
    pub converged: bool,
    /// Number of landmark rows, if the kernel was approximated.
    pub landmarks: Option<usize>,
}

impl<T> Fit<Array2<f64>, T, FitError> for ValidParams<Settings, FitOptions> {
    type Object = FittedSvm;

    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<FittedSvm, FitError> {
        let records = &dataset.records;
        rows::check(records, 2)?;
        let columns = records.ncols();
        let scaler = Scaler::fit(records.view(), self.settings.scaling);
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
            threads: self.extra.threads.max(1),
        };
        if records.nrows() > self.settings.max_exact_rows as usize {
            let found = nystroem::solve(problem, self.extra.seed)?;
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
