//! `lynceus evaluate`: evaluates scores of a time range against a scenario log, and classes of
//! entities against their true classes.

mod classes;
mod labelled;
mod parts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::score::{EntityScore, Verdict, WindowScore};
use contract::{Span, StepError, Timestamp, units};
use document::below;
use document::document::Sample;
use frames::LabelInterval;
use models::Bundle;
use models::measure::{self, Counted};
use models::quality::Episodes;
use report::contents::check_range;
use report::rescore;
use serde::Serialize;

use parts::Parts;

use super::context::{Context, DocumentArgs, pipeline_path};
use super::run::deployment;
use super::{Global, OutputFormat, print, print_json};
use crate::run::table;
use crate::tick_files;

/// Flags of `lynceus evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct EvaluateArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Scenario log (CSV: start,end,label,target) [default: the document's]
    #[arg(long, value_name = "FILE")]
    scenarios: Option<PathBuf>,
    /// True classes of entities (CSV: entity,class), for `task: classify` [default: the declared
    /// classes]
    #[arg(long, value_name = "FILE", conflicts_with = "scenarios")]
    truth: Option<PathBuf>,
    /// Evaluate windows that end after this time
    #[arg(long, value_name = "TIME")]
    from: Timestamp,
    /// Evaluate windows that end at or before this time
    #[arg(long, value_name = "TIME")]
    to: Timestamp,
}

/// Evaluation of the scores of a time range.
#[derive(Debug, Serialize)]
struct Evaluation {
    windows: usize,
    /// Metrics by name; those that every evaluation has are null if they could not be measured.
    figures: BTreeMap<String, Option<f64>>,
    scenarios: Vec<Found>,
    /// Metrics of each kind of fault, and of each entity.
    #[serde(flatten)]
    parts: Parts,
    /// Verdicts on the rows of each label, if the rows themselves have labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<labelled::OfLabel>,
}

/// Whether a scenario was found.
#[derive(Debug, Serialize)]
struct Found {
    scenario: String,
    label: String,
    target: String,
    /// From the scenario's start to the first anomalous window; absent when there was none.
    delay_seconds: Option<f64>,
    /// The features that contributed most to its windows, most first.
    causes: Vec<String>,
    /// Whether the guard bands exclude all of its windows from precision, recall and F1.
    guarded: bool,
}

/// Metrics that are shown even if they could not be measured.
const USUAL: [&str; 6] =
    ["precision", "recall", "f1", "roc_auc", "average_precision", "false_alarm_ratio"];

pub(crate) fn execute(global: &Global, args: &EvaluateArgs) -> Result<(), StepError> {
    let context = Context::new(global, &args.document)?;
    let windows = || stored(&context, args.from, args.to);
    if context.document.classification().is_some() {
        if args.scenarios.is_some() {
            return Err(StepError::usage("`--scenarios` belongs to `task: anomaly`")
                .hint("give the true classes with `--truth FILE`"));
        }
        return classes::execute(global, &context, args.truth.as_deref(), &windows()?);
    }
    if args.truth.is_some() {
        return Err(StepError::usage("`--truth` belongs to `task: classify`")
            .hint("give the times of faults with `--scenarios FILE`"));
    }
    if let Some(scenarios) = args.scenarios.clone().or_else(|| scenarios_of(&context)) {
        return show(global, &evaluate(&context, &scenarios, &windows()?)?);
    }
    let rows = collect::tables::labels(&context.document, &context.base)?.ok_or_else(|| {
        StepError::usage(
            "neither the command line nor the document names a scenario log, and no table has labels",
        )
        .hint("add --scenarios FILE, or set the label column: sources.NAME.table.label")
    })?;
    show(global, &labelled::evaluate(&context.document, rows, &windows()?))
}

