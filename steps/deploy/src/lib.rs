//! Registers a bundle as a version and points the pipeline's alias at it if it is good enough.
//!
//! The result depends only on the bundle, the data set, the document and the alias: if the step was
//! killed at any point and runs again with the same `--now`, it has the same result and writes the
//! same bytes.

mod classify;
pub mod gate;

use std::path::{Path, PathBuf};

use contract::deployment::{Deployment, Figures};
use contract::rules::Threshold;
use contract::steps::{CollectArgs, DeployArgs};
use contract::{
    ErrorKind, Outcome, Shard, ShardNumber, StepError, Timestamp, read_json, write_json,
};
use document::classify::Task;
use document::document::OnWorse;
use document::sections::Deploy as Sections;
use frames::Dataset;
use models::Bundle;
use models::classify::ClassBundle;
use store::{AliasRecord, Change, Registry};

use crate::gate::Decision;

/// Author that is recorded for changes of an alias.
const BY: &str = "deploy";

/// Reasons for and against a version.
struct Case {
    decision: Decision,
    figures: Figures,
    champion_figures: Figures,
}

/// Runs the step.
///
/// Errors: refused for a bundle that does not match its hashes, and for one that is not promoted
/// while no model is live or with `on_worse: stop` (it is registered then, and `deployment` is
/// written); lost race when the alias was changed meanwhile.
pub fn run(args: &DeployArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = Sections::read(&args.document)?;
    let args = &match &args.run {
        Some(folder) => of_run(folder, args)?,
        None => args.clone(),
    };
    let store = store::open(&args.store)?;
    let division = document.shards.division();
    let registry = Registry::new(store.as_ref(), &document.name).divided_by(division.as_ref());
    // An unusable bundle must not be registered.
    let challenger = Challenger::read(&document, args)?;
    let version = match args.bundle.as_slice() {
        [bundle] => registry.put_version(bundle)?,
        bundles => registry.put_parts(bundles, challenger.figures())?,
    };
    let current = registry.alias(&document.deployment.alias)?;

    let task = Weighing { args, document: &document, registry, challenger };
    let weigh = |champion: Option<&str>, outcome: &mut Outcome| task.weigh(champion, outcome);
    let deployment = match current.as_ref().filter(|current| current.version == version) {
        Some(current) if !is_ours(current, args.now) => already_live(&document, current),
        // If an earlier run was killed after it promoted the version, the decision is made again.
        Some(current) => {
            registry.complete_history(&document.deployment.alias, current)?;
            let champion = current.previous.clone();
            let case = weigh(champion.as_deref(), outcome)?;
            deployment(&document, &version, champion, case, Some(current))
        }
        None => {
            let champion = current.as_ref().map(|current| current.version.clone());
            let case = weigh(champion.as_deref(), outcome)?;
            let now_live = if case.decision.promote {
                let alias = &document.deployment.alias;
                let why = &case.decision.why;
                let change = Change { alias, version: &version, now: args.now, by: BY, why };
                Some(registry.promote(&change, current.as_ref())?)
            } else {
                current
            };
            deployment(&document, &version, champion, case, now_live.as_ref())
        }
    };
    write_json(&args.deployment, &deployment)?;
    conclude(&document, &deployment, outcome)
}

/// Returns the flags with the bundle and the data set of every shard of a run, which its list of
/// shards names.
fn of_run(folder: &Path, args: &DeployArgs) -> Result<DeployArgs, StepError> {
    let shards: Vec<ShardNumber> = read_json(&folder.join(CollectArgs::NUMBERS))?;
    let mut folders = Vec::new();
    for (place, shard) in shards.iter().enumerate() {
        let is_next = usize::try_from(shard.index) == Ok(place);
        let is_whole = usize::try_from(shard.count) == Ok(shards.len());
        let known = Shard::new(shard.index, shard.count).filter(|_| is_next && is_whole);
        let shard = known.ok_or_else(|| {
            let file = folder.join(CollectArgs::NUMBERS);
            StepError::refused(format!("`{}` is not a list of all shards", file.display()))
                .hint("it is written by `collect --numbers`: run the training again")
        })?;
        folders.push(folder.join(shard.part()));
    }
    let below = |path: &str| folders.iter().map(|folder| folder.join(path)).collect();
    Ok(DeployArgs {
        bundle: below("select/bundle"),
        dataset: below("validate/dataset"),
        run: None,
        ..args.clone()
    })
}

fn is_ours(record: &AliasRecord, now: Timestamp) -> bool {
    record.since == now && record.by == BY
}

/// Inputs of a decision.
struct Weighing<'a> {
    args: &'a DeployArgs,
    document: &'a Sections,
    registry: Registry<'a>,
    challenger: Challenger,
}

/// The version that may be promoted.
enum Challenger {
    /// One bundle, or one for each shard, in the order of the shards.
    Anomaly(Vec<Bundle>),
    Classify(Box<ClassBundle>),
}

