//! `lynceus source`: checks the sources of a pipeline.

use collect::check::{Checked, Finding, Status, check, counts};
use contract::{ErrorKind, StepError, Timestamp};
use document::sections::Collect;

use super::context::{Context, DocumentArgs, clock};
use super::{Global, OutputFormat, print, print_json, say};
use crate::run::table;

/// What to do with sources.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SourceCommand {
    /// Check each source: whether it is reachable and authorised, which queries have data, how many
    /// series, and how far back they reach
    #[command(after_help = "Example: lynceus source check cluster")]
    Check(CheckArgs),
}

/// Flags of `lynceus source check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Use this evaluation time instead of the clock
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

pub(crate) fn execute(global: &Global, command: &SourceCommand) -> Result<(), StepError> {
    let SourceCommand::Check(args) = command;
    let context = Context::new(global, &args.document)?;
    let document = Collect::from(context.document.clone());
    let sample = args.document.sample.then(|| context.sample()).transpose()?;
    let now = args.now.or(sample.map(|sample| sample.score_until)).unwrap_or_else(clock);
    let work = context.store.root.join("work");
    let findings = check(Checked {
        document: &document,
        folder: &context.base,
        data: &std::collections::BTreeMap::new(),
        store: &context.store.url,
        work: &work,
        now,
    });
    match global.output() {
        OutputFormat::Json => print_json(&findings)?,
        OutputFormat::Text => print(&text(&findings))?,
    }
    verdict(&findings)?;
    if context.has_open_shards {
        let (entities, shards) = context.fitting_shards(now)?;
        say(&format!("`shards.count: auto`: {shards}, for {entities} entities"));
    }
    Ok(())
}

fn text(findings: &[Finding]) -> String {
    let head = ["source", "kind", "query", "status", "series", "last", "since", "note"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |t| t.to_string());
    for finding in findings {
        let status = match finding.status {
            Status::Ok => "ok",
            Status::Partial => "partial",
            Status::Empty => "empty",
            Status::Failed => "failed",
        };
        rows.push(vec![
            finding.source.clone(),
            finding.kind.clone(),
            finding.query.clone(),
            status.to_owned(),
            finding.series.to_string(),
            time(finding.last),
            time(finding.since),
            finding.note.clone(),
        ]);
    }
    let counted: Vec<String> =
        counts(findings).into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    format!("{}\n{}\n", table(&rows), counted.join(", "))
}

/// Most queries in the error message.
const SHOWN_FAILURES: usize = 5;

/// Returns a query's name with the name of its source; for a source without queries only the
/// source's name.
fn named(finding: &Finding) -> String {
    match finding.query.as_str() {
        "" => format!("`{}`", finding.source),
        query => format!("`{}.{query}`", finding.source),
    }
}

/// Returns an error if a source does not answer, or if no source has a value.
fn verdict(findings: &[Finding]) -> Result<(), StepError> {
    let failed: Vec<&Finding> =
        findings.iter().filter(|finding| finding.status == Status::Failed).collect();
    let useful = findings.iter().any(|it| matches!(it.status, Status::Ok | Status::Partial));
    if failed.is_empty() {
        return if useful {
            Ok(())
        } else {
            Err(StepError::refused("no query has a value").hint(
                "compare the metric names and labels of the queries with those of the source",
            ))
        };
    }
    // A retry does not help with a query that cannot be parsed.
    let is_usage = failed.iter().any(|finding| finding.failure == Some(ErrorKind::Usage));
    let kind = if is_usage { ErrorKind::Usage } else { ErrorKind::Unavailable };
    let names: Vec<String> = failed.iter().take(SHOWN_FAILURES).map(|it| named(it)).collect();
    let more = if failed.len() > SHOWN_FAILURES { ", ..." } else { "" };
    let (count, all) = (failed.len(), findings.len());
    Err(StepError::new(
        kind,
        format!("{count} of {all} queries failed: {}{more}", names.join(", ")),
    )
    .hint("the last column of the table says why"))
}
