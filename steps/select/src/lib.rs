//! Makes a bundle of the candidates: calibrates them on the validation part, sets thresholds and
//! the vote, and measures the bundle on the validation and test parts.
//!
//! Without labels there is one metric, the share of inliers: it measures how rarely the bundle
//! raises alarms on rows taken to be normal, not how accurate it is.

mod classify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::bundle::Provenance;
use contract::rules::BestBy;
use contract::steps::SelectArgs;
use contract::{Outcome, StepError, Timestamp, artifact};
use document::sections::Select as Sections;
use frames::{Dataset, FeatureTable};
use models::diagnosed::is_diagnosis;
use models::{
    Bundle, CalibrationRows, Candidate, Recipe, assemble, assemble_sampled, candidate, rank,
};

/// Runs the step.
pub fn run(args: &SelectArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = Sections::read(&args.document)?;
    if let Some(settings) = document.classification() {
        let folders = folders(args, &document)?;
        return classify::run(args, &folders, &document, settings, outcome);
    }
    let (dataset, every) = Dataset::read_sample(&args.dataset, Dataset::MOST_MEASURED_VALUES)?;
    let (mut candidates, second_stages) = read(args, &document)?;
    let threads = usize::from(args.common.threads);
    let normal = &document.labels.normal;
    let recipe = Recipe {
        pipeline: document.name.clone(),
        vote: document.vote.clone(),
        normal: normal.clone(),
        provenance: provenance(&args.dataset, artifact::sha256_path(&args.dataset)?)?,
        threads,
    };
    outcome.count("candidates", candidates.len());
    if let Some(by) = document.vote.best_by {
        candidates = best(candidates, by, &dataset.validation, &recipe, outcome)?;
    }

    if every > 1 {
        outcome.detail("measured_entities", &format!("one of {every}"))?;
    }
    let mut bundle = calibrated(args, candidates, &dataset, every, recipe)?;
    second_stages.into_iter().try_for_each(|folder| bundle.add_diagnosis(folder))?;
    if let Some(diagnosis) = &bundle.manifest().diagnosis {
        outcome.detail("diagnosis", diagnosis)?;
    }
    if document.vote.learn_weights {
        let weights = &bundle.manifest().vote.weights;
        let learned = weights.iter().map(|(kind, weight)| (kind, weight.to_f64()));
        outcome.detail("weights", &learned.collect::<BTreeMap<_, _>>())?;
        if weights.is_empty() {
            outcome.warn("no weights were learned, since the validation part has no labelled anomalies: each model has weight 1");
        }
    }
    let mut measured = Vec::new();
    bundle.replay(&dataset, threads, |name, part, before| {
        let mut figures = bundle.measure(part, before, normal, threads)?;
        if let Some(confusion) = bundle.measure_diagnosis(part, before, normal, threads)? {
            let diagnosed = bundle.diagnosis_figures(&confusion).into_iter().flatten();
            figures.extend(diagnosed.map(|(name, value)| (name.to_owned(), value)));
            outcome.detail(&format!("{name}.diagnosis"), &confusion)?;
        }
        for (figure, value) in &figures {
            outcome.metric(&format!("{name}.{figure}"), *value);
        }
        let members = bundle.measure_members(part, before, normal, threads)?;
        measured.push((name, figures));
        outcome.detail(&format!("{name}.members"), &members)
    })?;
    measured.into_iter().for_each(|(name, figures)| bundle.set_metrics(name, figures));
    advance(args, &mut bundle, &dataset, every)?;
    outcome.detail("thresholds", &thresholds(&bundle))?;
    bundle.write(&args.bundle)
}

/// Combines the candidates and calibrates them; if not all entities fit in memory, on the rows of
/// some of them.
fn calibrated(
    args: &SelectArgs,
    candidates: Vec<Candidate>,
    dataset: &Dataset,
    every: usize,
    recipe: Recipe,
) -> Result<Bundle, StepError> {
    if every == 1 {
        return assemble(candidates, &dataset.validation, recipe);
    }
    let keys = FeatureTable::read_keys(&args.dataset.join(Dataset::FILES[1]))?;
    let rows = CalibrationRows { sample: &dataset.validation, keys: &keys };
    assemble_sampled(candidates, rows, recipe)
}

