//! Reads the contents of a page from runs and a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::alerts::Told;
use contract::bundle::BundleManifest;
use contract::score::LateWindows;
use contract::steps::ReportArgs;
use contract::{Shard, Span, StepError, Timestamp};
use document::sections::Report as Sections;
use frames::labels::read_labels;
use models::{Bundle, Reference};
use store::{AliasRecord, ObjectStore, Registry, scores};

use crate::drift::Moved;
use crate::features::{FeatureHistory, labels_of_rows};
use crate::ground_truth::Truth;
use crate::runs::Run;
use crate::scores::{Rules, ScoreHistory};
use crate::windows;
use crate::zone::Zone;
use crate::{drift, messages, rescore};

/// Length of the range of scores on a page without `--from`.
const DEFAULT_RANGE: Span = Span::from_seconds(86_400);

/// Contents of a page.
#[derive(Debug)]
pub struct Contents {
    /// The document.
    pub document: Sections,
    /// The current time, as far as the page knows.
    pub now: Timestamp,
    /// The zone whose clocks the page shows.
    pub zone: Zone,
    /// The runs, in order of their evaluation times.
    pub runs: Vec<Run>,
    /// The features of the runs.
    pub features: FeatureHistory,
    /// Labelled faults.
    pub truth: Truth,
    /// A training run's own data set, scored again with its bundle.
    pub rescored: Option<Rescored>,
    /// The scores of a store.
    pub scored: Option<Scored>,
    /// The previous run, with which the document and the data are compared.
    pub previous: Option<Run>,
    /// Drift between the data of the new model and that of the previous model.
    pub drift: Vec<Moved>,
    /// Sent messages.
    pub messages: Vec<Told>,
    /// Sentences about contents that could not be shown.
    pub notes: Vec<String>,
}

/// A data set scored with the bundle that was fitted on it.
#[derive(Debug)]
pub struct Rescored {
    /// The scores of the training, validation and test parts.
    pub history: ScoreHistory,
    /// Time after which rows were scored, if there were too many to score all.
    pub after: Option<Timestamp>,
}

/// Scores of a range of a store.
#[derive(Debug)]
pub struct Scored {
    /// The scores.
    pub history: ScoreHistory,
    /// The requested range: windows that end after the first time and not after the second.
    pub asked: (Timestamp, Timestamp),
    /// The part of it that can have scores: from the first scored window on, if scoring began
    /// within the range.
    pub range: (Timestamp, Timestamp),
    /// End of the first window that was ever scored, if the range reaches back to it.
    pub began: Option<Timestamp>,
    /// Windows that were scored late, by tick.
    pub late: Vec<LateWindows>,
    /// Changes of the alias, oldest first.
    pub aliases: Vec<AliasRecord>,
    /// The manifests of the versions that scored, if they could be read.
    pub manifests: BTreeMap<String, BundleManifest>,
}

/// Returns the evaluation time that the tasks of a run were given.
fn evaluated(run: &Run) -> Option<Timestamp> {
    let mut given =
        run.tasks.iter().filter_map(|task| task.outcome.as_ref()?.parameters.get("now"));
    given.find_map(|now| serde_json::from_str::<String>(now).ok()?.parse().ok())
}

/// Reads the run folders in the order of their evaluation times; a run in a cluster has no recorded
/// evaluation time, so its time comes from the flags and its tasks.
pub(crate) fn runs(args: &ReportArgs, document: &Sections) -> Result<Vec<Run>, StepError> {
    let mut runs: Vec<Run> =
        args.run.iter().map(|folder| Run::read(folder)).collect::<Result<_, _>>()?;
    for run in runs.iter_mut().filter(|run| run.record.pipeline.is_empty()) {
        run.record.pipeline.clone_from(&document.name);
        run.record.now = evaluated(run).unwrap_or(args.now);
        if let Some(name) = &args.run_name {
            run.record.run.clone_from(name);
        }
    }
    runs.sort_by(|a, b| (a.record.now, &a.record.run).cmp(&(b.record.now, &b.record.run)));
    Ok(runs)
}

