//! The typed flags of every step.
//!
//! The step parses the struct, the runner and the manifest generator build the same struct and
//! print it back to a command line ([`StepCommand::command_line`]): a renamed flag is a compiler
//! error, not a failure in the cluster.

mod alert;
mod collect;
mod deploy;
mod export;
mod feature;
mod label;
mod report;
mod score;
mod select;
mod train;
mod validate;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;

use crate::step::{Common, Port, Stage, StepArgs, command_line, parameters};
use crate::{Shard, StepError};

pub use alert::AlertArgs;
pub use collect::{CollectArgs, SourcePath};
pub use deploy::DeployArgs;
pub use export::ExportArgs;
pub use feature::FeatureArgs;
pub use label::LabelArgs;
pub use report::ReportArgs;
pub use score::ScoreArgs;
pub use select::SelectArgs;
pub use train::TrainArgs;
pub use validate::ValidateArgs;

fn option<'a>(name: &'static str, path: Option<&'a PathBuf>) -> impl Iterator<Item = Port<'a>> {
    path.into_iter().map(move |path| Port::new(name, path))
}

/// Any step with its flags, as in a plan and on the command line of `lynceus step`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum StepCommand {
    /// Fetch raw samples for a time range
    #[command(
        after_help = "Example: lynceus step collect --document cluster.yaml --samples samples.parquet --now 2026-11-21T08:36:00Z"
    )]
    Collect(CollectArgs),
    /// Turn a scenario log into labels with guard bands
    #[command(
        after_help = "Example: lynceus step label --document cluster.yaml --scenarios scenarios.csv --labels labels.parquet"
    )]
    Label(LabelArgs),
    /// Compute one row of features per window and entity
    #[command(
        after_help = "Example: lynceus step feature --document cluster.yaml --samples samples.parquet --features features.parquet"
    )]
    Feature(FeatureArgs),
    /// Check features against expectations and split them by time
    #[command(
        after_help = "Example: lynceus step validate --document cluster.yaml --features features.parquet --dataset dataset --validation validation.json --now 2026-11-21T08:36:00Z"
    )]
    Validate(ValidateArgs),
    /// Fit one model
    #[command(
        after_help = "Example: lynceus step train --document cluster.yaml --dataset dataset --model adaptive --seed 7 --candidate candidate"
    )]
    Train(TrainArgs),
    /// Make a bundle from candidates: calibrate scores, choose thresholds, compute metrics
    #[command(
        after_help = "Example: lynceus step select --document cluster.yaml --dataset dataset --candidate candidate --bundle bundle"
    )]
    Select(SelectArgs),
    /// Register a bundle and promote it if it is good enough
    #[command(
        after_help = "Example: lynceus step deploy --document cluster.yaml --bundle bundle --dataset dataset --store file:///var/lib/lynceus --deployment deployment.json --now 2026-11-21T08:36:00Z"
    )]
    Deploy(DeployArgs),
    /// Score the windows that are due with the live bundle
    #[command(
        after_help = "Example: lynceus step score --document cluster.yaml --features features.parquet --store file:///var/lib/lynceus --scored scored.json --now 2026-11-21T08:37:00Z"
    )]
    Score(ScoreArgs),
    /// Send messages about alerts that started or ended
    #[command(
        after_help = "Example: lynceus step alert --document cluster.yaml --store file:///var/lib/lynceus --messages messages.json --now 2026-11-21T08:37:00Z"
    )]
    Alert(AlertArgs),
    /// Publish scores to other systems
    #[command(
        after_help = "Example: lynceus step export --document cluster.yaml --store file:///var/lib/lynceus --exported exported.json --now 2026-11-21T08:37:00Z"
    )]
    Export(ExportArgs),
    /// Write a page that shows a run and its scores
    #[command(
        after_help = "Example: lynceus step report --document cluster.yaml --run run --report report.html --now 2026-11-21T08:36:00Z"
    )]
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
            StepCommand::Export($args) => $body,
            StepCommand::Report($args) => $body,
        }
    };
}

impl StepCommand {
    /// Returns the step of a tick that runs again after another step failed; `None` for most steps.
    /// It waits for no other step, because its data is in the store. `failed` is Argo's list of
    /// failures; without it the step reads the outcomes of the others.
    pub fn after_failure(&self, failed: Option<String>) -> Option<Self> {
        match self {
            Self::Alert(args) => {
                let tick = if failed.is_some() { Vec::new() } else { args.tick.clone() };
                Some(Self::Alert(AlertArgs { scored: None, tick, failed, ..args.clone() }))
            }
            Self::Export(args) => {
                Some(Self::Export(ExportArgs { scored: None, features: None, ..args.clone() }))
            }
            Self::Collect(_)
            | Self::Label(_)
            | Self::Feature(_)
            | Self::Validate(_)
            | Self::Train(_)
            | Self::Select(_)
            | Self::Deploy(_)
            | Self::Score(_)
            | Self::Report(_) => None,
        }
    }

    /// Returns the stage.
    pub fn stage(&self) -> Stage {
        fn stage_of<A: StepArgs>(_: &A) -> Stage {
            A::STAGE
        }
        with_step!(self, args => stage_of(args))
    }

    /// Returns the shard of `--shard`; most steps have none, and work on the outputs of the steps
    /// before them.
    pub fn shard(&self) -> Option<Shard> {
        match self {
            Self::Collect(args) => args.shard,
            Self::Score(args) => args.shard,
            Self::Alert(args) => args.shard,
            Self::Export(args) => args.shard,
            Self::Label(_)
            | Self::Feature(_)
            | Self::Validate(_)
            | Self::Train(_)
            | Self::Select(_)
            | Self::Deploy(_)
            | Self::Report(_) => None,
        }
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
    use crate::Timestamp;

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
    fn flags_round_trip_through_the_command_line() {
        let common = Common { outcome: Some("o.json".into()), threads: 2, ..Common::default() };
        let now: Timestamp = "2026-11-21T09:22:00Z".parse().unwrap();
        let document = PathBuf::from("a folder/cluster.yaml");
        let commands = [
            StepCommand::Collect(CollectArgs {
                document: document.clone(),
                samples: "s.parquet".into(),
                now,
                start: Some(now),
                range: None,
                store: None,
                recorded: Some("file:///samples".to_owned()),
                pins: Some("pins.json".into()),
                source: vec!["a=recording".parse().unwrap(), "b=t=1.csv".parse().unwrap()],
                coverage: None,
                record: None,
                shard: Shard::new(1, 4),
                shards: None,
                live: None,
                numbers: None,
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
                models: vec!["z_score".into()],
                bundle: "bundle".into(),
                common: common.clone(),
            }),
            StepCommand::Score(ScoreArgs {
                document,
                features: "f.parquet".into(),
                samples: Some("s.parquet".into()),
                coverage: Some("coverage.json".into()),
                model_cache: None,
                no_model_hint: None,
                store: "file:///var/lib/lynceus".into(),
                now,
                scored: "scored.json".into(),
                shard: None,
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
