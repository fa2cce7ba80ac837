//! The command line of `lynceus`.

mod agent;
mod compare;
mod context;
mod dataset;
mod document;
mod entities;
mod evaluate;
mod explain;
mod features;
mod init;
mod lint;
mod manifests;
mod messages;
mod models;
mod names;
mod output;
mod past;
mod plan;
mod predict;
mod progress;
mod record;
mod report;
mod run;
mod runs;
mod scenario;
mod schema;
mod score;
mod score_rows;
mod scores;
mod serve;
mod source;
mod status;
mod step;
mod store;
mod track;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use contract::StepError;
use contract::steps::StepCommand;

use output::{Format, OutputFormat, print, print_json, print_rows};

pub use agent::main as agent_main;
pub use lint::manifest_findings;
pub(crate) use output::{say, tell};

/// Watches Kubernetes clusters: reports every minute whether they behave normally, what is wrong
/// and where.
#[derive(Debug, Parser)]
#[command(
    name = "lynceus",
    version,
    max_term_width = 100,
    after_help = "Start with: lynceus run cluster --sample"
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// `lynceus step`, without the flags of every other command.
#[derive(Debug, Parser)]
#[command(
    name = "lynceus step",
    version,
    after_help = "With the recorded sample: lynceus step collect --sample cluster"
)]
struct StepCli {
    #[command(subcommand)]
    step: StepCommand,
}

