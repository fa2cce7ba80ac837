//! `train`: fits one model kind to the training part of a data set.
//!
//! What it takes to make a model is here (candle, linfa's traits, solvers); what it takes to use
//! one is in `models`. Every fitter follows linfa: parameters are checked by
//! [`linfa::ParamGuard`], checked parameters implement [`linfa::traits::Fit`].
//!
//! The same rows, parameters and seed give the same bytes: at any number of threads, because
//! threads share work by the row, the tree or the trial and their results are combined in that
//! order; in any process, because no iteration uses the order of a hash map; in any build, because
//! the compiler neither reorders nor contracts arithmetic; on any processor, because sums and
//! products are our own loops and do not choose instructions at run time. Two kinds of fitting are
//! right to the last bit on one machine only: what draws normal numbers (`autoencoder.noise`,
//! `isolation_forest.extension`) or takes powers (calibration, `gradient_boosting`), for
//! logarithms, cosines and powers come from the system's mathematics library; and `adaptive`, whose
//! products are `ndarray`'s. `tests/golden.rs` compares all others with hashes.

pub mod adaptive;
pub mod autoencoder;
mod bins;
mod boosted_trees;
mod class_tree;
mod classify;
mod columns;
pub mod cross_validation;
pub mod decision_tree;
pub mod diagnose;
pub mod error;
pub mod isolation_forest;
mod kind;
pub mod labelled;
pub mod mahalanobis;
mod network;
mod nystroem;
pub mod one_class_svm;
pub mod params;
pub mod random_forest;
mod rows;
pub mod search;
mod smo;
mod supervised;
pub mod z_score;

use std::path::Path;

use contract::bundle::{CandidateManifest, FileRecord};
use contract::detector::Shape;
use contract::steps::TrainArgs;
use contract::{DetectorKind, FeatureContract, Outcome, StepError, artifact};
use document::models::Models;
use document::search::Search;
use document::sections::Train as Sections;
use frames::{Dataset, FeatureTable};
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::adaptive::Training;
use models::measure::normal_rows;
use models::{Detector, Model, matrix};
use ndarray::Array2;
use serde_json::Value;

pub use error::FitError;
pub use params::Unchecked;

use crate::kind::{Fitting, Trained};
use crate::labelled::Labelled;
use crate::search::{Hunt, Searched};

/// Name of the model's file in a candidate folder.
const MODEL_FILE: &str = "model.safetensors";

/// Fits the model that `--model` names and writes its candidate folder.
pub fn run(args: &TrainArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = Sections::read(&args.document)?;
    if let Some(classify) = document.classification() {
        return classify::run(args, &document, classify, outcome);
    }
    let kind = match kind::known(&document.models, &args.model)? {
        Trained::Detector(kind) if kind.shape() != Shape::Classes => kind,
        supervised => return run_supervised(args, supervised, &document, outcome),
    };
    let [train, validation, _] = Dataset::FILES.map(|file| args.dataset.join(file));
    if kind == DetectorKind::Adaptive {
        return run_adaptive(args, &document, [&train, &validation], outcome);
    }
    let train = FeatureTable::read(&train)?;
    let validation = FeatureTable::read(&validation)?;
    outcome.count("rows", train.rows());
    outcome.count("features", train.table.columns.len());
    warn_of_empty_columns(&train, outcome);
    let normal = normal_rows(&validation, &document.labels.normal);
    let mut models = document.models.clone();
    let mut trials = Vec::new();
    if let Some(search) = document.models.search(kind) {
        let parts = (&train, &validation, normal.as_slice());
        let searched = searched(args, &document, (kind, search), parts, outcome)?;
        models =
            with_parameters(kind, &searched.parameters).map_err(|e| e.of_model(kind.name()))?;
        trials = searched.trials;
    }
    let job = Job {
        kind,
        models: &models,
        seed: args.seed,
        threads: usize::from(args.common.threads),
        validation: &validation,
        normal: &normal,
    };
    let fitted = job.fit(&train, outcome).map_err(|error| error.of_model(kind.name()))?;
    let trials = trials.iter().map(self::parameters).collect();
    write_fitted(args, (&train.contract, train.rows()), (fitted, trials), outcome)
}

