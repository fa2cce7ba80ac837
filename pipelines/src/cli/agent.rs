//! `lynceus agent`, and the program `agent`: the recorder of one node, as a service with health
//! checks and metrics.

mod health;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use argo::lint::Service;
use clap::Parser as _;
use contract::{Span, StepError};

use super::context::DocumentArgs;
use super::{Global, record, say};

pub(crate) use health::Health;

/// Flags of `lynceus agent`.
#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Name of the node; no other recorder of the pipeline may have it
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node: String,
    /// Time between samples, instead of the document's `step`
    #[arg(long, value_name = "SPAN", env = "INTERVAL")]
    interval: Option<Span>,
    /// Answer `/metrics` and `/healthz` at this address; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    /// Keep rows that are not yet in the store in this folder; by default `recording/PIPELINE/NODE`
    /// in the store, or in `.lynceus` for a bucket
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Stop after this many steps instead of running until Ctrl-C
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
}

/// Records the sources of one node into the store, as `lynceus agent` does.
///
/// A separate program: it links no code of training and scoring, and needs less memory on a node.
#[derive(Debug, clap::Parser)]
#[command(
    name = "agent",
    version,
    max_term_width = 100,
    after_help = "Example: agent node.yaml --node \"$(hostname)\" --store s3://lynceus"
)]
struct AgentCli {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    args: AgentArgs,
}

/// Reads the flags of the program `agent`, for the check of manifests.
pub(crate) fn service(flags: &[String]) -> Result<Service, clap::Error> {
    let line = std::iter::once("agent").chain(flags.iter().map(String::as_str));
    let cli = AgentCli::try_parse_from(line)?;
    Ok(Service { address: cli.args.listen, token_file: None })
}

/// Runs the program `agent` with the process's command line and returns its exit code.
pub fn main() -> ExitCode {
    let cli = match AgentCli::try_parse() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match execute(&cli.global, &cli.args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::tell(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

pub(crate) fn execute(global: &Global, args: &AgentArgs) -> Result<(), StepError> {
    let mut document = args.document.clone();
    document.set.extend(args.interval.map(|interval| format!("step={interval}")));
    let health = Health::listen(args.listen)?;
    say(&format!("Health and metrics at http://{}/", health.address()));
    record::record(
        global,
        &document,
        record::Recorded {
            recorder: &args.node,
            spool: args.spool.as_deref(),
            steps: args.steps,
            health: Some(health),
        },
    )
}
