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

use crate::resources::Resources;
use crate::step::{Common, Port, Stage, StepArgs, command_line, parameters};
use crate::{Shard, StepError};

pub use collect::SourcePath;

fn option<'a>(name: &'static str, path: Option<&'a PathBuf>) -> impl Iterator<Item = Port<'a>> {
    path.into_iter().map(move |path| Port::new(name, path))
}

/// Passes the table of the steps to the macro of a name: for each step the first line of its help,
/// its name, its variant of [`Stage`] and [`StepCommand`], and the type of its flags, in the order
/// of a pipeline. `steps!(name(arguments))` passes `(arguments)` before the table.
///
/// The name of a step is also the name of its crate, whose function `run` is the step's code, and of
/// the module with its flags.
#[macro_export]
macro_rules! steps {
    ($macro:ident $($given:tt)?) => {
        $macro! {
            $($given)?
            /// Fetch raw samples for a time range
            collect: Collect(CollectArgs),
            /// Turn a scenario log into labels with guard bands
            label: Label(LabelArgs),
            /// Compute one row of features per window and entity
            feature: Feature(FeatureArgs),
            /// Check features against expectations and split them by time
            validate: Validate(ValidateArgs),
            /// Fit one model
            train: Train(TrainArgs),
            /// Make a bundle from candidates: calibrate scores, choose thresholds, compute metrics
            select: Select(SelectArgs),
            /// Register a bundle and promote it if it is good enough
            deploy: Deploy(DeployArgs),
            /// Score the windows that are due with the live bundle
            score: Score(ScoreArgs),
            /// Send messages about alerts that started or ended
            alert: Alert(AlertArgs),
            /// Publish scores to other systems
            export: Export(ExportArgs),
            /// Write a page that shows a run and its scores
            report: Report(ReportArgs),
        }
    };
}

/// Declares [`StepCommand`].
macro_rules! commands {
    ($(#[doc = $about:tt] $name:ident: $step:ident($args:ident),)*) => {
        $(pub use $name::$args;)*

        /// Any step with its flags, as in a plan and on the command line of `lynceus step`.
        #[derive(Debug, Clone, PartialEq, Subcommand)]
        pub enum StepCommand {
            $(
                #[doc = $about]
                #[command(after_help = format!("Example: {}", $args::EXAMPLE))]
                $step($args),
            )*
        }

        $(
            impl From<$args> for StepCommand {
                fn from(args: $args) -> Self {
                    Self::$step(args)
                }
            }
        )*
    };
}

steps!(commands);

/// Evaluates `$body` with the flags inside a [`StepCommand`], whichever step they belong to.
macro_rules! with_step {
    ($command:expr, $args:ident => $body:expr) => {
        steps!(arms($command, $args => $body))
    };
}

/// Matches a [`StepCommand`], with one arm for each step.
macro_rules! arms {
    (
        ($command:expr, $args:ident => $body:expr)
        $(#[$about:meta] $name:ident: $step:ident($type:ident),)*
    ) => {
        match $command {
            $(StepCommand::$step($args) => $body,)*
        }
    };
}

impl StepCommand {
    /// Returns the step of a tick that runs again after another step failed, as
    /// [`StepArgs::after_failure`] says.
    pub fn after_failure(&self, failed: Option<String>) -> Option<Self> {
        with_step!(self, args => args.after_failure(failed).map(Self::from))
    }

    /// Returns whether the outputs may be taken from an earlier run, as [`StepArgs::is_cached`]
    /// says.
    pub fn is_cached(&self) -> bool {
        with_step!(self, args => args.is_cached())
    }

    /// Returns the kinds of models that the flags name.
    pub fn named_models(&self) -> Vec<&str> {
        with_step!(self, args => args.named_models())
    }

    /// Returns the resources of the step's pod in a training.
    pub fn training_resources(&self) -> Resources {
        with_step!(self, args => args.training_resources())
    }

    /// Returns how many threads the step uses in a training in a cluster.
    pub fn training_threads(&self) -> u16 {
        with_step!(self, args => args.training_threads())
    }

    /// Returns the resources of the step's container in the pod of a tick.
    pub fn scoring_resources(&self) -> Resources {
        with_step!(self, args => args.scoring_resources())
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
        with_step!(self, args => args.shard())
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