impl Challenger {
    /// Reads the bundle of the document's task, or that of each shard.
    fn read(document: &Sections, args: &DeployArgs) -> Result<Self, StepError> {
        let folders = args.bundle.as_slice();
        if folders.len() != args.dataset.len() {
            return Err(StepError::usage(format!(
                "`--bundle` is given {} times and `--dataset` {} times",
                folders.len(),
                args.dataset.len()
            ))
            .hint("give the data set of each shard, in the same order"));
        }
        match (document.task, folders) {
            (Task::Anomaly, folders) => {
                let read = |folder: &PathBuf| Bundle::read(folder).map_err(|e| named(folder, e));
                Ok(Self::Anomaly(folders.iter().map(read).collect::<Result<_, _>>()?))
            }
            (Task::Classify, [folder]) => {
                let read = ClassBundle::read(folder).map_err(|e| named(folder, e));
                Ok(Self::Classify(Box::new(read?)))
            }
            (Task::Classify, _) => {
                Err(StepError::usage("`task: classify` has no shards: name one `--bundle`")
                    .hint("give `--bundle` once"))
            }
        }
    }

    /// Returns the metrics of `select` of all shards together.
    fn figures(&self) -> Figures {
        let of = |bundle: &Bundle| bundle.manifest().metrics.clone();
        match self {
            Self::Anomaly(bundles) => gate::together(&bundles.iter().map(of).collect::<Vec<_>>()),
            Self::Classify(bundle) => bundle.manifest().metrics.clone(),
        }
    }
}

fn named(folder: &Path, error: StepError) -> StepError {
    StepError { message: format!("`{}`: {}", folder.display(), error.message), ..error }
}

/// Result of the comparison with the champion.
enum Compared {
    /// The metrics of both on the rows of the challenger.
    With(Figures, Figures),
    /// There is no champion to compare with, for this reason.
    Alone(String),
}

impl Weighing<'_> {
    /// Measures and decides.
    fn weigh(&self, champion: Option<&str>, outcome: &mut Outcome) -> Result<Case, StepError> {
        match &self.challenger {
            Challenger::Anomaly(challenger) => self.weigh_detectors(challenger, champion, outcome),
            Challenger::Classify(challenger) => self.weigh_classes(challenger, champion, outcome),
        }
    }

    fn weigh_classes(
        &self,
        challenger: &ClassBundle,
        champion: Option<&str>,
        outcome: &mut Outcome,
    ) -> Result<Case, StepError> {
        let files = champion.map(|version| self.registry.fetch(version, None));
        let read = files.map(|files| files.and_then(|files| ClassBundle::from_files(&files)));
        let champion = match read.transpose() {
            // A champion that cannot be used does not score. This is not an error.
            Err(error) if error.kind == ErrorKind::Refused => {
                outcome.warn(format!("the champion cannot be used: {}", error.message));
                None
            }
            read => read?,
        };
        let gate = self.document.classification().map(|settings| settings.gate.clone());
        let known = champion.as_ref().map(ClassBundle::classify);
        let decision = classify::decide(&gate.unwrap_or_default(), challenger, known);
        let figures = challenger.manifest().metrics.clone();
        let champion_figures = champion.map(|champion| champion.manifest().metrics.clone());
        Ok(Case { decision, figures, champion_figures: champion_figures.unwrap_or_default() })
    }

    fn weigh_detectors(
        &self,
        challengers: &[Bundle],
        champion: Option<&str>,
        outcome: &mut Outcome,
    ) -> Result<Case, StepError> {
        let Some(version) = champion else { return Ok(self.first()) };
        let (mut figures, mut champion_figures) = (Vec::new(), Vec::new());
        for (challenger, (dataset, shard)) in challengers.iter().zip(self.parts()) {
            match self.compare(challenger, version, dataset, shard)? {
                Compared::With(new, old) => {
                    figures.push(new);
                    champion_figures.push(old);
                }
                Compared::Alone(why) => {
                    outcome.warn(format!("{why}: the champion was not compared"));
                    return Ok(self.alone(&why));
                }
            }
        }
        let (figures, champion_figures) =
            (gate::together(&figures), gate::together(&champion_figures));
        let decision = gate::with_champion(&self.document.gate, &figures, &champion_figures);
        Ok(Case { decision, figures, champion_figures })
    }

    /// Returns each data set, with its shard.
    fn parts(&self) -> Vec<(&Path, Option<Shard>)> {
        let datasets = &self.args.dataset;
        let shards = match datasets.len() {
            0 | 1 => vec![None],
            count => {
                Shard::all(u32::try_from(count).unwrap_or(u32::MAX)).into_iter().map(Some).collect()
            }
        };
        datasets.iter().map(PathBuf::as_path).zip(shards).collect()
    }

    /// Measures the challenger and the champion on the rows of a shard.
    fn compare(
        &self,
        challenger: &Bundle,
        version: &str,
        dataset: &Path,
        shard: Option<Shard>,
    ) -> Result<Compared, StepError> {
        let files = self.registry.of_shard(shard).fetch(version, None);
        let champion = match files.and_then(|files| Bundle::from_files(&files)) {
            Ok(champion) => champion,
            // A champion that cannot be used does not score. This is not an error.
            Err(error) if error.kind == ErrorKind::Refused => {
                return Ok(Compared::Alone(format!(
                    "champion `{version}` cannot be used: {}",
                    error.message
                )));
            }
            Err(error) => return Err(error),
        };
        let (old, new) = (&champion.manifest().contract, &challenger.manifest().contract);
        if let Some(difference) = old.first_difference(new) {
            return Ok(Compared::Alone(format!(
                "champion `{version}` has another feature contract ({difference})"
            )));
        }
        let (dataset, _) = Dataset::read_sample(dataset, Dataset::MOST_MEASURED_VALUES)?;
        Ok(Compared::With(self.measure(challenger, &dataset)?, self.measure(&champion, &dataset)?))
    }

    /// Decides on a version while none is live. The reason does not call a rejected version the
    /// first.
    fn first(&self) -> Case {
        let mut case = self.alone("it is the first");
        if !case.decision.promote {
            let why = case.decision.why.split_once("; ").map_or("", |(_, why)| why).to_owned();
            case.decision.why = format!("no model is live yet, and {why}");
        }
        case
    }

    /// Decides on a version without a champion to compare with, by the metrics of `select`.
    fn alone(&self, because: &str) -> Case {
        let figures = self.challenger.figures();
        let mut decision = gate::without_champion(&self.document.gate, &figures);
        decision.why = format!("{because}; {}", decision.why);
        Case { decision, figures, champion_figures: Figures::default() }
    }

    fn measure(&self, bundle: &Bundle, dataset: &Dataset) -> Result<Figures, StepError> {
        let threads = usize::from(self.args.common.threads);
        gate::measure(bundle, dataset, &self.document.labels.normal, threads)
    }
}