/// Reads the inputs of the flags, which must exist. Missing files inside a run are reported on the
/// page.
pub fn read(args: &ReportArgs) -> Result<Contents, StepError> {
    let document = Sections::read(&args.document)?;
    let runs = runs(args, &document)?;
    let mut notes = Vec::new();
    let truth = truth(args, &document, &runs, &mut notes)?;
    let features = features(&runs, &args.features, &truth, &mut notes);
    let rules = rules(&document);
    let threads = usize::from(args.common.threads);
    let rescored = match runs.iter().rev().find(|run| run.is_training()) {
        Some(run) => rescored(run, &rules, &truth, threads, &mut notes),
        None => None,
    };
    let mut messages = messages::read(&args.messages, &mut notes);
    let scored = match &args.store {
        Some(url) => {
            let store = store::open(url)?;
            messages::add_remembered(&mut messages, store.as_ref(), &document.name)?;
            Some(scored(store.as_ref(), args, &document, rules, &truth)?)
        }
        None => None,
    };
    let zone = Zone::named(&document.alerts.time_zone);
    let previous = args.previous.as_ref().map(|folder| Run::read(folder)).transpose()?;
    Ok(Contents {
        document,
        zone,
        now: args.now,
        features,
        truth,
        rescored,
        scored,
        drift: drift(&runs, previous.as_ref()),
        previous,
        messages,
        runs,
        notes,
    })
}

/// Compares the data of the last run's bundle with that of the previous run; `None` if one of them
/// has no bundle.
fn drift(runs: &[Run], previous: Option<&Run>) -> Vec<Moved> {
    let reference = |run: &Run| {
        let bytes = fs_err::read(run.there("select/bundle/reference.json")?).ok()?;
        Reference::parse(&bytes).ok()
    };
    let last = runs.iter().rev().find(|run| run.is_training()).and_then(reference);
    let both = previous.and_then(reference).zip(last);
    both.map(|(before, after)| drift::between(&before, &after)).unwrap_or_default()
}

/// Returns the rules for collecting a document's scores.
pub(crate) fn rules(document: &Sections) -> Rules {
    Rules {
        step: document.step,
        quiet: document.alerts.resolve_after,
        alarm_at: document.vote.alarm_at.to_f64(),
    }
}

/// Finds the labels: those of the flags, of a run, or of the data.
fn truth(
    args: &ReportArgs,
    document: &Sections,
    runs: &[Run],
    notes: &mut Vec<String>,
) -> Result<Truth, StepError> {
    let normal = &document.labels.normal;
    if let Some(path) = &args.labels {
        return Ok(Truth::of(read_labels(path)?, normal));
    }
    let there = |file: &str| runs.iter().rev().find_map(|run| run.there(file));
    let read = match there("label/labels.parquet") {
        Some(path) => read_labels(&path).map(|intervals| Truth::of(intervals, normal)),
        None => there("feature/features.parquet")
            .map_or(Ok(Vec::new()), |path| labels_of_rows(&path))
            .map(|intervals| Truth::of_rows(intervals, normal)),
    };
    match read {
        Ok(truth) => Ok(truth),
        Err(error) => {
            notes.push(format!("The labels cannot be shown: {}.", error.message));
            Ok(Truth::default())
        }
    }
}

fn features(
    runs: &[Run],
    files: &[PathBuf],
    truth: &Truth,
    notes: &mut Vec<String>,
) -> FeatureHistory {
    let mut history = FeatureHistory::default();
    for run in runs {
        let Some(path) = run.there("feature/features.parquet") else { continue };
        if let Err(error) = history.read(&path, truth) {
            let run = &run.record.run;
            notes.push(format!("The features of {run} cannot be shown: {}.", error.message));
        }
    }
    let later = files.iter().filter_map(|file| history.read(file, truth).err());
    if let Some(error) = later.last() {
        notes.push(format!("Not all features of the scored windows can be shown: {error}."));
    }
    history
}

fn rescored(
    run: &Run,
    rules: &Rules,
    truth: &Truth,
    threads: usize,
    notes: &mut Vec<String>,
) -> Option<Rescored> {
    let bundle = run.there("select/bundle")?;
    match rescore(run, &bundle, rules, truth, threads) {
        Ok(rescored) => Some(rescored),
        Err(error) => {
            let text = format!("The detectors' scores cannot be shown: {}.", error.message);
            notes.push(text);
            None
        }
    }
}

