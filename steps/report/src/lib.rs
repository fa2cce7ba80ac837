//! `report`: makes one page about a run and the scores.
//!
//! The page is a single HTML file without scripts or external resources; figures are SVG. The same
//! inputs and flags give the same bytes. Missing parts of a run are listed on the page, so a
//! refused or killed run also has a report.

pub mod alarms;
pub mod axis;
pub mod chart;
pub mod classify;
pub mod compare;
pub mod contents;
pub mod curves;
pub mod document_fields;
pub mod drift;
pub mod envelope;
pub mod features;
pub mod figures;
pub mod graph;
pub mod ground_truth;
pub mod messages;
pub mod page;
pub mod ranking;
mod record;
pub mod rescore;
pub mod runs;
pub mod scores;
pub mod tables;
pub mod units;
pub mod windows;
pub mod zone;

use contract::steps::ReportArgs;
use contract::{Outcome, StepError, artifact};

pub use crate::compare::{Comparison, compare};

/// Runs the step.
///
/// Errors: usage for a run, store, document or labels file that does not exist and for a range
/// without windows, refused for one that cannot be read. Missing or broken files *inside* a run are
/// not errors.
pub fn run(args: &ReportArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::sections::Report::read(&args.document)?;
    if document.classification().is_some() {
        return classify::run(args, document, outcome);
    }
    let contents = contents::read(args)?;
    let page = page::page(&contents)?;
    for note in &contents.notes {
        outcome.warn(note.clone());
    }
    outcome.count("runs", contents.runs.len());
    outcome.count("page_bytes", page.html.len());
    if let Some(scored) = &contents.scored {
        outcome.count("windows", usize::try_from(scored.history.windows).unwrap_or(usize::MAX));
        outcome.count("alarms", scored.history.alarms().len());
    }
    if let (Some(folder), Some(run)) = (&args.record, contents.runs.last()) {
        record::write(folder, run, &args.document, args.now)?;
    }
    if let Some(folder) = &args.tables {
        tables::write(folder, &page.tables)?;
    }
    if let Some(path) = &args.picture {
        artifact::write_file(path, page::picture(&contents)?.as_bytes())?;
    }
    artifact::write_file(&args.report, page.html.as_bytes())
}
