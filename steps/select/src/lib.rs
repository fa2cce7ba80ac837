//! Makes a bundle of the candidates: calibrates them on the validation part, sets limits and vote,
//! and measures the whole on the validation and test parts.
//!
//! Without labels there is one figure, the share of inliers, and it is called that: it says how
//! quiet the bundle is on rows taken to be normal, not how right it is.

use std::collections::BTreeMap;

use contract::bundle::Provenance;
use contract::steps::SelectArgs;
use contract::{Outcome, StepError, Timestamp, artifact};
use frames::{Dataset, FeatureTable};
use models::diagnosed::is_diagnosis;
use models::{Candidate, Recipe, assemble};

/// Runs the step.
pub fn run(args: &SelectArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::read(&args.document)?;
    let dataset = Dataset::read(&args.dataset)?;
    let mut candidates = Vec::new();
    let mut second_stages = Vec::new();
    for folder in &args.candidate {
        if is_diagnosis(folder)? {
            second_stages.push(folder);
        } else {
            candidates.push(Candidate::read(folder)?);
        }
    }
    let threads = usize::from(args.common.threads);
    let normal = &document.labels.normal;
    let recipe = Recipe {
        pipeline: document.name.clone(),
        vote: document.vote.clone(),
        normal: normal.clone(),
        provenance: provenance(&dataset.train, artifact::sha256_path(&args.dataset)?)?,
        threads,
    };
    outcome.count("candidates", candidates.len());

    let mut bundle = assemble(candidates, &dataset.validation, recipe)?;
    second_stages.into_iter().try_for_each(|folder| bundle.add_diagnosis(folder))?;
    if let Some(diagnosis) = &bundle.manifest().diagnosis {
        outcome.detail("diagnosis", diagnosis)?;
    }
    if document.vote.learn_weights {
        let weights = &bundle.manifest().vote.weights;
        let learned = weights.iter().map(|(kind, weight)| (kind, weight.to_f64()));
        outcome.detail("weights", &learned.collect::<BTreeMap<_, _>>())?;
        if weights.is_empty() {
            outcome.warn("no weights were learned, the validation part has no labelled anomalies: each model has weight 1");
        }
    }
    for (name, part) in [("validation", &dataset.validation), ("test", &dataset.test)] {
        if part.rows() == 0 {
            continue;
        }
        let mut figures = bundle.measure(part, normal, threads)?;
        if let Some(confusion) = bundle.measure_diagnosis(part, normal, threads)? {
            let diagnosed = bundle.diagnosis_figures(&confusion).into_iter().flatten();
            figures.extend(diagnosed.map(|(name, value)| (name.to_owned(), value)));
            outcome.detail(&format!("{name}.diagnosis"), &confusion)?;
        }
        for (figure, value) in &figures {
            outcome.metric(&format!("{name}.{figure}"), *value);
        }
        bundle.set_metrics(name, figures);
        let members = bundle.measure_members(part, normal, threads)?;
        outcome.detail(&format!("{name}.members"), &members)?;
        // The last rows of the training part's model are those of the validation part.
        if name != "validation" {
            bundle.advance(part, threads)?;
        }
    }
    outcome.detail("limits", &limits(&bundle))?;
    bundle.write(&args.bundle)
}

fn limits(bundle: &models::Bundle) -> BTreeMap<String, f64> {
    let members = bundle.manifest().members.iter();
    members.map(|member| (member.kind.clone(), member.limit)).collect()
}

fn provenance(train: &FeatureTable, dataset_sha256: String) -> Result<Provenance, StepError> {
    let bound = |time: Option<&Timestamp>| {
        time.copied().ok_or_else(|| StepError::refused("the data set has no training rows"))
    };
    Ok(Provenance {
        version: contract::VERSION.to_owned(),
        dataset_sha256,
        train_start: bound(train.table.times.iter().min())?,
        train_end: bound(train.table.times.iter().max())?,
        train_rows: train.rows() as u64,
    })
}