fn rescore(
    run: &Run,
    bundle: &Path,
    rules: &Rules,
    truth: &Truth,
    threads: usize,
) -> Result<Rescored, StepError> {
    let bundle = Bundle::read(bundle)?;
    let parts = run.validation.iter().flat_map(|validation| &validation.parts);
    let parts: Vec<_> = parts.filter(|part| part.rows > 0).collect();
    let range =
        parts.first().and_then(|part| part.first).zip(parts.last().and_then(|part| part.last));
    let truth = match range {
        Some((first, last)) => truth.within(first - rules.step, last),
        None => truth.clone(),
    };
    let mut history = ScoreHistory::new(rules.clone(), truth);
    let rows: u64 = parts.iter().map(|part| part.rows).sum();
    let after = range.filter(|_| rows > rescore::MOST_ROWS).map(|(first, last)| {
        let kept = i128::from((last - first).ms()) * i128::from(rescore::MOST_ROWS);
        let kept = i64::try_from(kept / i128::from(rows)).unwrap_or(i64::MAX);
        last - Span::from_ms(kept)
    });
    let mut scorer = rescore::Scorer::new(&bundle, after, threads);
    for name in frames::Dataset::FILES {
        if let Some(path) = run.there(&format!("validate/dataset/{name}")) {
            rescore::add_part(&mut history, &mut scorer, &path)?;
        }
    }
    history.finish();
    Ok(Rescored { history, after })
}

fn scored(
    store: &dyn ObjectStore,
    args: &ReportArgs,
    document: &Sections,
    rules: Rules,
    truth: &Truth,
) -> Result<Scored, StepError> {
    // A window is due only when its data had time to arrive.
    let until = args.to.unwrap_or(args.now - document.scoring.delay).floor(rules.step);
    let after = args.from.unwrap_or(until - DEFAULT_RANGE);
    check_range(after, until)?;
    let registry = Registry::new(store, &document.name);
    let mut history = ScoreHistory::new(rules, truth.within(after, until));
    let mut versions: BTreeMap<String, Parts> = BTreeMap::new();
    let range = windows::Range { pipeline: &document.name, after, until, step: document.step };
    let threads = usize::from(args.common.threads);
    windows::for_each(store, range, threads, |window, shards| {
        if !versions.contains_key(&window.version) {
            // Without the bundle no thresholds are drawn; everything else is.
            let parts = parts(&registry, &window.version).unwrap_or_default();
            versions.insert(window.version.clone(), parts);
        }
        let parts = versions.get(&window.version).map_or(&[][..], Vec::as_slice);
        // Each shard has a separate reference.
        history.add(&window, |entity| {
            let shard = shards.get(entity).copied();
            let part = parts.iter().find(|(of, _)| *of == shard);
            part.map(|(_, bundle)| bundle.reference())
        });
        Ok(())
    })?;
    let first = history.range.map(|(first, _)| first);
    let began = first.filter(|first| *first > after + document.step);
    let began = began.map(|first| Ok(is_first(store, &document.name, first)?.then_some(first)));
    let began = began.transpose()?.flatten();
    let asked = (after, until);
    // No window was due before the first one.
    let after = began.map_or(after, |first| first - document.step);
    history.note_bounds(after, until);
    history.finish();
    let manifest = |version: String| {
        let manifest = registry.manifest(&version).ok()?;
        Some((version, manifest))
    };
    Ok(Scored {
        history,
        asked,
        range: (after, until),
        began,
        late: messages::late(store, &document.name)?,
        aliases: registry.history(&document.deployment.alias)?,
        manifests: versions.into_keys().filter_map(manifest).collect(),
    })
}

/// The bundles of a version, by shard.
type Parts = Vec<(Option<Shard>, Bundle)>;

fn parts(registry: &Registry<'_>, version: &str) -> Result<Parts, StepError> {
    let parts = registry.fetch_parts(version)?.into_iter();
    parts.map(|(shard, files)| Ok((shard, Bundle::from_files(&files)?))).collect()
}

/// Refuses a range that cannot contain a window.
pub fn check_range(after: Timestamp, until: Timestamp) -> Result<(), StepError> {
    if after < until {
        return Ok(());
    }
    Err(StepError::usage(format!("there is no window after `{after}` and up to `{until}`"))
        .hint("--from must come before --to"))
}

/// Returns whether a window is the first that a pipeline ever scored.
fn is_first(store: &dyn ObjectStore, pipeline: &str, time: Timestamp) -> Result<bool, StepError> {
    for path in store::shard::paths(store, pipeline)? {
        let first = store.list(&format!("scores/{path}/date="), None, 1)?;
        if first.first().is_some_and(|key| *key < scores::key(&path, time)) {
            return Ok(false);
        }
    }
    Ok(true)
}
