//! Models of `task: classify`, each entity left out once: how its rows are named, and what it is called
//! as its windows come one after another.
//!
//! ```sh
//! cargo run --release -p train --example leave_one_out -- DOCUMENT FEATURES [ENTITY ...]
//! ```
//!
//! Prints JSON by kind of model. Of rows: accuracy and balanced accuracy. Of entities, with the
//! bounds that were chosen without them: balanced accuracy of all and of those that are named,
//! shares named wrong and unknown, and the median number of windows until the class is right and
//! stays right. Entities whose class has no other entity are not left out. Those named behind the
//! features are left away altogether, such as pods that are different from their declared class.
//! Entities that do not get the right class are listed on standard error.
//! `tests/bench/labelled.sh` compares the figures of rows with scikit-learn.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use contract::bundle::CandidateManifest;
use contract::classify::{ClassCandidate, EvidenceRule, declared_class};
use contract::step::Common;
use contract::steps::TrainArgs;
use contract::{Outcome, Timestamp, read_json};
use document::classify::Classify;
use frames::{Dataset, FeatureTable};
use models::classify::evidence::Rules;
use models::classify::{ClassModel, EntityEvidence, Profiles};
use models::matrix;
use ndarray::Axis;

/// A data set of classes.
struct Set {
    document: PathBuf,
    table: FeatureTable,
    /// Class of each row.
    classes: Vec<Option<String>>,
    rule: EvidenceRule,
}

/// What was fitted without an entity.
struct Fitted {
    model: ClassModel,
    candidate: ClassCandidate,
    profiles: Profiles,
}

/// How an entity that was left out was named.
struct Named {
    entity: String,
    class: String,
    rows: usize,
    right_rows: usize,
    /// What it was called in the end; nothing for `unknown`.
    called: Option<String>,
    /// Windows after which its class was right and stayed right.
    right_after: Option<usize>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let document = arguments.next().map(PathBuf::from).context("no document")?;
    let features = arguments.next().map(PathBuf::from).context("no features")?;
    let away: BTreeSet<String> = arguments.filter_map(|name| name.into_string().ok()).collect();
    let read = document::read(&document)?;
    let settings = read.classification().context("the document is not of `task: classify`")?;
    let table = FeatureTable::read(&features)?;
    let rows: Vec<usize> =
        (0..table.rows()).filter(|row| !away.contains(table.table.entity_of(*row))).collect();
    let table = table.select(&rows);
    let labels = &table.labels.as_ref().context("the features have no labels")?.label;
    let classes: Vec<Option<String>> =
        labels.iter().map(|label| declared_class(&settings.classes, label)).collect();
    let rule = rule(settings, read.step);
    let set = Set { document, table, classes, rule };
    let mut by_class: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for entity in 0..u32::try_from(set.table.table.entities.len())? {
        if let Some(class) = set.rows_of(entity).find_map(|row| set.classes[row].clone()) {
            by_class.entry(class).or_default().insert(entity);
        }
    }
    by_class.retain(|_, entities| entities.len() > 1);
    let mut figures = BTreeMap::new();
    for kind in settings.models.kinds() {
        let mut named = Vec::new();
        for (class, entities) in &by_class {
            for entity in entities {
                named.push(set.name(*entity, class, &set.without(*entity, kind)?));
            }
        }
        for Named { entity, class, called, rows, .. } in named.iter().filter(|it| !it.is_right()) {
            let called = called.as_deref().unwrap_or("unknown");
            writeln!(
                std::io::stderr(),
                "{kind}: {entity} is {class}, called {called} after {rows} windows"
            )?;
        }
        figures.insert(kind, sum_up(&named, read.step.seconds()));
    }
    let mut out = std::io::stdout();
    serde_json::to_writer(&mut out, &figures)?;
    Ok(out.write_all(b"\n")?)
}

fn rule(settings: &Classify, step: contract::Span) -> EvidenceRule {
    let evidence = &settings.evidence;
    EvidenceRule {
        min_windows: evidence.min_windows,
        half_life_windows: evidence.half_life.seconds() / step.seconds(),
        deadline_windows: u32::try_from(evidence.deadline.in_steps(step)).unwrap_or(u32::MAX),
    }
}

