//! Models of `task: classify`, each entity left out once: the share of its rows that are named right.
//!
//! ```sh
//! cargo run --release -p train --example leave_one_out -- DOCUMENT FEATURES
//! ```
//!
//! Prints JSON: a kind of model, and its accuracy and balanced accuracy over rows. Entities whose class
//! has no other entity are not left out. `tests/bench/labelled.sh` compares it with scikit-learn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use contract::bundle::CandidateManifest;
use contract::classify::declared_class;
use contract::step::Common;
use contract::steps::TrainArgs;
use contract::{Outcome, read_json};
use frames::{Dataset, FeatureTable};
use models::classify::ClassModel;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let document = arguments.next().context("no document")?;
    let features = arguments.next().context("no features")?;
    let table = FeatureTable::read(&features)?;
    let read = document::read(&document)?;
    let settings = read.classification().context("the document is not of `task: classify`")?;
    let labels = &table.labels.as_ref().context("the features have no labels")?.label;
    let classes: Vec<Option<String>> =
        labels.iter().map(|label| declared_class(&settings.classes, label)).collect();
    let entities: Vec<u32> = (0..u32::try_from(table.table.entities.len())?).collect();
    let mut by_class: BTreeMap<&String, BTreeSet<u32>> = BTreeMap::new();
    for entity in &entities {
        if let Some(class) = rows_of(&table, *entity).find_map(|row| classes[row].as_ref()) {
            by_class.entry(class).or_default().insert(*entity);
        }
    }
    let mut figures = BTreeMap::new();
    for kind in settings.models.kinds() {
        let mut rows: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
        for (class, entities) in by_class.iter().filter(|(_, entities)| entities.len() > 1) {
            for entity in entities {
                let (model, order) = without(&document, (&table, *entity), kind)?;
                for row in rows_of(&table, *entity).filter(|row| !table.warm_up[*row]) {
                    let values: Vec<f64> =
                        table.table.columns.iter().map(|column| column.values[row]).collect();
                    let probabilities = model.probabilities(&values);
                    let best = (0..probabilities.len())
                        .max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
                    let counts = rows.entry(class).or_default();
                    counts.0 += 1;
                    counts.1 += usize::from(best.is_some_and(|best| order[best] == **class));
                }
            }
        }
        let all: usize = rows.values().map(|(all, _)| all).sum();
        let right: usize = rows.values().map(|(_, right)| right).sum();
        let recalls = rows.values().map(|(all, right)| *right as f64 / *all as f64);
        let balanced = recalls.sum::<f64>() / rows.len().max(1) as f64;
        figures.insert(
            kind,
            BTreeMap::from([
                ("accuracy", right as f64 / all.max(1) as f64),
                ("balanced_accuracy", balanced),
            ]),
        );
    }
    let mut out = std::io::stdout();
    serde_json::to_writer(&mut out, &figures)?;
    Ok(std::io::Write::write_all(&mut out, b"\n")?)
}

/// Returns the numbers of an entity's rows.
fn rows_of(table: &FeatureTable, entity: u32) -> impl Iterator<Item = usize> + '_ {
    (0..table.rows()).filter(move |row| table.table.entity[*row] == entity)
}

/// Fits a kind of model on all entities but one; returns it with the names of its classes.
fn without(
    document: &Path,
    (table, entity): (&FeatureTable, u32),
    kind: &str,
) -> Result<(ClassModel, Vec<String>)> {
    let folder = tempfile::tempdir()?;
    let rows: Vec<usize> =
        (0..table.rows()).filter(|row| table.table.entity[*row] != entity).collect();
    let empty = table.select(&[]);
    let (dataset, candidate) = (folder.path().join("dataset"), folder.path().join("candidate"));
    fs_err::create_dir_all(&dataset)?;
    Dataset { train: table.select(&rows), validation: empty.clone(), test: empty }
        .write(&dataset)?;
    let args = TrainArgs {
        document: document.to_owned(),
        dataset,
        model: kind.to_owned(),
        seed: 7,
        candidate: candidate.clone(),
        common: Common { threads: 2, ..Common::default() },
    };
    train::run(&args, &mut Outcome::start("train"))?;
    let manifest: CandidateManifest = read_json(&candidate.join(CandidateManifest::FILE))?;
    let model = ClassModel::load(kind, &fs_err::read(candidate.join(&manifest.model.file))?)?;
    let fitted = manifest.cross_validation.context("no classes in the candidate")?;
    let fitted: contract::classify::ClassCandidate = serde_json::from_value(fitted)?;
    Ok((model, fitted.classes))
}