/// Flags of every command except `step`.
#[derive(Debug, clap::Args)]
struct Global {
    /// Keep runs, models and scores in this store: a folder, `file:///folder` or
    /// `s3://bucket/prefix`
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LYNCEUS_STORE",
        default_value = ".lynceus",
        help_heading = "Every command"
    )]
    store: String,
    /// Look for documents by name in this folder
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LYNCEUS_PIPELINES",
        default_value = "pipelines",
        help_heading = "Every command"
    )]
    pipelines: PathBuf,
    /// Print data as text or as JSON; rows of scores also as CSV or Parquet
    #[arg(
        long = "output",
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Every command"
    )]
    output_format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a new document for a Prometheus, or copy one of the bundled documents
    #[command(after_help = "Example: lynceus init --url http://localhost:9090")]
    Init(init::InitArgs),
    /// Train a model: collect, validate, fit, select and deploy; tasks already done are skipped
    #[command(
        after_help = "Example: lynceus run cluster --set sources.metrics.prometheus.url=http://localhost:9090"
    )]
    Run(run::RunArgs),
    /// Check the sources of a pipeline
    Source {
        #[command(subcommand)]
        command: source::SourceCommand,
    },
    /// Record the sources of a pipeline that keep no history, such as `exporter`, into the store
    #[command(after_help = "Example: lynceus record node --steps 6")]
    Record(record::RecordArgs),
    /// Record the sources of one node, as a service with `/metrics` and `/healthz`
    #[command(after_help = "Example: lynceus agent node --node \"$(hostname)\"")]
    Agent(agent::AgentArgs),
    /// Score the windows that are due, and send alerts
    #[command(after_help = "Example: lynceus score cluster --at 2026-11-21T09:22:00Z")]
    Score(score::ScoreArgs),
    /// Score every `scoring.every` until Ctrl-C, as Argo does in a cluster
    #[command(
        after_help = "Example: lynceus watch cluster --set sources.metrics.prometheus.url=http://localhost:9090"
    )]
    Watch(watch::WatchArgs),
    /// Show the messages of a time range, of all channels
    #[command(after_help = "Example: lynceus messages cluster --last 7d")]
    Messages(messages::MessagesArgs),
    /// Show the scores of a time range
    #[command(after_help = "Example: lynceus scores cluster --last 10m --watch")]
    Scores(scores::ScoresArgs),
    /// Score the rows of any table, or the data set of a run, without a store
    #[command(after_help = "Example: lynceus predict cluster table.csv --to scores.parquet")]
    Predict(predict::PredictArgs),
    /// Print a document after its profile, overlays and `--set` are applied
    #[command(after_help = "Example: lynceus document cluster --set step=30s")]
    Document(document::DocumentCommand),
    /// Show pipeline health: last window, lag, live model, open alarms, drift
    #[command(after_help = "Example: lynceus status cluster")]
    Status(status::StatusArgs),
    /// List the entities of a `task: classify` pipeline, such as containers, with their classes
    #[command(visible_alias = "containers")]
    Entities {
        #[command(subcommand)]
        command: entities::EntitiesCommand,
    },
    /// Evaluate the scores of a time range against a scenario log
    #[command(
        after_help = "Example: lynceus evaluate cluster --scenarios scenarios.csv --from 2026-11-21T08:36:00Z --to 2026-11-21T09:22:00Z"
    )]
    Evaluate(evaluate::EvaluateArgs),
    /// Write a run, and the scores of a time range, as one self-contained page
    #[command(after_help = "Example: lynceus report cluster --last 24h")]
    Report(report::ReportArgs),
    /// Compare runs side by side: documents, metrics, and the significance of differences
    #[command(after_help = "Example: lynceus compare cluster previous last --html compare.html")]
    Compare(compare::CompareArgs),
    /// Show the tasks of a pipeline with their inputs, outputs and dependencies
    #[command(after_help = "Example: lynceus plan cluster --sample")]
    Plan(plan::PlanArgs),
    /// Explain why a task of a run ran or did not, input by input
    #[command(after_help = "Example: lynceus explain cluster last train-adaptive")]
    Explain(explain::ExplainArgs),
    /// List runs, or show one
    #[command(after_help = "Example: lynceus runs list cluster")]
    Runs {
        #[command(subcommand)]
        command: runs::RunsCommand,
    },
    /// Export the labelled feature rows of a run
    Dataset {
        #[command(subcommand)]
        command: dataset::DatasetCommand,
    },
    /// Publish, list, compare and backfill feature groups of the feature catalogue
    Features {
        #[command(subcommand)]
        command: features::FeaturesCommand,
    },
    /// List and compare models, show their history, promote or roll back
    #[command(after_help = "Example: lynceus models history cluster")]
    Models {
        #[command(subcommand)]
        command: models::ModelsCommand,
    },
    /// Mirror trainings into `MLflow` and `OpenLineage`
    Track {
        #[command(subcommand)]
        command: track::TrackCommand,
    },
    /// Check permissions in a store, or garbage-collect it
    Store {
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// Inject faults and log their true times
    Scenario {
        #[command(subcommand)]
        command: scenario::ScenarioCommand,
    },
    /// Serve the live model over the Open Inference Protocol
    #[command(after_help = "Example: lynceus serve cluster --address 127.0.0.1:8080")]
    Serve(serve::ServeArgs),
    /// Serve the live model, and a page that replays labelled rows against it
    #[command(after_help = "Example: lynceus replay cluster --rate 5")]
    Replay(serve::ReplayArgs),
    /// Write the manifests of Argo Workflows, or check them against their documents
    #[command(after_help = "Example: lynceus manifests --check")]
    Manifests(manifests::ManifestsArgs),
    /// Check documents and manifests, without a cluster
    #[command(after_help = "Example: lynceus lint pipelines/cluster.yaml argo/base")]
    Lint(lint::LintArgs),
    /// Run one step with its own flags, as its image does
    #[command(
        after_help = "With the recorded sample, printing the full command line: lynceus step collect --sample cluster\n\nExample: lynceus step label --document pipelines/cluster.yaml --scenarios log.csv --labels labels.parquet"
    )]
    Step {
        #[command(subcommand)]
        step: Box<StepCommand>,
    },
    /// Print the JSON Schema of pipeline documents, or a reference of their fields
    #[command(after_help = "Example: lynceus schema > pipelines/schema.json")]
    Schema(schema::SchemaArgs),
    /// Print names of pipelines, runs and versions, for the completions of a shell
    #[command(hide = true, after_help = "Example: lynceus names runs show cluster")]
    Names(names::NamesArgs),
    /// Print shell completions
    #[command(after_help = "Example: lynceus completions bash > /etc/bash_completion.d/lynceus")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the program with the process's command line and returns its exit code.
