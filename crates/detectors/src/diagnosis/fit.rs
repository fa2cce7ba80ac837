//! Fitting of the second stage, which predicts the kind of fault of an alarm.

use contract::Outcome;
use contract::score::Diagnosed;
use linfa::ParamGuard as _;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use ndarray::{Array1, Array2, Axis};
use serde::Serialize;

use super::settings::Diagnose as Settings;
use super::{Diagnosis, Thresholds, pattern};
use crate::class_trees::Calibration;
use crate::fit::cross_validation::{CrossValidation, HeldOut, hold_out};
use crate::fit::labelled::Labelled;
use crate::fit::{self, ClassesJob, FitError, FitOptions, FittedClasses, supervised};
use crate::random_forest::fit::{ForestOptions, RandomForestParams};
use crate::random_forest::settings::RandomForest;
use crate::ranges::Ranges as _;
use crate::{ClassTrees, Scaler, Scaling};

/// Number of normal rows from which only they define normal; with fewer, all rows do.
const FEWEST_NORMAL_ROWS: usize = 32;

/// Fits the second stage that a document sets.
pub fn fit(job: &ClassesJob<'_>, outcome: &mut Outcome) -> Result<FittedClasses, FitError> {
    let settings = job.models.diagnose.clone().unwrap_or_default();
    let parameters = fit::parameters(&settings);
    let fitted = DiagnoseParams::new(settings, job.options).fit(job.labelled)?;
    supervised::note(outcome, &fitted.figures.rows);
    let cross_validation = fit::parameters(&fitted.figures);
    let model = fitted.model.save().map_err(FitError::Model)?;
    Ok(FittedClasses { model, parameters, cross_validation })
}

/// A fitted second stage and its predictions for left-out runs.
#[derive(Debug)]
pub struct Fitted {
    /// The model.
    pub model: Diagnosis,
    /// Its metrics.
    pub figures: Figures,
}

/// Metrics of a second stage on scenarios it was not fitted on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Over all rows; `unknown` is also a prediction.
    #[serde(flatten)]
    pub rows: CrossValidation,
    /// One item per run, in the order of their first rows.
    pub runs: Vec<RunFigures>,
}

/// Prediction for a run that was left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFigures {
    /// Its name.
    pub run: String,
    /// Its kind.
    pub kind: String,
    /// Whether other runs are of this kind; otherwise `unknown` is the correct prediction.
    pub known: bool,
    /// Its rows.
    pub rows: usize,
    /// The most frequent prediction for its rows.
    pub called: String,
    /// Share of its rows with a correct prediction: the kind, or `unknown` if the kind is not
    /// known.
    pub right: f64,
    /// Mean likeness to the most likely kind.
    pub likeness: f64,
}

/// Parameters of the second stage.
#[derive(Debug, Clone, PartialEq)]
pub struct DiagnoseParams {
    settings: Settings,
    options: FitOptions,
}

impl DiagnoseParams {
    /// Takes the document's parameters; the model does not depend on the number of threads.
    pub fn new(settings: Settings, options: FitOptions) -> Self {
        Self { settings, options }
    }

    /// Fits the kinds on labelled rows; normal rows define normal.
    pub fn fit(&self, labelled: &Labelled) -> Result<Fitted, FitError> {
        self.settings.check()?;
        let Settings { min_probability, min_likeness, likeness_weight, .. } = self.settings;
        let thresholds = Thresholds { min_probability, min_likeness, likeness_weight };
        let (normal, faults) = (labelled.only(true), labelled.only(false));
        let found = faults.classes.names.len();
        if found < 2 {
            return Err(FitError::Classes { found });
        }
        let usual = if normal.class.len() < FEWEST_NORMAL_ROWS { labelled } else { &normal };
        let scaler = Scaler::fit(usual.values.view(), Scaling::Robust);
        let fit = |rows: &DatasetBase<Array2<f64>, Array1<usize>>| self.forest(&faults, rows);
        let forest = fit(&faults.all())?;
        let mut held = hold_out(&faults, fit)?;
        let calibration = held.calibrate(&faults);
        let make = |forest: ClassTrees, rows: &[usize]| {
            let forest = forest.calibrated(calibration)?;
            Diagnosis::new(forest, scaler.clone(), patterns(&faults, &scaler, rows), thresholds)
        };
        let figures = figures(&faults, &mut held, make)?;
        let all: Vec<usize> = (0..faults.class.len()).collect();
        let model = make(forest, &all).map_err(FitError::Model)?;
        Ok(Fitted { model, figures })
    }