/// Moves the bundle's state to the end of the test part, for all entities; the state after
/// calibration is that at the last rows of the validation part.
fn advance(
    args: &SelectArgs,
    bundle: &mut Bundle,
    dataset: &Dataset,
    every: usize,
) -> Result<(), StepError> {
    let threads = usize::from(args.common.threads);
    if dataset.test.rows() == 0 {
        return Ok(());
    }
    if every == 1 {
        return bundle.advance(&dataset.test, threads);
    }
    let test = args.dataset.join(Dataset::FILES[2]);
    bundle.advance_over(threads, |each| FeatureTable::read_parts(&test, each).map(drop))
}

/// Reads the candidates; returns the folders of second stages separately.
fn read<'a>(
    args: &'a SelectArgs,
    document: &Sections,
) -> Result<(Vec<Candidate>, Vec<&'a Path>), StepError> {
    let (mut candidates, mut second_stages) = (Vec::new(), Vec::new());
    for folder in folders(args, document)? {
        if is_diagnosis(folder)? {
            second_stages.push(folder);
        } else {
            candidates.push(Candidate::read(folder)?);
        }
    }
    Ok((candidates, second_stages))
}

/// Returns the candidate that ranks the labelled rows of the validation part best, and the first by
/// name of equal ones; all of them if no row is labelled.
fn best(
    mut candidates: Vec<Candidate>,
    by: BestBy,
    validation: &FeatureTable,
    recipe: &Recipe,
    outcome: &mut Outcome,
) -> Result<Vec<Candidate>, StepError> {
    let figures = rank(&candidates, validation, recipe, by)?;
    outcome.detail("best_by", &figures)?;
    let first_best = figures.iter().rev().max_by(|a, b| a.1.total_cmp(b.1));
    let Some((kind, _)) = first_best else {
        outcome.warn("no best model could be chosen, since the validation part has no labelled anomalies or only those: all models vote");
        return Ok(candidates);
    };
    outcome.detail("best", kind)?;
    candidates.retain(|candidate| candidate.manifest.kind == *kind);
    Ok(candidates)
}

/// Returns the folders of the candidates; if models are named, only theirs.
fn folders<'a>(args: &'a SelectArgs, document: &Sections) -> Result<Vec<&'a Path>, StepError> {
    let folders = args.candidate.iter().map(PathBuf::as_path);
    let names: Vec<&str> = args.models.iter().map(|name| name.trim()).collect();
    if names.is_empty() {
        return Ok(folders.collect());
    }
    let known = document.trained();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        let error = StepError::usage(format!("`--models`: the document has no model `{unknown}`"));
        return Err(match document::closest(unknown, known.iter().copied()) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint(format!("its models: {}", known.join(", "))),
        });
    }
    let mut by_kind = BTreeMap::new();
    for folder in folders.filter(|folder| folder.is_dir()) {
        by_kind.insert(candidate::read_manifest(folder)?.kind, folder);
    }
    // In the order of the document, not of the flag.
    let named = known.into_iter().filter(|kind| names.contains(kind));
    let found = named.map(|kind| {
        let absent = || {
            StepError::usage(format!("there is no candidate of `{kind}`"))
                .hint("run `train` for it first, or remove it from --models")
        };
        by_kind.get(kind).copied().ok_or_else(absent)
    });
    found.collect()
}

fn thresholds(bundle: &Bundle) -> BTreeMap<String, f64> {
    let members = bundle.manifest().members.iter();
    members.map(|member| (member.kind.clone(), member.threshold)).collect()
}

fn provenance(dataset: &Path, dataset_sha256: String) -> Result<Provenance, StepError> {
    let train = FeatureTable::extent(&dataset.join(Dataset::FILES[0]))?;
    let bound = |time: Option<Timestamp>| {
        time.ok_or_else(|| {
            StepError::refused("the data set has no training rows")
                .hint("use a longer `range`, and run `validate` again")
        })
    };
    Ok(Provenance {
        version: contract::VERSION.to_owned(),
        dataset_sha256,
        train_start: bound(train.first)?,
        train_end: bound(train.last)?,
        train_rows: train.rows as u64,
    })
}