/// Fits the adaptive model, which reads its rows part by part, and writes its candidate folder.
fn run_adaptive(
    args: &TrainArgs,
    document: &Sections,
    [train, validation]: [&Path; 2],
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let of_model = |error: FitError| error.of_model(models::adaptive::KIND);
    let settings = document.models.adaptive.clone().unwrap_or_default();
    let (contract, rows) = FeatureTable::describe(train)?;
    outcome.count("rows", rows);
    outcome.count("features", contract.columns.len());
    let normal = &document.labels.normal;
    let files = adaptive::Files { train, validation, normal, step: contract.step };
    let threads = usize::from(args.common.threads).max(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| of_model(error.into()))?;
    let fitted = pool.install(|| adaptive::fit_rows(&settings, &files)).map_err(of_model)?;
    let with_validation: usize = fitted.training.scores.values().map(Vec::len).sum();
    outcome.count("rows_with_validation", with_validation);
    let names = contract.names().into_iter().zip(&fitted.model.following().scale);
    let empty: Vec<&str> =
        names.filter(|(_, scale)| **scale <= 0.0).map(|(name, _)| name).collect();
    warn_of_empty(&empty, outcome);
    let fitted = Fitted {
        model: Model::Sequence(Box::new(fitted.model)),
        parameters: parameters(&settings),
        training: Some(fitted.training),
    };
    write_fitted(args, (&contract, rows), (fitted, Vec::new()), outcome)
}

/// Writes the candidate folder of a model, with its number of fitted rows, and the trials of a
/// search.
fn write_fitted(
    args: &TrainArgs,
    (contract, rows): (&FeatureContract, usize),
    (fitted, trials): (Fitted, Vec<Value>),
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let Fitted { model, parameters, training } = fitted;
    let bytes = model.save()?;
    let training = training.map(|training| training.to_bytes()).transpose()?;
    outcome.count("model_bytes", bytes.len());
    let manifest = CandidateManifest {
        format: CandidateManifest::FORMAT,
        kind: model.kind().to_owned(),
        seed: args.seed,
        parameters,
        contract_sha256: contract.sha256()?,
        rows: rows as u64,
        trials,
        training: training.as_ref().map(|bytes| FileRecord {
            file: Training::FILE.to_owned(),
            sha256: artifact::sha256(bytes),
        }),
        model: FileRecord { file: MODEL_FILE.to_owned(), sha256: artifact::sha256(&bytes) },
        cross_validation: None,
    };
    write(args, &manifest, &bytes, training.as_deref())
}

/// Fits a model of labelled classes and writes its candidate folder.
fn run_supervised(
    args: &TrainArgs,
    kind: Trained,
    document: &Sections,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let (table, labelled) = Labelled::read(&args.dataset, &document.labels.normal)?;
    outcome.count("rows", table.rows());
    outcome.count("features", table.table.columns.len());
    warn_of_empty_columns(&table, outcome);
    let fitting = Fitting { seed: args.seed, threads: usize::from(args.common.threads) };
    let fitted = supervised::fit(kind, document, &labelled, fitting, outcome)?;
    outcome.count("model_bytes", fitted.model.len());
    let sha256 = artifact::sha256(&fitted.model);
    let manifest = CandidateManifest {
        format: CandidateManifest::FORMAT,
        kind: kind.name().to_owned(),
        seed: args.seed,
        parameters: fitted.parameters,
        contract_sha256: table.contract.sha256()?,
        rows: labelled.class.len() as u64,
        trials: Vec::new(),
        training: None,
        model: FileRecord { file: MODEL_FILE.to_owned(), sha256 },
        cross_validation: Some(fitted.cross_validation),
    };
    write(args, &manifest, &fitted.model, None)
}