pub fn main() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().collect();
    let code = match line.get(1) {
        // Steps have separate flags: `--store` has a default in all other commands, but not in
        // steps.
        Some(word) if word == "step" && step::is_of_sample(&line) => {
            step::SampleCli::try_parse_from(&line[1..]).map(|cli| step::of_sample(&cli))
        }
        Some(word) if word == "step" => {
            StepCli::try_parse_from(&line[1..]).map(|cli| step::execute(&cli.step))
        }
        _ => Cli::try_parse_from(line).map(execute),
    };
    ExitCode::from(code.unwrap_or_else(|error| {
        // Clap chooses the stream and the message; a failure to print cannot be reported elsewhere.
        drop(error.print());
        u8::try_from(error.exit_code()).unwrap_or(2)
    }))
}

fn execute(cli: Cli) -> u8 {
    let Cli { global, command } = cli;
    if let Err(error) = check_format(&global, &command) {
        tell(&error);
        return error.kind.exit_code();
    }
    let done = match command {
        Command::Names(args) => names::execute(&global, &args, &Cli::command()),
        Command::Document(args) => document::execute(&global, &args),
        Command::Predict(args) => predict::execute(&global, &args),
        Command::Step { step } => return step::execute(&step),
        Command::Init(args) => init::execute(&global, &args),
        Command::Run(args) => run::execute(&global, &args),
        Command::Source { command } => source::execute(&global, &command),
        Command::Record(args) => record::execute(&global, &args),
        Command::Agent(args) => agent::execute(&global, &args),
        Command::Score(args) => score::execute(&global, &args),
        Command::Watch(args) => watch::execute(&global, args),
        Command::Messages(args) => messages::execute(&global, &args),
        Command::Scores(args) => scores::execute(&global, &args),
        Command::Status(args) => status::execute(&global, &args),
        Command::Entities { command } => entities::execute(&global, &command),
        Command::Evaluate(args) => evaluate::execute(&global, &args),
        Command::Report(args) => report::execute(&global, &args),
        Command::Compare(args) => compare::execute(&global, &args),
        Command::Plan(args) => plan::execute(&global, &args),
        Command::Explain(args) => explain::execute(&global, &args),
        Command::Runs { command } => runs::execute(&global, &command),
        Command::Dataset { command } => dataset::execute(&global, &command),
        Command::Features { command } => features::execute(&global, &command),
        Command::Models { command } => models::execute(&global, &command),
        Command::Track { command } => track::execute(&global, &command),
        Command::Store { command } => store::execute(&global, &command),
        Command::Scenario { command } => scenario::execute(&global, &command),
        Command::Serve(args) => serve::execute(&global, &args),
        Command::Replay(args) => serve::replay(&global, &args),
        Command::Manifests(args) => manifests::execute(&global, &args),
        Command::Lint(args) => lint::execute(&global, &args),
        Command::Schema(args) => schema::execute(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lynceus", &mut script);
            print(&names::script(shell, &String::from_utf8_lossy(&script)))
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) if error.message == crate::run::INTERRUPTED => {
            tell(&error);
            130
        }
        Err(error) => {
            tell(&error);
            error.kind.exit_code()
        }
    }
}

/// Refuses a row format for a command that prints no rows.
fn check_format(global: &Global, command: &Command) -> Result<(), StepError> {
    let has_rows = matches!(command, Command::Scores(_) | Command::Predict(_));
    match global.output_format {
        Format::Csv | Format::Parquet if !has_rows => {
            Err(StepError::usage("`--output csv` and `--output parquet` are for rows of scores")
                .hint(
                    "`lynceus scores` and `lynceus predict` print rows; every command prints json",
                ))
        }
        Format::Json if matches!(command, Command::Completions { .. }) => {
            Err(StepError::usage("`lynceus completions` prints a script, not JSON")
                .hint("remove --output"))
        }
        Format::Json if matches!(command, Command::Schema(args) if args.is_markdown()) => {
            Err(StepError::usage("`--format markdown` and `--output json` cannot be used together")
                .hint("remove one of them"))
        }
        Format::Text | Format::Json | Format::Csv | Format::Parquet => Ok(()),
    }
}

/// Returns the definition of the command line, for tests of its help texts.
#[doc(hidden)]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses a command line, for tests.
#[doc(hidden)]
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line)
}