/// Shows the results of a run's model on the bundled sample, and the next command.
pub(crate) fn after_sample(
    global: &Global,
    context: &Context,
    sample: &Sample,
    run: &Path,
) -> Result<(), StepError> {
    let Some(scenarios) = scenarios_of(context).filter(|_| global.output() == OutputFormat::Text)
    else {
        return Ok(());
    };
    let mut windows = stored(context, sample.train_until, sample.score_until)?;
    let mut head = "scored the time after the training range, with its injected faults:";
    if deployment(run)
        .is_some_and(|deployed| windows.iter().all(|it| it.version != deployed.version))
    {
        let again = again(context, sample, run)?;
        if again.is_empty() {
            head = "the previous live model scored the time after the training range:";
        } else {
            windows = again;
            head = "verdicts of this model on the time after the training range, with its injected faults (in the\n\
                store each window keeps the score of the model that was live then):";
        }
    }
    print(&format!("\n{head}\n"))?;
    show(global, &evaluate(context, &scenarios, &windows)?)?;
    let (url, name) = (&context.store.url, &context.document.name);
    print(&format!("\nscores  {url}/scores/{name}\nmodels  {url}/models/{name}\n"))?;
    let metrics = context.document.sources.get("metrics");
    let next = if metrics.is_some_and(|metrics| !metrics.queries.is_empty()) {
        format!(
            "lynceus run {name} --set sources.metrics.prometheus.url=http://your-prometheus:9090"
        )
    } else {
        format!("change `sources` in {name}.yaml to your own data, then lynceus run {name}")
    };
    print(&format!("next    {next}\n"))
}

fn scenarios_of(context: &Context) -> Option<PathBuf> {
    context.document.labels.scenarios.as_ref().map(|path| below(&context.base, path))
}

/// Scores the sample's windows with a run's bundle; none if their features are not kept locally.
fn again(context: &Context, sample: &Sample, run: &Path) -> Result<Vec<WindowScore>, StepError> {
    let mut windows: BTreeMap<Timestamp, WindowScore> = BTreeMap::new();
    for shard in context.document.shards.all() {
        let path = pipeline_path(&context.document, shard);
        let place = shard.map_or_else(|| run.to_owned(), |shard| run.join(shard.part()));
        let features = tick_files::features(&context.store.root, &path, sample.score_until);
        let Some(features) = features else { continue };
        let bundle = Bundle::read(&place.join("select/bundle"))?;
        let mut scorer = rescore::Scorer::going_on(&bundle, sample.train_until, 1);
        rescore::for_each(&mut scorer, &features, |window| {
            let window = window.clone();
            let whole = match windows.remove(&window.time) {
                Some(before) => store::whole::joined(before, window),
                None => window,
            };
            windows.insert(whole.time, whole);
        })?;
    }
    Ok(windows.into_values().collect())
}

/// Returns the scores of a range.
fn stored(
    context: &Context,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<WindowScore>, StepError> {
    check_range(from, to)?;
    let store = context.store.open()?;
    let whole = store::Whole::open(store.as_ref(), &context.document.name)?;
    let windows: Vec<WindowScore> = whole.read_after(Some(from), to).collect::<Result<_, _>>()?;
    if windows.is_empty() {
        return Err(StepError::refused(format!("no window between {from} and {to} was scored"))
            .hint(format!("score it with: lynceus score {}", context.document.name)));
    }
    Ok(windows)
}

fn evaluate(
    context: &Context,
    scenarios: &Path,
    windows: &[WindowScore],
) -> Result<Evaluation, StepError> {
    let labels = label::read(scenarios, &context.document.labels)?;
    let scenarios = found(windows, &labels, context.document.labels.guard);
    let delays: Vec<Option<f64>> = scenarios.iter().map(|found| found.delay_seconds).collect();
    Ok(Evaluation {
        windows: windows.len(),
        figures: figures(windows, &labels, &delays, context.document.step),
        parts: Parts::of(windows, &labels, &scenarios),
        scenarios,
        labels: Vec::new(),
    })
}

/// Returns the intervals that contain a verdict.
fn intervals<'a>(
    labels: &'a [LabelInterval],
    entities: &'a [String],
    time: Timestamp,
    entity: &'a str,
) -> impl Iterator<Item = &'a LabelInterval> {
    labels.iter().filter(move |interval| {
        let meant = interval.target == entity || !entities.contains(&interval.target);
        time > interval.start && time <= interval.end && meant
    })
}

