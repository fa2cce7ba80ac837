//! The typed flags of every step.
//!
//! The step parses the struct, the runner and the manifest generator build the same struct and
//! print it back to a command line ([`StepCommand::command_line`]): a renamed flag stops the
//! compiler, not the cluster.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::step::{Common, Port, Stage, StepArgs, command_line, parameters};
use crate::{StepError, Timestamp};

/// Flags of `collect`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct CollectArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Write the samples to this Parquet file
    #[arg(long, value_name = "FILE")]
    pub samples: PathBuf,
    /// Take this as the present: the range ends at its last whole step
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Start after this time instead of the document's `range` before the end
    #[arg(long, value_name = "TIME", conflicts_with = "store")]
    pub start: Option<Timestamp>,
    /// Collect for scoring: start at the watermark in this store, minus the features' lookback
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Read the document's recording or table from here
    #[arg(long, value_name = "PATH")]
    pub source: Option<PathBuf>,
    /// Keep the source's replies in this folder, for the source kind `recording`
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

/// Flags of `label`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct LabelArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the scenario log (CSV: start,end,label,target) from this file
    #[arg(long, value_name = "FILE")]
    pub scenarios: PathBuf,
    /// Write the labels to this Parquet file
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

/// Flags of `feature`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct FeatureArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the samples from this Parquet file
    #[arg(long, value_name = "FILE")]
    pub samples: PathBuf,
    /// Read labels from this Parquet file
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Write the features to this Parquet file
    #[arg(long, value_name = "FILE")]
    pub features: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

/// Flags of `validate`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct ValidateArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the features from this Parquet file
    #[arg(long, value_name = "FILE")]
    pub features: PathBuf,
    /// Write the split data set to this folder
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Write what was expected and found to this JSON file
    #[arg(long, value_name = "FILE")]
    pub validation: PathBuf,
    /// Take this as the present, for the freshness of the data
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

/// Flags of `train`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct TrainArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the split data set from this folder
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Fit this model of the document: autoencoder, `isolation_forest`, `one_class_svm`, ...
    #[arg(long, value_name = "KIND")]
    pub model: String,
    /// Draw random numbers from this seed
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// Write the fitted model to this folder
    #[arg(long, value_name = "DIR")]
    pub candidate: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

/// Flags of `select`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct SelectArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the split data set from this folder
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Read a fitted model from this folder; once for each model of the vote
    #[arg(long, value_name = "DIR", required = true)]
    pub candidate: Vec<PathBuf>,
    /// Write the bundle to this folder
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

/// Flags of `deploy`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct DeployArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the bundle from this folder
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// Read the data set on which challenger and champion are compared from this folder
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Register in this store
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Take this as the present: the version is live from here on
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Write what was decided and why to this JSON file
    #[arg(long, value_name = "FILE")]
    pub deployment: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

/// Flags of `score`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct ScoreArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read the features from this Parquet file
    #[arg(long, value_name = "FILE")]
    pub features: PathBuf,
    /// Take the live bundle from this store, and write scores and watermark there
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Take this as the present: the windows up to it, minus the document's delay, are due
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Write which windows were scored, with the alarms, to this JSON file
    #[arg(long, value_name = "FILE")]
    pub scored: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

