//! `train`: fits one model kind to the training part of a data set.
//!
//! How a kind is fitted is in its folder of the crate `detectors` ([`detectors::fit`]). This crate
//! reads the data set, searches for parameters, fits, and writes the candidate.
//!
//! The same rows, parameters and seed give the same bytes: at any number of threads, because
//! threads share work by the row, the tree or the trial and their results are combined in that
//! order; in any process, because no iteration uses the order of a hash map; in any build, because
//! the compiler neither reorders nor contracts arithmetic; on any processor, because sums and
//! products are our own loops and do not choose instructions at run time. Two kinds of fitting are
//! reproducible to the last bit only on one machine: first, those that draw normally distributed
//! numbers (`autoencoder.noise`, `isolation_forest.extension`) or compute powers (calibration,
//! `gradient_boosting`), because logarithms, cosines and powers come from the system's mathematics
//! library; second, `adaptive`, because it uses `ndarray`'s products. `tests/golden.rs` compares
//! all others with hashes.

mod classify;
mod files;
mod kind;
mod labelled;
pub mod search;

use contract::bundle::{CandidateManifest, FileRecord};
use contract::steps::TrainArgs;
use contract::trial::Trial;
use contract::{DetectorKind, FeatureContract, Outcome, StepError, artifact};
use detectors::fit::{
    ClassesJob, FitClasses, FitError, FitOptions, FitRows, FitSequence, Fitted, Fitter, Job,
    parameters, warn_of_empty,
};
use detectors::sequence::TRAINING_FILE;
use detectors::settings::Models;
use document::sections::Train as Sections;
use frames::{Dataset, FeatureTable};
use linfa::dataset::DatasetBase;
use models::matrix;
use models::measure::normal_rows;
use serde_json::Value;

use crate::files::Files;
use crate::kind::Trained;
use crate::search::{Hunt, Searched};

/// Name of the model's file in a candidate folder.
const MODEL_FILE: &str = "model.safetensors";

/// Fits the model that `--model` names and writes its candidate folder.
pub fn run(args: &TrainArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = Sections::read(&args.document)?;
    if let Some(classify) = document.classification() {
        return classify::run(args, &document, classify, outcome);
    }
    let trained = kind::known(&document.models, &args.model)?;
    let kind = match trained {
        Trained::Detector(kind) => kind,
        Trained::Diagnosis => {
            return run_supervised(
                args,
                &document,
                trained.name(),
                detectors::diagnosis::fit::fit,
                outcome,
            );
        }
    };
    match Fitter::of(kind) {
        Fitter::Rows { fit, .. } => run_rows(args, &document, kind, fit, outcome),
        Fitter::Sequence(fit) => run_sequence(args, &document, kind, fit, outcome),
        Fitter::Classes(fit) => run_supervised(args, &document, kind.name(), fit, outcome),
    }
}

/// Fits a model on normal rows, with the parameters that a search finds if the document sets one,
/// and writes its candidate folder.
fn run_rows(
    args: &TrainArgs,
    document: &Sections,
    kind: DetectorKind,
    fit: FitRows,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let [train, validation, _] = Dataset::FILES.map(|file| args.dataset.join(file));
    let train = FeatureTable::read(&train)?;
    let validation = FeatureTable::read(&validation)?;
    outcome.count("rows", train.rows());
    outcome.count("features", train.table.columns.len());
    warn_of_empty_columns(&train, outcome);
    let normal = normal_rows(&validation, &document.labels.normal);
    let job = Job {
        models: &document.models,
        options: options(args),
        validation: &|| matrix(&validation.select(&normal)),
    };
    let of_model = |error: FitError| error.of_model(kind.name());
    let mut trials = Vec::new();
    let mut models = document.models.clone();
    if let Some(search) = document.models.search(kind) {
        let hunt = Hunt {
            kind,
            parameters: fixed_parameters(&document.models, kind),
            search,
            seed: args.seed,
            threads: job.options.threads,
            train: &train,
            validation: &validation,
            normal: &document.labels.normal,
        };
        let searched = searched(&hunt, &job, fit, outcome)?;
        models = with_parameters(kind, &searched.parameters).map_err(of_model)?;
        trials = searched.trials;
        // The bytes of a candidate must depend only on its inputs.
        trials.iter_mut().for_each(|trial| trial.seconds = None);
    }
    let rows = DatasetBase::new(matrix(&train), ());
    let fitted = fit(&Job { models: &models, ..job }, &rows, outcome).map_err(of_model)?;
    write_fitted(args, &train.contract, train.rows(), Fitted { trials, ..fitted }, outcome)
}

