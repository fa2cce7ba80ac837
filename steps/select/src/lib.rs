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
use models::{Candidate, Recipe, assemble};

/// Runs the step.
pub fn run(args: &SelectArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::read(&args.document)?;
    let dataset = Dataset::read(&args.dataset)?;
    let candidates: Vec<Candidate> =
        args.candidate.iter().map(|folder| Candidate::read(folder)).collect::<Result<_, _>>()?;
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
    for (name, part) in [("validation", &dataset.validation), ("test", &dataset.test)] {
        if part.rows() == 0 {
            continue;
        }
        let figures = bundle.measure(part, normal, threads)?;
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
