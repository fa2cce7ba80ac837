//! The bundle of `task: classify`: the best candidate on left-out entities, the usual ranges of its
//! classes, and the metrics of the other candidates.

use std::collections::BTreeMap;
use std::path::Path;

use contract::bundle::{BundleManifest, CandidateManifest, FileRecord, Member};
use contract::classify::{
    CandidateFigures, ClassCandidate, ClassFigures, ClassManifest, EvidenceRule, declared_class,
};
use contract::steps::SelectArgs;
use contract::{FeatureContract, Outcome, StepError, artifact};
use document::classify::Classify;
use document::sections::Select as Sections;
use frames::{Dataset, FeatureTable};
use models::classify::{ClassBundle, ClassModel, Profiles};
use models::{candidate, matrix};
use ndarray::Axis;
use serde_json::{Value, json};

/// Maximum depth of the drawn tree.
const DRAWN_DEPTH: usize = 5;
/// Name of the metrics on left-out entities, in a bundle's metrics.
pub(crate) const HELD_OUT: &str = "held_out";

/// A candidate folder, read.
struct Candidate {
    manifest: CandidateManifest,
    classify: ClassCandidate,
    model: ClassModel,
}

/// Makes the bundle.
pub(crate) fn run(
    args: &SelectArgs,
    folders: &[&Path],
    document: &Sections,
    classify: &Classify,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let table = FeatureTable::read(&args.dataset.join(Dataset::FILES[0]))?;
    let read = |folder: &&Path| Candidate::read(folder, &table.contract);
    let mut candidates = folders.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    outcome.count("candidates", candidates.len());
    let others: Vec<CandidateFigures> = candidates.iter().map(Candidate::figures).collect();
    let drawn = candidates.iter().find_map(|it| drawn(&it.model, &table.contract));
    let best = best(&candidates).ok_or_else(|| {
        StepError::usage("there is no candidate")
            .hint("run `train` for at least one model, and name its output with --candidate")
    })?;
    let best = candidates.swap_remove(best);
    let profiles = profiles(&table, classify, &best.classify.classes);
    let chosen = best.manifest.kind.clone();
    let manifest = BundleManifest {
        format: BundleManifest::FORMAT,
        pipeline: document.name.clone(),
        parts: Vec::new(),
        division: None,
        contract: table.contract.clone(),
        vote: contract::rules::Vote::default(),
        members: vec![Member {
            kind: best.manifest.kind,
            model: record(),
            seed: best.manifest.seed,
            parameters: best.manifest.parameters,
            threshold: 0.0,
            levels: None,
        }],
        reference: record(),
        combined_threshold: None,
        combined_levels: None,
        memory: None,
        memory_before_test: None,
        diagnosis: None,
        classify: None,
        metrics: BTreeMap::from([(HELD_OUT.to_owned(), metrics(&best.classify.figures))]),
        provenance: crate::provenance(&args.dataset, artifact::sha256_path(&args.dataset)?)?,
    };
    let classify = ClassManifest {
        classes: best.classify.classes,
        rules: classify.classes.clone(),
        evidence: rule(classify, &table.contract),
        bounds: best.classify.bounds,
        profiles: record(),
        figures: best.classify.figures,
        candidates: others,
        drawn,
    };
    for (name, value) in metrics(&classify.figures) {
        outcome.metric(&format!("{HELD_OUT}.{name}"), value);
    }
    outcome.details.insert("chosen".to_owned(), chosen.into());
    outcome.detail("classify", &classify)?;
    ClassBundle::new(manifest, classify, best.model, profiles)?.write(&args.bundle)
}

/// A record that the bundle fills in.
fn record() -> FileRecord {
    FileRecord { file: String::new(), sha256: String::new() }
}

/// Returns the document's rule of evidence, in windows.
fn rule(classify: &Classify, contract: &FeatureContract) -> EvidenceRule {
    let evidence = &classify.evidence;
    let deadline = evidence.deadline.in_steps(contract.step);
    EvidenceRule {
        min_windows: evidence.min_windows,
        half_life_windows: evidence.half_life.seconds() / contract.step.seconds(),
        deadline_windows: u32::try_from(deadline).unwrap_or(u32::MAX),
    }
}

