//! Fitting for `task: classify`: class models, their predictions for left-out entities, and the
//! resulting limits.

mod fitter;
mod held_out;
mod metrics;
mod rows;

use contract::bundle::{CandidateManifest, FileRecord};
use contract::classify::ClassCandidate;
use contract::steps::TrainArgs;
use contract::{Outcome, StepError, artifact};
use detectors::fit::{FitError, FitOptions, parameters};
use document::classify::Classify;
use document::sections::Train as Sections;
use frames::{Dataset, FeatureTable};

use self::fitter::Fitter;
use self::held_out::LeaveOut;
use self::metrics::Chosen;
use self::rows::ClassRows;
use crate::MODEL_FILE;

/// Fits the class model that `--model` names and writes its candidate folder.
pub(crate) fn run(
    args: &TrainArgs,
    document: &Sections,
    classify: &Classify,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let fitter = Fitter::of(&classify.models, &args.model)?;
    let table = FeatureTable::read(&args.dataset.join(Dataset::FILES[0]))?;
    outcome.count("rows", table.rows());
    outcome.count("features", table.table.columns.len());
    crate::warn_of_empty_columns(&table, outcome);
    let data = ClassRows::of(&table, classify, outcome)?;
    outcome.count("entities", data.units.len());
    outcome.count("classes", data.classes.len());
    warn_of_single_entities(&data, outcome);
    let options = crate::options(args);
    let (model, candidate) = fit(&data, &fitter, document, classify, options)
        .map_err(|error| error.of_model(&args.model))?;
    let figures = &candidate.figures;
    outcome.metric("held_out.balanced_accuracy", figures.balanced_accuracy.mean);
    outcome.metric("held_out.row_balanced_accuracy", figures.row_balanced_accuracy.mean);
    outcome.metric("held_out.log_loss", figures.log_loss);
    outcome.metric("held_out.wrong_ratio", figures.wrong_ratio);
    outcome.metric("held_out.unknown_ratio", figures.unknown_ratio);
    outcome.count("model_bytes", model.len());
    outcome.detail("classify", &candidate)?;
    let manifest = CandidateManifest {
        format: CandidateManifest::FORMAT,
        kind: args.model.clone(),
        seed: args.seed,
        parameters: fitter.parameters(),
        contract_sha256: table.contract.sha256()?,
        rows: data.class.len() as u64,
        trials: Vec::new(),
        training: None,
        model: FileRecord { file: MODEL_FILE.to_owned(), sha256: artifact::sha256(&model) },
        cross_validation: Some(parameters(&candidate)),
    };
    crate::write(args, &manifest, &model, None)
}

fn warn_of_single_entities(data: &ClassRows, outcome: &mut Outcome) {
    let units = data.units_of_classes();
    let single = data.classes.iter().zip(units).filter(|(_, units)| *units == 1);
    let single: Vec<&str> = single.map(|(class, _)| class.as_str()).collect();
    if !single.is_empty() {
        outcome.warn(format!(
            "class `{}` has one entity: its accuracy cannot be measured, since it cannot be left out",
            single.join("`, `")
        ));
    }
}

/// Fits on all entities, and repeatedly on some of them to choose limits and measure metrics.
fn fit(
    data: &ClassRows,
    fitter: &Fitter,
    document: &Sections,
    classify: &Classify,
    options: FitOptions,
) -> Result<(Vec<u8>, ClassCandidate), FitError> {
    let model = fitter.fit(data, &data.all(), options)?;
    let leave_out = LeaveOut { split: &classify.split, options };
    let mut repetitions = held_out::repeat(data, fitter, leave_out)?;
    let rule = held_out::rule(classify, document.step);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.max(1)).build()?;
    let (calibration, log_loss, bounds) = pool.install(|| {
        let (calibration, log_loss) = held_out::calibrate(&repetitions, data.classes.len());
        held_out::apply(calibration, &mut repetitions);
        (calibration, log_loss, held_out::choose_bounds(&repetitions, classify, &rule))
    });
    let chosen = Chosen { log_loss, rule, bounds };
    let figures = metrics::sum_up(data, fitter, leave_out, &repetitions, &chosen)?;
    let model = model.calibrated(calibration).map_err(FitError::Model)?;
    let bytes = model.save().map_err(FitError::Model)?;
    Ok((bytes, ClassCandidate { classes: data.classes.clone(), bounds, figures }))
}