fn already_live(document: &Sections, current: &AliasRecord) -> Deployment {
    let why = format!("it is live already, since {}", current.since);
    let decision = Decision { promote: false, why, comparison: None };
    let case = Case { decision, figures: Figures::default(), champion_figures: Figures::default() };
    deployment(document, &current.version, None, case, Some(current))
}

fn deployment(
    document: &Sections,
    version: &str,
    champion: Option<String>,
    case: Case,
    now_live: Option<&AliasRecord>,
) -> Deployment {
    let Case { decision: Decision { promote, why, comparison }, figures, champion_figures } = case;
    Deployment {
        format: Deployment::FORMAT,
        pipeline: document.name.clone(),
        version: version.to_owned(),
        alias: document.deployment.alias.clone(),
        promoted: promote,
        live: now_live.is_some_and(|record| record.version == version),
        since: now_live.map(|record| record.since),
        why,
        champion,
        comparison,
        figures,
        champion_figures,
    }
}

/// Reports the decision; a version that was not promoted may end the run.
fn conclude(
    document: &Sections,
    deployment: &Deployment,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let Deployment { version, alias, why, .. } = deployment;
    outcome.detail(Deployment::DETAIL, deployment)?;
    outcome.count("promoted", usize::from(deployment.promoted));
    if let Some(comparison) = &deployment.comparison {
        outcome.metric("challenger", comparison.challenger.unwrap_or(f64::NAN));
        outcome.metric("champion", comparison.champion.unwrap_or(f64::NAN));
    }
    if deployment.live {
        let step = if deployment.promoted { "Promoted" } else { "Unchanged" };
        tracing::info!(version, alias, why, "{step}");
        return Ok(());
    }
    let refusal = format!("version `{version}` is registered but not promoted: {why}");
    let way_out = way_out(document, deployment);
    // Without a live model nothing is scored: a training that does not change this has failed, and
    // the schedule of the first training must retry it.
    if document.gate.on_worse == OnWorse::Keep && deployment.since.is_some() {
        outcome.warn(format!("{refusal}; {way_out}"));
        return Ok(());
    }
    Err(StepError::refused(refusal).hint(way_out))
}

/// Returns the possible actions for a version that was not promoted.
fn way_out(document: &Sections, deployment: &Deployment) -> String {
    let Deployment { pipeline, version, .. } = deployment;
    let by_hand = format!("to use it anyway: lynceus models promote {pipeline} {version}");
    let wanting = "no window is scored until a model is live";
    if document.classification().is_some() && deployment.since.is_none() {
        return format!(
            "{wanting}: train on more entities of each class, change \
             `classify.gate.min_balanced_accuracy`, and run again; {by_hand}"
        );
    }
    let quiet = match document.vote.threshold {
        Threshold::FalseAlarms(_) => "`vote.threshold.false_alarms.per_day`",
        Threshold::Quantile(_) => "`vote.threshold.quantile.share`",
        Threshold::Trailing(_) => "`vote.threshold.trailing.times`",
    };
    match deployment.since {
        Some(_) => format!("the live model stays; {by_hand}"),
        None => format!(
            "{wanting}: train on a longer or quieter `range`, change {quiet} or \
             `gate.max_false_alarm_ratio`, and run again; {by_hand}"
        ),
    }
}
