//! `lynceus document`: prints the document in the form that commands use.

use std::path::{Path, PathBuf};

use ::document::Changes;
use contract::StepError;

use super::{Global, OutputFormat, print, print_json};
use crate::find;

/// Flags of `lynceus document`.
#[derive(Debug, clap::Args)]
pub(crate) struct DocumentCommand {
    /// Pipeline: the name or the path of a document
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Apply this partial document over the document; may be repeated
    #[arg(long, value_name = "FILE")]
    overlay: Vec<PathBuf>,
    /// Set a field of the document, as in `vote.alarm_at=0.6`; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Use the bundled recorded sample instead of the sources
    #[arg(long)]
    sample: bool,
}

pub(crate) fn execute(global: &Global, args: &DocumentCommand) -> Result<(), StepError> {
    let found = find::document(&args.pipeline, &global.pipelines)?;
    let sample = args.sample.then(|| find::sample(&found)).transpose()?;
    let overlays = sample.iter().chain(&args.overlay).map(PathBuf::as_path).collect::<Vec<&Path>>();
    let sets = args.set.iter().map(String::as_str).collect();
    let document = ::document::read_with(&found.path, &Changes { overlays, sets })?;
    match global.output() {
        OutputFormat::Json => print_json(&document),
        OutputFormat::Text => print(&::document::to_yaml(&document)?),
    }
}