/// Fits a model on the rows of each entity in the order of time, which it reads part by part, and
/// writes its candidate folder.
fn run_sequence(
    args: &TrainArgs,
    document: &Sections,
    kind: DetectorKind,
    fit: FitSequence,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let [train, validation, _] = Dataset::FILES.map(|file| args.dataset.join(file));
    let (contract, rows) = FeatureTable::describe(&train)?;
    outcome.count("rows", rows);
    outcome.count("features", contract.columns.len());
    let files = Files {
        train: &train,
        validation: &validation,
        normal: &document.labels.normal,
        contract: &contract,
    };
    let threads = usize::from(args.common.threads).max(1);
    let of_model = |error: FitError| error.of_model(kind.name());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| of_model(error.into()))?;
    let fitted =
        pool.install(|| fit(&document.models, &files, &contract, outcome)).map_err(of_model)?;
    write_fitted(args, &contract, rows, fitted, outcome)
}

/// Writes the candidate folder of a model that was fitted on a number of rows.
fn write_fitted(
    args: &TrainArgs,
    contract: &FeatureContract,
    rows: usize,
    fitted: Fitted,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let Fitted { model, parameters, training, trials } = fitted;
    let bytes = model.save()?;
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
            file: TRAINING_FILE.to_owned(),
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
    document: &Sections,
    kind: &'static str,
    fit: FitClasses,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let (table, labelled) = labelled::read(&args.dataset, &document.labels.normal)?;
    outcome.count("rows", table.rows());
    outcome.count("features", table.table.columns.len());
    warn_of_empty_columns(&table, outcome);
    outcome.count("labelled_rows", labelled.class.len());
    outcome.count("classes", labelled.classes.names.len());
    let job = ClassesJob { models: &document.models, options: options(args), labelled: &labelled };
    let fitted = fit(&job, outcome).map_err(|error| error.of_model(kind))?;
    outcome.details.insert("cross_validation".to_owned(), fitted.cross_validation.clone());
    outcome.count("model_bytes", fitted.model.len());
    let sha256 = artifact::sha256(&fitted.model);
    let manifest = CandidateManifest {
        format: CandidateManifest::FORMAT,
        kind: kind.to_owned(),
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

fn options(args: &TrainArgs) -> FitOptions {
    FitOptions { seed: args.seed, threads: usize::from(args.common.threads) }
}

/// Returns the parameters of a kind that the document sets, without its search.
fn fixed_parameters(models: &Models, kind: DetectorKind) -> Value {
    let mut own = parameters(models)[kind.name()].take();
    if let Some(fields) = own.as_object_mut() {
        fields.remove("search");
    }
    own
}

/// Searches for a kind's parameters and records the trials.
fn searched(
    hunt: &Hunt<'_>,
    job: &Job<'_>,
    fit: FitRows,
    outcome: &mut Outcome,
) -> Result<Searched, StepError> {
    let searched = hunt.run(|parameters, rows| {
        let models = with_parameters(hunt.kind, parameters)?;
        let rows = DatasetBase::new(matrix(rows), ());
        let options = FitOptions { threads: 1, ..job.options };
        let job = Job { models: &models, options, ..*job };
        Ok(fit(&job, &rows, &mut Outcome::start("trial"))?.model)
    })?;
    outcome.count("trials", searched.trials.len());
    if let Some(kept) = searched.trials.iter().find(|trial| trial.kept) {
        outcome.metric("search_value", kept.value.unwrap_or(f64::NAN));
    }
    outcome.detail(Trial::DETAIL, &searched.trials)?;
    Ok(searched)
}

/// Returns models with a single kind, which has the drawn parameters.
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
            artifact::write_file(&folder.join(TRAINING_FILE), bytes)?;
        }
        if !manifest.trials.is_empty() {
            contract::write_json(&folder.join(Trial::FILE), &manifest.trials)?;
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
