//! `lynceus evaluate`: scores of a time range against a scenario log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::score::{EntityScore, Verdict, WindowScore};
use contract::{Span, StepError, Timestamp};
use document::document::Sample;
use frames::LabelInterval;
use models::measure::{self, Counted};
use models::quality::Episodes;
use serde::Serialize;

use super::context::{Context, DocumentArgs};
use super::{Global, OutputFormat, print, print_json};
use crate::run::{human_seconds, table};

/// Flags of `lynceus evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct EvaluateArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Scenario log (CSV: start,end,label,target) [default: the document's]
    #[arg(long, value_name = "FILE")]
    scenarios: Option<PathBuf>,
    /// Evaluate windows that end after this time
    #[arg(long, value_name = "TIME")]
    from: Timestamp,
    /// Evaluate windows that end at or before this time
    #[arg(long, value_name = "TIME")]
    to: Timestamp,
}

/// What the scores of a time range are worth.
#[derive(Debug, Serialize)]
struct Evaluation {
    windows: usize,
    figures: BTreeMap<String, f64>,
    scenarios: Vec<Found>,
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
}

pub(crate) fn execute(global: &Global, args: &EvaluateArgs) -> Result<(), StepError> {
    let context = Context::new(global, &args.document)?;
    let scenarios = args.scenarios.clone().or_else(|| scenarios_of(&context)).ok_or_else(|| {
        StepError::usage("neither the command line nor the document names a scenario log")
            .hint("add --scenarios FILE")
    })?;
    show(global, &evaluate(&context, &scenarios, args.from, args.to)?)
}

/// Shows what the scores of the bundled sample are worth, and what to do next.
pub(crate) fn after_sample(
    global: &Global,
    context: &Context,
    sample: &Sample,
) -> Result<(), StepError> {
    let Some(scenarios) = scenarios_of(context) else { return Ok(()) };
    let evaluation = evaluate(context, &scenarios, sample.train_until, sample.score_until)?;
    if global.output == OutputFormat::Json {
        return Ok(());
    }
    print("\nscored what follows the training range, with its injected faults:\n")?;
    show(global, &evaluation)?;
    let (url, name) = (&context.store.url, &context.document.name);
    print(&format!(
        "\nscores  {url}/scores/{name}\nmodels  {url}/models/{name}\nnext    lynceus run {name} --set source.prometheus.url=http://your-prometheus:9090\n"
    ))
}

fn scenarios_of(context: &Context) -> Option<PathBuf> {
    context.document.labels.scenarios.as_ref().map(|path| context.base.join(path))
}

fn evaluate(
    context: &Context,
    scenarios: &Path,
    from: Timestamp,
    to: Timestamp,
) -> Result<Evaluation, StepError> {
    let labels = label::read(scenarios, &context.document.labels)?;
    let store = context.store.open()?;
    let windows = store::scores::read_after(store.as_ref(), &context.document.name, Some(from), to);
    let windows: Vec<WindowScore> = windows.collect::<Result<_, _>>()?;
    if windows.is_empty() {
        return Err(StepError::refused(format!("no window between {from} and {to} was scored"))
            .hint(format!("lynceus score {} does it", context.document.name)));
    }
    let scenarios = found(&windows, &labels, context.document.labels.guard);
    let delays: Vec<Option<f64>> = scenarios.iter().map(|found| found.delay_seconds).collect();
    Ok(Evaluation {
        windows: windows.len(),
        figures: figures(&windows, &labels, &delays, context.document.step),
        scenarios,
    })
}

/// Returns the intervals that a verdict falls into.
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

fn entities(windows: &[WindowScore]) -> Vec<String> {
    let names =
        windows.iter().flat_map(|window| &window.entities).map(|score| score.entity.clone());
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Returns the figures of [`measure::figures`], with `false_episodes` and `normal_days`.
fn figures(
    windows: &[WindowScore],
    labels: &[LabelInterval],
    delays: &[Option<f64>],
    step: Span,
) -> BTreeMap<String, f64> {
    let entities = entities(windows);
    let mut counted = Counted::default();
    for window in windows {
        for score in &window.entities {
            let inside: Vec<_> = intervals(labels, &entities, window.time, &score.entity).collect();
            let guarded = inside.iter().any(|interval| interval.guard);
            if guarded || score.verdict == Verdict::NoData {
                continue;
            }
            counted.entities.push(score.entity.as_str());
            counted.scores.push(report::ranking::rank(score));
            counted.alarms.push(score.verdict == Verdict::Anomalous);
            counted.anomalous.push(!inside.is_empty());
        }
    }
    let normal = counted.anomalous.iter().filter(|anomalous| !**anomalous).count();
    let rows = counted.entities.iter().zip(&counted.alarms).zip(&counted.anomalous);
    let episodes = Episodes::of(rows.map(|((entity, alarm), odd)| (*entity, *alarm, *odd)));
    let mut figures = measure::figures(&counted, delays, step);
    figures.insert("false_episodes".to_owned(), episodes.without_event as f64);
    figures.insert("normal_days".to_owned(), normal as f64 * step.seconds() / 86_400.0);
    figures
}

/// Returns for each scenario whether an alarm came between its own start and end, guard bands or
/// not: a band keeps rows out of the figures, but an alarm in it is an alarm.
fn found(windows: &[WindowScore], labels: &[LabelInterval], guard: Span) -> Vec<Found> {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Vec::new() };
    let entities = entities(windows);
    let known = labels.iter().filter(|interval| !interval.guard);
    let whole = known.map(|known| LabelInterval {
        start: known.start - guard,
        end: known.end + guard,
        ..known.clone()
    });
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
        }
    };
    whole
        .filter(|scenario| scenario.end > first.time && scenario.start < last.time)
        .map(of)
        .collect()
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
    if global.output == OutputFormat::Json {
        return print_json(evaluation);
    }
    let mut rows =
        vec![["scenario", "", "after", "most telling features"].map(str::to_owned).to_vec()];
    rows.extend(evaluation.scenarios.iter().map(|found| {
        let after = found.delay_seconds.map(human_seconds);
        let word = if after.is_some() { "found" } else { "not found" };
        vec![
            found.label.clone(),
            word.to_owned(),
            after.unwrap_or_default(),
            found.causes.join(", "),
        ]
    }));
    let figure = |name: &str| evaluation.figures.get(name).copied().unwrap_or(0.0);
    let mut text = table(&rows);
    text.push_str(&format!(
        "\n{} windows: precision {:.2}, recall {:.2}, F1 {:.2}, ROC-AUC {:.3}, average precision {:.3}\n",
        evaluation.windows,
        figure("precision"),
        figure("recall"),
        figure("f1"),
        figure("roc_auc"),
        figure("average_precision")
    ));
    if let [Some(low), Some(high)] = ["f1_low", "f1_high"].map(|name| evaluation.figures.get(name))
    {
        text.push_str(&format!(
            "with other windows of the same kind F1 would lie between {low:.2} and {high:.2} in 95 of 100 cases\n"
        ));
    }
    text.push_str(&format!(
        "{} alarms began outside a fault; in the {} between faults {:.1} % of the windows were alarmed\n",
        figure("false_episodes"),
        human_seconds(86_400.0 * figure("normal_days")),
        100.0 * figure("false_alarm_ratio")
    ));
    print(&text)
}