/// Returns the metrics that gates and lists read, by name.
fn metrics(figures: &ClassFigures) -> BTreeMap<String, f64> {
    let named = [
        ("balanced_accuracy", figures.balanced_accuracy.mean),
        ("balanced_accuracy_low", figures.balanced_accuracy.low),
        ("balanced_accuracy_high", figures.balanced_accuracy.high),
        ("row_balanced_accuracy", figures.row_balanced_accuracy.mean),
        ("log_loss", figures.log_loss),
        ("wrong_ratio", figures.wrong_ratio),
        ("unknown_ratio", figures.unknown_ratio),
    ];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns the candidate with the highest balanced accuracy; of equal ones, the one with the lowest
/// log loss.
fn best(candidates: &[Candidate]) -> Option<usize> {
    let rank = |index: &usize| {
        let figures = &candidates[*index].classify.figures;
        // Rounded to thousandths, because smaller differences are chance.
        ((figures.balanced_accuracy.mean * 1000.0).round(), -figures.log_loss)
    };
    (0..candidates.len()).max_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    })
}

impl Candidate {
    /// Errors: refused for a candidate that was fitted on other features, does not match its
    /// SHA-256, or is of `task: anomaly`.
    fn read(folder: &Path, contract: &FeatureContract) -> Result<Self, StepError> {
        let (manifest, bytes) = candidate::read_files(folder)?;
        candidate::check_features(&manifest, contract)?;
        let kind = &manifest.kind;
        let figures = manifest.cross_validation.clone().unwrap_or(Value::Null);
        let classify: ClassCandidate = serde_json::from_value(figures).map_err(|e| {
            StepError::refused(format!("the candidate `{kind}` is not of `task: classify`: {e}"))
                .hint("run `train` again with this document")
        })?;
        let model = ClassModel::load(kind, &bytes)?;
        Ok(Self { manifest, classify, model })
    }

    fn figures(&self) -> CandidateFigures {
        let figures = &self.classify.figures;
        CandidateFigures {
            kind: self.manifest.kind.clone(),
            balanced_accuracy: figures.balanced_accuracy,
            row_balanced_accuracy: figures.row_balanced_accuracy,
            log_loss: figures.log_loss,
            wrong_ratio: figures.wrong_ratio,
            unknown_ratio: figures.unknown_ratio,
        }
    }
}

/// Returns the usual ranges of each class's features over all rows that declare it.
fn profiles(table: &FeatureTable, classify: &Classify, classes: &[String]) -> Profiles {
    let mut known: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    let (mut rows, mut class) = (Vec::new(), Vec::new());
    let labels = table.labels.iter();
    for (row, text) in labels.flat_map(|labels| labels.label.iter().enumerate()) {
        let index = known.entry(text.as_str()).or_insert_with(|| {
            let class = declared_class(&classify.classes, text)?;
            classes.iter().position(|known| *known == class)
        });
        let excluded = table.labels.as_ref().is_some_and(|labels| labels.excluded[row]);
        if let Some(index) = index.filter(|_| !excluded) {
            rows.push(row);
            class.push(index);
        }
    }
    let features: Vec<String> = table.contract.names().into_iter().map(str::to_owned).collect();
    let values = matrix(table).select(Axis(0), &rows);
    Profiles::fit(&features, values.view(), &class, classes)
}

/// Returns a decision tree as nested nodes, for the page; `None` for other models.
fn drawn(model: &ClassModel, contract: &FeatureContract) -> Option<Value> {
    let ClassModel::Trees(trees) = model else { return None };
    let [tree] = trees.trees() else { return None };
    let classes = &trees.classes().names;
    Some(node(tree, classes, contract, 0, 0))
}

/// Returns a node and its descendants, down to the last drawn split.
fn node(
    tree: &detectors::class_trees::ClassTree,
    classes: &[String],
    contract: &FeatureContract,
    at: usize,
    depth: usize,
) -> Value {
    let shares = &tree.shares[at * classes.len()..(at + 1) * classes.len()];
    let pairs = shares.iter().enumerate();
    let (class, share) =
        pairs.fold((0, -1.0_f32), |best, (i, s)| if *s > best.1 { (i, *s) } else { best });
    let left = tree.lefts[at] as usize;
    let mut drawn = json!({"class": classes[class], "share": share});
    if left != 0 && depth < DRAWN_DEPTH {
        let column = &contract.columns[tree.features[at] as usize];
        drawn["feature"] = column.name.as_str().into();
        drawn["unit"] = column.unit.as_str().into();
        drawn["threshold"] = tree.thresholds[at].into();
        drawn["low"] = node(tree, classes, contract, left, depth + 1);
        drawn["high"] = node(tree, classes, contract, left + 1, depth + 1);
    }
    drawn
}
