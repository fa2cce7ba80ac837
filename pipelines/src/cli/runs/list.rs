//! `lynceus runs list`: lists the runs of a store with the metrics of their models.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use contract::{StepError, units};

use super::super::context::StorePlace;
use super::super::{Global, OutputFormat, print, print_json};
use crate::find;
use crate::run::{RunRecord, table};

/// Metrics that are shown by default, if a run has them.
const USUAL: [&str; 10] = [
    "test.f1",
    "test.roc_auc",
    "test.average_precision",
    "test.false_alarm_ratio",
    "held_out.balanced_accuracy",
    "test_table.f1",
    "test_table.roc_auc",
    "test_table.average_precision",
    "test_table.false_alarm_ratio",
    "test_table.accuracy",
];

/// Sort key other than a metric.
const STARTED: &str = "started";
const SECONDS: &str = "seconds";

/// Flags of `lynceus runs list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Name of the pipeline [default: all]
    pipeline: Option<String>,
    /// Show this metric of each run, as in `test.f1`, instead of the usual ones; may be repeated
    #[arg(long = "metric", value_name = "METRIC")]
    metrics: Vec<String>,
    /// Sort by a metric or by `seconds`, highest first, runs without it last; or by `started`,
    /// oldest first
    #[arg(long, value_name = "METRIC", default_value = STARTED)]
    sort: String,
    /// Reverse the order; runs without the metric stay last
    #[arg(long)]
    reverse: bool,
    /// Show only runs with this tag: its name, or NAME=VALUE; may be repeated
    #[arg(long = "tag", value_name = "NAME[=VALUE]")]
    tags: Vec<String>,
}

pub(super) fn execute(
    global: &Global,
    store: &StorePlace,
    args: &ListArgs,
) -> Result<(), StepError> {
    let names = match &args.pipeline {
        Some(name) => vec![name.clone()],
        None => store.pipelines()?,
    };
    let mut runs: Vec<RunRecord> = Vec::new();
    for name in &names {
        runs.extend(store.runs(name)?.into_iter().map(|(folder, mut record)| {
            // Earlier versions of Lynceus did not store the metrics in the record.
            if record.metrics.is_empty() && record.is_training() {
                record.metrics = RunRecord::metrics_of(&folder);
            }
            record
        }));
    }
    if let Some(name) = args.pipeline.as_deref().filter(|_| runs.is_empty()) {
        find::known(name, &global.pipelines)?;
    }
    check(&runs, args)?;
    runs.retain(|run| args.tags.iter().all(|tag| has_tag(run, tag)));
    sort(&mut runs, args);
    if global.output() == OutputFormat::Json {
        return print_json(&runs);
    }
    print(&text(&runs, args))
}

/// Checks that at least one run has each requested metric.
fn check(runs: &[RunRecord], args: &ListArgs) -> Result<(), StepError> {
    let known: BTreeSet<&str> =
        runs.iter().flat_map(|run| run.metrics.keys().map(String::as_str)).collect();
    let is_no_figure = |name: &&String| ![STARTED, SECONDS].contains(&name.as_str());
    let asked = args.metrics.iter().chain(Some(&args.sort).filter(is_no_figure));
    for name in asked.filter(|_| !runs.is_empty()) {
        if !known.contains(name.as_str()) {
            let closest = document::closest(name, known.iter().copied());
            let meant =
                closest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default();
            let known: Vec<&str> = known.into_iter().collect();
            return Err(StepError::usage(format!("no run has a metric `{name}`{meant}"))
                .hint(format!("metrics: {STARTED}, {SECONDS}, {}", known.join(", "))));
        }
    }
    Ok(())
}

fn has_tag(run: &RunRecord, asked: &str) -> bool {
    match asked.split_once('=') {
        Some((name, value)) => run.tags.get(name).is_some_and(|found| found == value),
        None => run.tags.contains_key(asked),
    }
}

/// Sorts the runs, which are in the order in which they were started within a pipeline.
fn sort(runs: &mut [RunRecord], args: &ListArgs) {
    if args.sort == STARTED {
        if args.reverse {
            runs.reverse();
        }
        return;
    }
    let value = |run: &RunRecord| match args.sort.as_str() {
        SECONDS => Some(run.seconds),
        name => run.metrics.get(name).copied(),
    };
    runs.sort_by(|a, b| match (value(a), value(b)) {
        (Some(a), Some(b)) if args.reverse => a.total_cmp(&b),
        (Some(a), Some(b)) => b.total_cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    });
}

fn text(runs: &[RunRecord], args: &ListArgs) -> String {
    let is_there = |name: &&str| runs.iter().any(|run| run.metrics.contains_key(*name));
    let mut metrics: Vec<&str> = match args.metrics.as_slice() {
        [] => USUAL.into_iter().filter(is_there).collect(),
        named => named.iter().map(String::as_str).collect(),
    };
    // The metric by which runs are sorted is shown.
    if is_there(&args.sort.as_str()) && !metrics.contains(&args.sort.as_str()) {
        metrics.push(&args.sort);
    }
    let (tags, notes) =
        (runs.iter().any(|run| !run.tags.is_empty()), runs.iter().any(|run| run.note.is_some()));
    let mut head = vec!["pipeline", "run", "status", "now", "time"];
    head.extend(&metrics);
    head.extend(tags.then_some("tags"));
    head.extend(notes.then_some("note"));
    let mut rows = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    rows.extend(runs.iter().map(|run| {
        let mut row = vec![
            run.pipeline.clone(),
            run.run.clone(),
            format!("{:?}", run.status).to_lowercase(),
            run.now.to_string(),
            units::seconds(run.seconds),
        ];
        let figure = |name: &&str| {
            run.metrics.get(*name).map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
        };
        row.extend(metrics.iter().map(figure));
        let pairs = run.tags.iter().map(|(name, value)| format!("{name}={value}"));
        row.extend(tags.then(|| pairs.collect::<Vec<_>>().join(", ")));
        row.extend(notes.then(|| run.note.clone().unwrap_or_default()));
        row
    }));
    table(&rows)
}