/// Searches for a kind's parameters and notes what was tried.
fn searched(
    args: &TrainArgs,
    document: &Sections,
    (kind, search): (DetectorKind, &Search),
    (train, validation, normal): (&FeatureTable, &FeatureTable, &[usize]),
    outcome: &mut Outcome,
) -> Result<Searched, StepError> {
    let mut own = parameters(&document.models)[kind.name()].take();
    if let Some(fields) = own.as_object_mut() {
        fields.remove("search");
    }
    let hunt = Hunt {
        kind,
        parameters: own,
        search,
        seed: args.seed,
        threads: usize::from(args.common.threads),
        train,
        validation,
        normal: &document.labels.normal,
    };
    let searched = hunt.run(|parameters, rows| {
        let models = with_parameters(kind, parameters)?;
        let models = &models;
        let job = Job { kind, models, seed: args.seed, threads: 1, validation, normal };
        Ok(job.fit(rows, &mut Outcome::start("trial"))?.model)
    })?;
    outcome.count("trials", searched.trials.len());
    if let Some(kept) = searched.trials.iter().find(|trial| trial.kept) {
        outcome.metric("search_value", kept.value.unwrap_or(f64::NAN));
    }
    let with_seconds = searched.trials.iter().map(|trial| {
        let mut fields = parameters(trial);
        fields["seconds"] = trial.seconds.into();
        fields
    });
    outcome.detail("trials", &with_seconds.collect::<Vec<Value>>())?;
    Ok(searched)
}

/// Returns models of which one kind is set, to parameters that were drawn.
fn with_parameters(kind: DetectorKind, parameters: &Value) -> Result<Models, FitError> {
    serde_json::from_value(serde_json::json!({ kind.name(): parameters }))
        .map_err(|e| FitError::Model(StepError::bug(format!("a trial cannot be read: {e}"))))
}

fn write(
    args: &TrainArgs,
    manifest: &CandidateManifest,
    model: &[u8],
    training: Option<&[u8]>,
) -> Result<(), StepError> {
    artifact::write_folder(&args.candidate, |folder| {
        artifact::write_file(&folder.join(MODEL_FILE), model)?;
        if let Some(bytes) = training {
            artifact::write_file(&folder.join(Training::FILE), bytes)?;
        }
        if !manifest.trials.is_empty() {
            contract::write_json(&folder.join(search::FILE), &manifest.trials)?;
        }
        contract::write_json(&folder.join(CandidateManifest::FILE), manifest)
    })
}

fn warn_of_empty_columns(train: &FeatureTable, outcome: &mut Outcome) {
    let columns = train.table.columns.iter();
    let empty: Vec<&str> = columns
        .filter(|column| train.rows() > 0 && column.values.iter().all(|value| !value.is_finite()))
        .map(|column| column.name.as_str())
        .collect();
    warn_of_empty(&empty, outcome);
}

fn warn_of_empty(empty: &[&str], outcome: &mut Outcome) {
    if !empty.is_empty() {
        outcome.warn(format!(
            "no training row has a value of `{}`: later values of it are ignored",
            empty.join("`, `")
        ));
    }
}

/// One model to fit.
struct Job<'a> {
    kind: DetectorKind,
    models: &'a Models,
    seed: u64,
    threads: usize,
    validation: &'a FeatureTable,
    /// Rows of the validation part that are known, or taken, to be normal.
    normal: &'a [usize],
}

/// A fitted model, its parameters with the names of the document, and the scores of its fitted
/// rows.
struct Fitted {
    model: Model,
    parameters: Value,
    training: Option<Training>,
}

impl Fitted {
    fn of(model: impl Detector + 'static, parameters: Value) -> Self {
        Self { model: Model::Rows(Box::new(model)), parameters, training: None }
    }
}