/// Flags of `alert`.
#[derive(Debug, Clone, PartialEq, Args, Serialize)]
pub struct AlertArgs {
    /// Read the pipeline document from this file
    #[arg(long, value_name = "FILE")]
    pub document: PathBuf,
    /// Read scores from this store, and keep there what was told
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Take this as the present, for cool-down and messages
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Come after the step that writes this file; the scores themselves are read from the store
    #[arg(long, value_name = "FILE")]
    pub scored: Option<PathBuf>,
    /// Write the messages sent to this JSON file
    #[arg(long, value_name = "FILE")]
    pub messages: PathBuf,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

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
    /// Read the labels to hold scores against from this Parquet file, instead of from a run
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Take this as the present, which the page says it was made at
    #[arg(long, value_name = "TIME")]
    pub now: Timestamp,
    /// Write the page to this HTML file
    #[arg(long, value_name = "FILE")]
    pub report: PathBuf,
    /// Write the page's tables to this folder, each as CSV and as JSON
    #[arg(long, value_name = "DIR")]
    pub tables: Option<PathBuf>,
    /// The flags every step has
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

fn option<'a>(name: &'static str, path: Option<&'a PathBuf>) -> impl Iterator<Item = Port<'a>> {
    path.into_iter().map(move |path| Port::new(name, path))
}

impl StepArgs for CollectArgs {
    const STAGE: Stage = Stage::Collect;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("document", &self.document)];
        ports.extend(option("source", self.source.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("samples", &self.samples)];
        ports.extend(option("record", self.record.as_ref()));
        ports
    }
}

impl StepArgs for LabelArgs {
    const STAGE: Stage = Stage::Label;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("document", &self.document), Port::new("scenarios", &self.scenarios)]
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("labels", &self.labels)]
    }
}

impl StepArgs for FeatureArgs {
    const STAGE: Stage = Stage::Feature;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports =
            vec![Port::new("document", &self.document), Port::new("samples", &self.samples)];
        ports.extend(option("labels", self.labels.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("features", &self.features)]
    }
}

impl StepArgs for ValidateArgs {
    const STAGE: Stage = Stage::Validate;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("document", &self.document), Port::new("features", &self.features)]
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("dataset", &self.dataset), Port::new("validation", &self.validation)]
    }
}

impl StepArgs for TrainArgs {
    const STAGE: Stage = Stage::Train;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("document", &self.document), Port::new("dataset", &self.dataset)]
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("candidate", &self.candidate)]
    }
}

impl StepArgs for SelectArgs {
    const STAGE: Stage = Stage::Select;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports =
            vec![Port::new("document", &self.document), Port::new("dataset", &self.dataset)];
        ports.extend(self.candidate.iter().map(|path| Port::new("candidate", path)));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("bundle", &self.bundle)]
    }
}

impl StepArgs for DeployArgs {
    const STAGE: Stage = Stage::Deploy;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        vec![
            Port::new("document", &self.document),
            Port::new("bundle", &self.bundle),
            Port::new("dataset", &self.dataset),
        ]
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("deployment", &self.deployment)]
    }
}

impl StepArgs for ScoreArgs {
    const STAGE: Stage = Stage::Score;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("document", &self.document), Port::new("features", &self.features)]
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("scored", &self.scored)]
    }
}

impl StepArgs for AlertArgs {
    const STAGE: Stage = Stage::Alert;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("document", &self.document)];
        ports.extend(option("scored", self.scored.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        vec![Port::new("messages", &self.messages)]
    }
}

impl StepArgs for ReportArgs {
    const STAGE: Stage = Stage::Report;

    fn common(&self) -> &Common {
        &self.common
    }

    fn inputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("document", &self.document)];
        ports.extend(self.run.iter().map(|path| Port::new("run", path)));
        ports.extend(option("labels", self.labels.as_ref()));
        ports
    }

    fn outputs(&self) -> Vec<Port<'_>> {
        let mut ports = vec![Port::new("report", &self.report)];
        ports.extend(option("tables", self.tables.as_ref()));
        ports
    }
}

/// Any step with its flags: what a plan holds, and what `lynceus step` parses.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum StepCommand {
    /// Fetch raw samples for a time range
    Collect(CollectArgs),
    /// Turn a scenario log into labels with guard bands
    Label(LabelArgs),
    /// Make one row of features per window and entity
    Feature(FeatureArgs),
    /// Hold features against expectations and split them by time
    Validate(ValidateArgs),
    /// Fit one model
    Train(TrainArgs),
    /// Calibrate, vote and measure: make a bundle of candidates
    Select(SelectArgs),
    /// Register a bundle and promote it if it is good enough
    Deploy(DeployArgs),
    /// Score the windows that are due with the live bundle
    Score(ScoreArgs),
    /// Tell people what began and what ended
    Alert(AlertArgs),
    /// Make a page that shows a run and its scores
    Report(ReportArgs),
}