    fn forest(
        &self,
        faults: &Labelled,
        rows: &DatasetBase<Array2<f64>, Array1<usize>>,
    ) -> Result<ClassTrees, FitError> {
        let settings: RandomForest = self.settings.random_forest.clone();
        let classes = faults.classes.clone();
        let options = ForestOptions { classes, fit: self.options, rows_of_a_tree: None };
        RandomForestParams::new(settings, options).check()?.fit(rows)
    }
}

/// Predicts the left-out runs with the complete stage, including its patterns.
fn figures(
    faults: &Labelled,
    held: &mut HeldOut<ClassTrees>,
    make: impl Fn(ClassTrees, &[usize]) -> Result<Diagnosis, contract::StepError>,
) -> Result<Figures, FitError> {
    let mut said: Vec<Option<Diagnosed>> = vec![None; faults.class.len()];
    for (number, fold) in held.folds.iter().enumerate() {
        let Some(forest) = &fold.model else { continue };
        let model = make(forest.clone(), &fold.rest).map_err(FitError::Model)?;
        for held in held.rows.iter_mut().filter(|held| held.fold == number) {
            let row = faults.values.row(held.row).to_vec();
            held.shares = model.probabilities(&row).into_iter().map(|kind| kind.0).collect();
            said[held.row] = Some(model.diagnose(&row));
        }
    }
    let called = |row: usize| said[row].as_ref().map_or("", |said| &said.kind).to_owned();
    // The shares are probabilities now.
    let rows = held.figures(faults, Calibration::NONE, |held| called(held.row));
    Ok(Figures { rows, runs: runs(faults, held, &said) })
}

/// Returns the mean pattern of each kind over some rows; `None` for a kind without rows.
fn patterns(faults: &Labelled, scaler: &Scaler, rows: &[usize]) -> Vec<f64> {
    let kinds = faults.classes.names.len();
    let mut sums = Array2::<f64>::zeros((kinds, faults.values.ncols()));
    let mut counts = vec![0.0_f64; kinds];
    for row in rows {
        let kind = faults.class[*row];
        counts[kind] += 1.0;
        let distances = pattern(scaler, &faults.values.row(*row).to_vec());
        sums.row_mut(kind).iter_mut().zip(distances).for_each(|(sum, distance)| *sum += distance);
    }
    for (mut sums, count) in sums.axis_iter_mut(Axis(0)).zip(counts) {
        sums.mapv_inplace(|sum| sum / count.max(1.0));
    }
    sums.into_iter().collect()
}

fn runs(
    faults: &Labelled,
    held: &HeldOut<ClassTrees>,
    said: &[Option<Diagnosed>],
) -> Vec<RunFigures> {
    let mut order: Vec<&String> = Vec::new();
    for held in &held.rows {
        let run = &faults.runs[held.row];
        if !order.contains(&run) {
            order.push(run);
        }
    }
    let of_run = |run: &String| {
        let rows: Vec<_> = held.rows.iter().filter(|held| faults.runs[held.row] == *run).collect();
        let first = rows.first()?;
        let kind = faults.classes.names[faults.class[first.row]].clone();
        let right = if first.known { kind.as_str() } else { crate::diagnosis::UNKNOWN };
        let said: Vec<&Diagnosed> =
            rows.iter().filter_map(|held| said[held.row].as_ref()).collect();
        let share = |name: &str| {
            said.iter().filter(|said| said.kind == name).count() as f64 / said.len().max(1) as f64
        };
        let mut names: Vec<&str> = said.iter().map(|said| said.kind.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let most = names.into_iter().reduce(|a, b| if share(b) > share(a) { b } else { a });
        Some(RunFigures {
            run: run.clone(),
            known: first.known,
            rows: rows.len(),
            called: most.unwrap_or_default().to_owned(),
            right: share(right),
            likeness: said.iter().map(|said| said.likeness).sum::<f64>() / said.len().max(1) as f64,
            kind,
        })
    };
    order.into_iter().filter_map(of_run).collect()
}
