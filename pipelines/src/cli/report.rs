//! `lynceus report`: writes a run, and the scores of a time range, as one page.

use std::path::{Path, PathBuf};

use contract::steps::ReportArgs as StepArgs;
use contract::{Outcome, Span, StepError, Timestamp};
use serde_json::json;

use super::context::{Context, DocumentArgs, clock};
use super::{Global, OutputFormat, print, print_json, runs};
use crate::run::{RunRecord, RunStatus, read_runs};
use crate::tick_files;

/// Flags of `lynceus report`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Show this run: its name, its beginning, or `last`
    #[arg(long, value_name = "RUN", default_value = "last")]
    run: String,
    /// Also show the scores of this long before `--to`
    #[arg(long, value_name = "DURATION")]
    last: Option<Span>,
    /// Show scores up to this time instead of the clock
    #[arg(long, value_name = "TIME", requires = "last")]
    to: Option<Timestamp>,
    /// Write the page here [default: report.html in the run's folder]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(crate) fn execute(global: &Global, args: &ReportArgs) -> Result<(), StepError> {
    let context = Context::new(global, &args.document)?;
    let (run, _) = runs::find(&context.store, &context.document.name, &args.run)?;
    let to = args.to.unwrap_or_else(clock);
    let range = args.last.map(|last| (to - last, to));
    let page = args.report.clone().unwrap_or_else(|| run.join("report.html"));
    write(&context, &run, range, &page)?;
    match global.output() {
        OutputFormat::Json => print_json(&json!({"run": run, "page": page})),
        OutputFormat::Text => print(&format!("{}\n", page.display())),
    }
}

/// Writes the page of a run, with the scores of a range if there is one; each shard has its own
/// page in its folder.
pub(crate) fn write(
    context: &Context,
    run: &Path,
    range: Option<(Timestamp, Timestamp)>,
    page: &Path,
) -> Result<(), StepError> {
    for shard in context.document.shards.all().into_iter().flatten() {
        let folder = run.join(shard.part());
        if RunRecord::read(&folder).is_ok() {
            of_run(context, &folder, None, &folder.join("report.html"))?;
        }
    }
    of_run(context, run, range, page)
}

/// Writes the page of one run folder.
fn of_run(
    context: &Context,
    run: &Path,
    range: Option<(Timestamp, Timestamp)>,
    page: &Path,
) -> Result<(), StepError> {
    let record = RunRecord::read(run)?;
    let (root, pipeline) = (&context.store.root, &context.document.name);
    let ticks = |kind: &str| match range {
        Some((from, _)) => tick_files::files(root, pipeline, kind, Some(from.min(record.now))),
        None => Vec::new(),
    };
    let runs = read_runs(root, pipeline);
    let place = runs.iter().position(|(folder, _)| folder == run).unwrap_or(0);
    let trained = |(_, record): &&(PathBuf, RunRecord)| record.status == RunStatus::Done;
    let args = StepArgs {
        document: run.join("document.yaml"),
        run: vec![run.to_owned()],
        store: range.map(|_| context.store.url.clone()),
        from: range.map(|(from, _)| from),
        to: range.map(|(_, to)| to),
        labels: None,
        features: ticks(tick_files::FEATURES),
        messages: ticks(tick_files::MESSAGES),
        previous: runs[..place].iter().rev().find(trained).map(|(folder, _)| folder.clone()),
        now: range.map_or(record.now, |(_, to)| to),
        report: page.to_owned(),
        picture: range.map(|_| page.with_extension("svg")),
        tables: Some(page.with_extension("tables")),
        record: None,
        run_name: None,
        common: contract::step::Common::default(),
    };
    report::run(&args, &mut Outcome::start("report"))
}