/// Returns the verdicts that count (outside of guard bands and with data), each with the intervals
/// that contain it.
fn counting<'a>(
    windows: &'a [WindowScore],
    labels: &'a [LabelInterval],
    entities: &'a [String],
) -> impl Iterator<Item = (&'a EntityScore, Vec<&'a LabelInterval>)> {
    let scores = windows
        .iter()
        .flat_map(|window| window.entities.iter().map(move |score| (window.time, score)));
    scores
        .filter(|(_, score)| score.verdict != Verdict::NoData)
        .map(move |(time, score)| {
            (score, intervals(labels, entities, time, &score.entity).collect::<Vec<_>>())
        })
        .filter(|(_, inside)| !inside.iter().any(|interval| interval.guard))
}

fn entities(windows: &[WindowScore]) -> Vec<String> {
    let names =
        windows.iter().flat_map(|window| &window.entities).map(|score| score.entity.clone());
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Returns the metrics of [`measure::figures`], with `false_episodes` and `normal_days`.
fn figures(
    windows: &[WindowScore],
    labels: &[LabelInterval],
    delays: &[Option<f64>],
    step: Span,
) -> BTreeMap<String, Option<f64>> {
    let entities = entities(windows);
    let mut counted = Counted::default();
    for (score, inside) in counting(windows, labels, &entities) {
        counted.entities.push(score.entity.as_str());
        counted.scores.push(report::ranking::rank(score));
        counted.alarms.push(score.verdict == Verdict::Anomalous);
        counted.anomalous.push(!inside.is_empty());
    }
    figures_of(&counted, delays, step)
}

/// Returns the metrics of the rows that count.
fn figures_of(
    counted: &Counted<&str>,
    delays: &[Option<f64>],
    step: Span,
) -> BTreeMap<String, Option<f64>> {
    let normal = counted.anomalous.iter().filter(|anomalous| !**anomalous).count();
    let rows = counted.entities.iter().zip(&counted.alarms).zip(&counted.anomalous);
    let episodes = Episodes::of(rows.map(|((entity, alarm), odd)| (*entity, *alarm, *odd)));
    let mut figures = measure::figures(counted, delays, step);
    figures.insert("false_episodes".to_owned(), episodes.without_event as f64);
    figures.insert("normal_days".to_owned(), normal as f64 * step.seconds() / 86_400.0);
    let mut named: BTreeMap<String, Option<f64>> = USUAL.map(|name| (name.to_owned(), None)).into();
    named.extend(figures.into_iter().map(|(name, value)| (name, Some(value))));
    named
}

/// Returns for each scenario whether there was an alarm between its start and end, guard bands
/// included: a guard band excludes rows from the metrics, but not alarms from detection.
fn found(windows: &[WindowScore], labels: &[LabelInterval], guard: Span) -> Vec<Found> {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Vec::new() };
    let entities = entities(windows);
    let whole = labels.iter().filter_map(|interval| whole(interval, labels, guard));
    let of = |scenario: LabelInterval| {
        let holds = |time, score: &EntityScore| {
            intervals(std::slice::from_ref(&scenario), &entities, time, &score.entity)
                .next()
                .is_some()
        };
        let scores = windows
            .iter()
            .flat_map(|window| window.entities.iter().map(|score| (window.time, score)));
        let anomalous: Vec<(Timestamp, &EntityScore)> = scores
            .filter(|(time, score)| score.verdict == Verdict::Anomalous && holds(*time, score))
            .collect();
        Found {
            delay_seconds: anomalous.first().map(|(time, _)| (*time - scenario.start).seconds()),
            causes: causes(&anomalous),
            scenario: scenario.scenario.clone(),
            label: scenario.label.clone(),
            target: scenario.target.clone(),
            guarded: scenario.guard,
        }
    };
    whole
        .filter(|scenario| scenario.end > first.time && scenario.start < last.time)
        .map(of)
        .collect()
}