impl Job<'_> {
    fn fit(self, train: &FeatureTable, outcome: &mut Outcome) -> Result<Fitted, FitError> {
        let rows = DatasetBase::new(matrix(train), ());
        match self.kind {
            DetectorKind::Autoencoder => self.autoencoder(&rows, outcome),
            DetectorKind::IsolationForest => self.isolation_forest(&rows, outcome),
            DetectorKind::Mahalanobis => self.mahalanobis(&rows),
            DetectorKind::OneClassSvm => self.one_class_svm(&rows, outcome),
            DetectorKind::ZScore => self.z_score(&rows),
            DetectorKind::Adaptive => Err(FitError::Model(StepError::bug(
                "`adaptive` is fitted on rows that are read part by part",
            ))),
            DetectorKind::DecisionTree
            | DetectorKind::GradientBoosting
            | DetectorKind::RandomForest => Err(FitError::Model(StepError::bug(format!(
                "`{}` is fitted on labels",
                self.kind.name()
            )))),
        }
    }

    fn autoencoder(
        self,
        rows: &DatasetBase<Array2<f64>, ()>,
        outcome: &mut Outcome,
    ) -> Result<Fitted, FitError> {
        let settings = self.models.autoencoder.clone().unwrap_or_default();
        let parameters = parameters(&settings);
        let validation = Some(matrix(&self.validation.select(self.normal)));
        let params = autoencoder::AutoencoderParams::new(settings, self.seed, validation);
        let fitted = params.fit(rows)?;
        outcome.count("epochs", fitted.losses.len());
        // Epoch by epoch, for who looks at how it learned.
        let series = [("losses", &fitted.losses), ("validation_losses", &fitted.validation_losses)];
        for (name, values) in series {
            outcome.details.insert(name.to_owned(), values.clone().into());
        }
        if let Some(loss) = fitted.losses.last() {
            outcome.metric("loss", *loss);
        }
        if let Some(loss) = fitted.validation_losses.iter().copied().reduce(f64::min) {
            outcome.metric("validation_loss", loss);
        }
        Ok(Fitted::of(fitted.model, parameters))
    }

    fn isolation_forest(
        self,
        rows: &DatasetBase<Array2<f64>, ()>,
        outcome: &mut Outcome,
    ) -> Result<Fitted, FitError> {
        let settings = self.models.isolation_forest.clone().unwrap_or_default();
        outcome.count("trees", settings.trees as usize);
        let parameters = parameters(&settings);
        let params =
            isolation_forest::IsolationForestParams::new(settings, self.seed, self.threads);
        Ok(Fitted::of(params.fit(rows)?, parameters))
    }

    fn mahalanobis(self, rows: &DatasetBase<Array2<f64>, ()>) -> Result<Fitted, FitError> {
        let settings = self.models.mahalanobis.clone().unwrap_or_default();
        let parameters = parameters(&settings);
        Ok(Fitted::of(mahalanobis::MahalanobisParams::new(settings).fit(rows)?, parameters))
    }

    fn one_class_svm(
        self,
        rows: &DatasetBase<Array2<f64>, ()>,
        outcome: &mut Outcome,
    ) -> Result<Fitted, FitError> {
        let settings = self.models.one_class_svm.clone().unwrap_or_default();
        let parameters = parameters(&settings);
        let params = one_class_svm::OneClassSvmParams::new(settings, self.seed, self.threads);
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
        Ok(Fitted::of(fitted.model, parameters))
    }

    fn z_score(self, rows: &DatasetBase<Array2<f64>, ()>) -> Result<Fitted, FitError> {
        let settings = self.models.z_score.clone().unwrap_or_default();
        let parameters = parameters(&settings);
        Ok(Fitted::of(z_score::ZScoreParams::new(settings).fit(rows)?, parameters))
    }
}

/// Returns the parameters as the document names them.
fn parameters<S: serde::Serialize>(settings: &S) -> Value {
    serde_json::to_value(settings).unwrap_or(Value::Null)
}
