//! `lynceus agent`: the recorder of one node, as a service that says how it is.

mod health;

use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// Answer `/metrics` and `/healthz` at this address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    /// Keep what is not yet in the store in this folder; by default `recording/PIPELINE/NODE` in
    /// the store, or in `.lynceus` for a bucket
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Stop after this many steps instead of running until Ctrl-C
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
}

impl super::Cli {
    /// Returns the address at which an agent answers, if that is the command.
    pub(crate) const fn agent_address(&self) -> Option<SocketAddr> {
        if let super::Command::Agent(args) = &self.command { Some(args.listen) } else { None }
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
