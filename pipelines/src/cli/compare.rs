//! `lynceus compare`: compares runs side by side.

use std::path::{Path, PathBuf};

use contract::StepError;

use super::context::StorePlace;
use super::{Global, OutputFormat, print, print_json, runs};
use crate::run::table;
use crate::tick_files;

/// Flags of `lynceus compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Name of the pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Runs, the one to compare with first: their names, their beginnings, `previous`,
    /// `last`, or their folders
    #[arg(value_name = "RUN", num_args = 2..=6, required = true)]
    runs: Vec<String>,
    /// Also write the comparison as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn execute(global: &Global, args: &CompareArgs) -> Result<(), StepError> {
    let store = StorePlace::new(&global.store)?;
    let folders: Vec<PathBuf> =
        args.runs.iter().map(|run| find(&store, &args.pipeline, run)).collect::<Result<_, _>>()?;
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let features = tick_files::files(&store.root, &args.pipeline, tick_files::FEATURES, None);
    let features: Vec<&Path> = features.iter().map(PathBuf::as_path).collect();
    let comparison = report::compare(&folders, &features)?;
    if let Some(page) = &args.html {
        comparison.write(page)?;
    }
    if global.output() == OutputFormat::Json {
        return print_json(&comparison.json());
    }
    let mut text = format!("{}\n", comparison.summary);
    for (caption, rows) in comparison.text() {
        text.push_str(&format!("\n{caption}\n{}", table(&rows)));
    }
    if let Some(page) = &args.html {
        text.push_str(&format!("\npage  {}\n", page.display()));
    }
    print(&text)
}

/// Finds the folder of a run.
fn find(store: &StorePlace, pipeline: &str, run: &str) -> Result<PathBuf, StepError> {
    if Path::new(run).join("run.json").exists() {
        return Ok(PathBuf::from(run));
    }
    runs::find(store, pipeline, run).map(|(folder, _)| folder)
}
