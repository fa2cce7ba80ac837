//! The flags of `report`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::option;
use crate::Timestamp;
use crate::step::{Common, Port, Stage, StepArgs};

/// Flags of `report`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct ReportArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Show the run in this folder; give a training run and a scoring run to see both on one page
    #[arg(long, value_name = "DIR", required_unless_present = "store")]
    pub run: Vec<PathBuf>,
    /// Show the scores and model switches in this store
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Show scores of windows that end after this time, instead of one day before `--to`
    #[arg(long, value_name = "TIME", requires = "store")]
    pub from: Option<Timestamp>,
    /// Show scores of windows that end at or before this time, instead of up to `--now`
    #[arg(long, value_name = "TIME", requires = "store")]
    pub to: Option<Timestamp>,
    /// Read the labels to evaluate scores against from this Parquet file instead of from a run
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Also show the features in these files, after those of the runs; each tick of scoring writes
    /// one
    #[arg(long, value_name = "FILE")]
    pub features: Vec<PathBuf>,
    /// Show the messages in these files; `alert` writes one per tick
    #[arg(long, value_name = "FILE")]
    pub messages: Vec<PathBuf>,
    /// Show the differences from the run in this folder: in the document, and in the data of the
    /// model
    #[arg(long, value_name = "DIR")]
    pub previous: Option<PathBuf>,
    /// Evaluation time, shown on the page as its creation time
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Write the page to this HTML file
    #[arg(long, value_name = "FILE")]
    pub report: PathBuf,
    /// Write the first figure of the scores to this SVG file
    #[arg(long, value_name = "FILE", requires = "store")]
    pub picture: Option<PathBuf>,
    /// Write the page's tables to this folder, each as CSV and as JSON
    #[arg(long, value_name = "DIR")]
    pub tables: Option<PathBuf>,
    /// Write `run.json` and the document of the run in `--run` to this folder: in a cluster no
    /// runner writes them. `--now` is then the start of the run
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// Name of the run, instead of its folder's name
    #[arg(long, value_name = "NAME", requires = "record")]
    pub run_name: Option<String>,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

impl StepArgs for ReportArgs {
    const STAGE: Stage = Stage::Report;
    const EXAMPLE: &'static str = "lynceus step report --document cluster.yaml --run run --report report.html --now 2026-11-21T08:36:00Z";

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("document", &self.document)];
        ports.extend(self.run.iter().map(|path| Port::new("run", path)));
        ports.extend(option("labels", self.labels.as_ref()));
        ports.extend(self.features.iter().map(|path| Port::new("features", path)));
        ports.extend(self.messages.iter().map(|path| Port::new("messages", path)));
        ports.extend(option("previous", self.previous.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("report", &self.report)];
        ports.extend(option("picture", self.picture.as_ref()));
        ports.extend(option("tables", self.tables.as_ref()));
        ports.extend(option("record", self.record.as_ref()));
        ports
    }
}