/// Calls `$body` with the flags inside a [`StepCommand`], whichever step they belong to.
macro_rules! with_step {
    ($command:expr, $args:ident => $body:expr) => {
        match $command {
            StepCommand::Collect($args) => $body,
            StepCommand::Label($args) => $body,
            StepCommand::Feature($args) => $body,
            StepCommand::Validate($args) => $body,
            StepCommand::Train($args) => $body,
            StepCommand::Select($args) => $body,
            StepCommand::Deploy($args) => $body,
            StepCommand::Score($args) => $body,
            StepCommand::Alert($args) => $body,
            StepCommand::Report($args) => $body,
        }
    };
}

impl StepCommand {
    /// Returns the stage.
    pub fn stage(&self) -> Stage {
        fn stage_of<A: StepArgs>(_: &A) -> Stage {
            A::STAGE
        }
        with_step!(self, args => stage_of(args))
    }

    /// Returns the flags every step has.
    pub fn common(&self) -> &Common {
        with_step!(self, args => args.common())
    }

    /// Returns the flags every step has, to be set.
    pub fn common_mut(&mut self) -> &mut Common {
        with_step!(self, args => &mut args.common)
    }

    /// Returns what the step reads.
    pub fn inputs(&self) -> Vec<Port<'_>> {
        with_step!(self, args => args.inputs())
    }

    /// Returns what the step writes.
    pub fn outputs(&self) -> Vec<Port<'_>> {
        with_step!(self, args => args.outputs())
    }

    /// Returns the flags that are neither ports nor common to all steps, by name.
    pub fn parameters(&self) -> Result<BTreeMap<String, String>, StepError> {
        with_step!(self, args => parameters(args))
    }

    /// Returns the flags as a command line, without the program's name.
    pub fn command_line(&self) -> Result<Vec<OsString>, StepError> {
        with_step!(self, args => command_line(args))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        step: StepCommand,
    }

    fn again(command: &StepCommand) -> StepCommand {
        let mut line: Vec<OsString> = vec!["lynceus".into(), command.stage().name().into()];
        line.extend(command.command_line().unwrap());
        Cli::try_parse_from(line).unwrap().step
    }

    #[test]
    fn flags_come_back_from_the_command_line_they_print() {
        let common = Common { outcome: Some("o.json".into()), threads: 2, ..Common::default() };
        let now: Timestamp = "2026-11-21T09:22:00Z".parse().unwrap();
        let document = PathBuf::from("a folder/cluster.yaml");
        let commands = [
            StepCommand::Collect(CollectArgs {
                document: document.clone(),
                samples: "s.parquet".into(),
                now,
                start: Some(now),
                store: None,
                source: Some("recording".into()),
                record: None,
                common: common.clone(),
            }),
            StepCommand::Train(TrainArgs {
                document: document.clone(),
                dataset: "dataset".into(),
                model: "isolation_forest".into(),
                seed: u64::MAX,
                candidate: "candidate".into(),
                common: common.clone(),
            }),
            StepCommand::Select(SelectArgs {
                document: document.clone(),
                dataset: "dataset".into(),
                candidate: vec!["one".into(), "two".into()],
                bundle: "bundle".into(),
                common: common.clone(),
            }),
            StepCommand::Score(ScoreArgs {
                document,
                features: "f.parquet".into(),
                store: "file:///tmp/store".into(),
                now,
                scored: "scored.json".into(),
                common,
            }),
        ];
        for command in &commands {
            assert_eq!(&again(command), command);
        }
    }

    #[test]
    fn every_port_is_a_flag() {
        let command = <Cli as clap::CommandFactory>::command();
        for step in command.get_subcommands() {
            let flags: Vec<_> = step.get_arguments().filter_map(clap::Arg::get_long).collect();
            assert!(flags.contains(&"outcome"), "{}", step.get_name());
            assert!(flags.contains(&"document"), "{}", step.get_name());
        }
    }
}