/// Returns the scenario of an interval with its true start and end: the time between its guard
/// bands, or the single band if no time is left between them.
fn whole(interval: &LabelInterval, labels: &[LabelInterval], guard: Span) -> Option<LabelInterval> {
    let same = |other: &&LabelInterval| other.scenario == interval.scenario;
    if !interval.guard {
        let (start, end) = (interval.start - guard, interval.end + guard);
        return Some(LabelInterval { start, end, ..interval.clone() });
    }
    // A transition is a separate band without guard bands, and not a scenario.
    let alone = labels.iter().filter(same).count() == 1 && interval.label != label::TRANSITION;
    let (start, end) = (interval.start + guard, interval.end - guard);
    alone.then(|| LabelInterval { start, end, ..interval.clone() })
}

/// Returns the three features with the largest shares over all windows.
fn causes(anomalous: &[(Timestamp, &EntityScore)]) -> Vec<String> {
    let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
    for cause in anomalous.iter().flat_map(|(_, score)| &score.causes) {
        *shares.entry(cause.feature.as_str()).or_default() += cause.share;
    }
    let mut order: Vec<(&str, f64)> = shares.into_iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    order.into_iter().take(3).map(|(name, _)| name.to_owned()).collect()
}

fn show(global: &Global, evaluation: &Evaluation) -> Result<(), StepError> {
    if global.output() == OutputFormat::Json {
        return print_json(evaluation);
    }
    let mut rows =
        vec![["scenario", "", "after", "most telling features"].map(str::to_owned).to_vec()];
    rows.extend(evaluation.scenarios.iter().map(|found| {
        let after = found.delay_seconds.map(units::seconds);
        let word = if after.is_some() { "found" } else { "not found" };
        let word = if found.guarded { format!("{word} *") } else { word.to_owned() };
        vec![found.label.clone(), word, after.unwrap_or_default(), found.causes.join(", ")]
    }));
    let figure = |name: &str| evaluation.figures.get(name).copied().flatten();
    let shown = |name: &str, digits: usize| {
        figure(name).map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let mut text = if !evaluation.labels.is_empty() {
        labelled::table_of(&evaluation.labels)
    } else if evaluation.scenarios.is_empty() {
        "there is no scenario in these windows\n".to_owned()
    } else {
        table(&rows)
    };
    if evaluation.scenarios.iter().any(|found| found.guarded) {
        text.push_str("* labels.guard excludes all its windows from the metrics below\n");
    }
    text.extend(evaluation.parts.tables());
    text.push_str(&format!(
        "\n{} windows: precision {}, recall {}, F1 {}, ROC-AUC {}, average precision {}\n",
        evaluation.windows,
        shown("precision", 2),
        shown("recall", 2),
        shown("f1", 2),
        shown("roc_auc", 3),
        shown("average_precision", 3)
    ));
    if let [Some(low), Some(high)] = ["f1_low", "f1_high"].map(figure) {
        text.push_str(&format!("95 % confidence interval of F1: {low:.2} to {high:.2}\n"));
    }
    let episodes = models::reference::whole(figure("false_episodes").unwrap_or_default());
    text.push_str(&format!(
        "{} began outside a fault; in the {} between faults {} of the windows were alarmed\n",
        units::counted(episodes as u64, "alarm"),
        units::seconds(86_400.0 * figure("normal_days").unwrap_or_default()),
        figure("false_alarm_ratio").map_or("-".to_owned(), units::percent)
    ));
    print(&text)
}