impl Set {
    /// Returns the numbers of an entity's rows, in the order of time.
    fn rows_of(&self, entity: u32) -> impl Iterator<Item = usize> + '_ {
        let table = &self.table.table;
        (0..self.table.rows()).filter(move |row| table.entity[*row] == entity)
    }

    /// Fits a kind of model on all entities but one.
    fn without(&self, entity: u32, kind: &str) -> Result<Fitted> {
        let folder = tempfile::tempdir()?;
        let of_others = |row: &usize| self.table.table.entity[*row] != entity;
        let rows: Vec<usize> = (0..self.table.rows()).filter(of_others).collect();
        let empty = self.table.select(&[]);
        let (dataset, candidate) = (folder.path().join("dataset"), folder.path().join("candidate"));
        fs_err::create_dir_all(&dataset)?;
        let train = self.table.select(&rows);
        Dataset { train: train.clone(), validation: empty.clone(), test: empty }.write(&dataset)?;
        let args = TrainArgs {
            document: self.document.clone(),
            dataset,
            model: kind.to_owned(),
            seed: 7,
            candidate: candidate.clone(),
            common: Common { threads: 2, ..Common::default() },
        };
        train::run(&args, &mut Outcome::start("train"))?;
        let manifest: CandidateManifest = read_json(&candidate.join(CandidateManifest::FILE))?;
        let bytes = fs_err::read(candidate.join(&manifest.model.file))?;
        let fitted = manifest.cross_validation.context("no classes in the candidate")?;
        let candidate: ClassCandidate = serde_json::from_value(fitted)?;
        let known = rows.iter().enumerate().filter_map(|(place, row)| {
            let class = self.classes[*row].as_ref()?;
            Some((place, candidate.classes.binary_search(class).ok()?))
        });
        let (places, classes): (Vec<usize>, Vec<usize>) = known.unzip();
        let values = matrix(&train).select(Axis(0), &places);
        let features: Vec<String> =
            train.table.columns.iter().map(|column| column.name.clone()).collect();
        let profiles = Profiles::fit(&features, values.view(), &classes, &candidate.classes);
        Ok(Fitted { model: ClassModel::load(kind, &bytes)?, candidate, profiles })
    }

    /// Names an entity by what was fitted without it.
    fn name(&self, entity: u32, class: &str, fitted: &Fitted) -> Named {
        let ClassCandidate { classes, bounds, .. } = &fitted.candidate;
        let measure = fitted.profiles.measure();
        let start = Timestamp::from_ms(0);
        let mut evidence = EntityEvidence::new(classes.len(), start, "");
        let mut named = Named {
            entity: self.table.table.entities[entity as usize].clone(),
            class: class.to_owned(),
            rows: 0,
            right_rows: 0,
            called: None,
            right_after: None,
        };
        for row in self.rows_of(entity).filter(|row| !self.table.warm_up[*row]) {
            let columns = self.table.table.columns.iter();
            let values: Vec<f64> = columns.map(|column| column.values[row]).collect();
            let probabilities = fitted.model.probabilities(&values);
            let best = (0..probabilities.len())
                .max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
            named.rows += 1;
            named.right_rows += usize::from(best.is_some_and(|best| classes[best] == class));
            let rules = Rules { rule: &self.rule, bounds };
            evidence.observe(start, &probabilities, &measure.of(&values), rules);
            named.called = evidence.class.map(|class| classes[class as usize].clone());
            let is_right = named.called.as_deref() == Some(class);
            named.right_after = named.right_after.or(Some(named.rows)).filter(|_| is_right);
        }
        named
    }
}

/// Returns the mean over the classes of the share that is right.
fn balanced<'a>(of: impl Iterator<Item = (&'a str, usize, usize)>) -> f64 {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (class, all, right) in of {
        let count = counts.entry(class).or_default();
        *count = (count.0 + all, count.1 + right);
    }
    let shares = counts.values().map(|(all, right)| *right as f64 / (*all).max(1) as f64);
    shares.sum::<f64>() / counts.len().max(1) as f64
}

fn sum_up(named: &[Named], step_seconds: f64) -> BTreeMap<&'static str, f64> {
    let sum = |of: &dyn Fn(&Named) -> usize| named.iter().map(of).sum::<usize>() as f64;
    let rows = sum(&|it| it.rows).max(1.0);
    let entities = named.len().max(1) as f64;
    let wrong = sum(&|it| usize::from(it.called.is_some() && !it.is_right()));
    let mut after: Vec<usize> = named.iter().filter_map(|it| it.right_after).collect();
    after.sort_unstable();
    let median = after.get(after.len() / 2).map_or(f64::NAN, |windows| *windows as f64);
    BTreeMap::from([
        ("accuracy", sum(&|it| it.right_rows) / rows),
        (
            "balanced_accuracy",
            balanced(named.iter().map(|it| (it.class.as_str(), it.rows, it.right_rows))),
        ),
        ("entities", entities),
        ("entity_balanced_accuracy", balanced(named.iter().map(Named::entity))),
        (
            "entity_balanced_accuracy_of_named",
            balanced(named.iter().filter(|it| it.called.is_some()).map(Named::entity)),
        ),
        ("entity_wrong_ratio", wrong / entities),
        ("entity_unknown_ratio", sum(&|it| usize::from(it.called.is_none())) / entities),
        ("seconds_to_right", median * step_seconds),
    ])
}

impl Named {
    fn is_right(&self) -> bool {
        self.called.as_ref() == Some(&self.class)
    }

    /// Returns the class, one entity, and whether it is right.
    fn entity(&self) -> (&str, usize, usize) {
        (&self.class, 1, usize::from(self.is_right()))
    }
}
