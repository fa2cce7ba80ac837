//! `lynceus serve` and `lynceus replay`: serve the live model at an endpoint.

use std::net::SocketAddr;
use std::path::PathBuf;

use argo::lint::Service;
use clap::Parser as _;
use contract::StepError;
use contract::step::{LogFormat, start_logging};
use document::classify::Task;
use frames::Dataset;
use serve::args::{ServeArgs as Server, ServeOptions};

use super::context::{Context, DocumentArgs};
use super::{Global, OutputFormat, print, print_json, runs};

/// Flags of `lynceus serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Pipeline: a document's name
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    #[command(flatten)]
    options: ServeOptions,
}

/// Flags of `lynceus replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Replay the validation rows of this run: its name, its beginning, or `last`
    #[arg(long, value_name = "RUN", default_value = "last")]
    run: String,
    /// Rows per second
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    rate: f64,
    /// Listen on this loopback address; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    address: SocketAddr,
}

pub(crate) fn execute(global: &Global, args: &ServeArgs) -> Result<(), StepError> {
    start_logging(LogFormat::Text);
    let server = Server {
        pipeline: args.pipeline.clone(),
        store: global.store.clone(),
        options: args.options.clone(),
        log: LogFormat::Text,
    };
    serve::run(&server, |address| announce(global, &format!("http://{address}/v2")))
}

/// Reads the flags of the program `serve`, for the check of manifests.
pub(crate) fn service(flags: &[String]) -> Result<Service, clap::Error> {
    let line = std::iter::once("serve").chain(flags.iter().map(String::as_str));
    let ServeOptions { address, token_file, .. } = Server::try_parse_from(line)?.options;
    Ok(Service { address, token_file })
}

/// Serves the live model, and the replay page with the validation rows of a run.
pub(crate) fn replay(global: &Global, args: &ReplayArgs) -> Result<(), StepError> {
    if !args.address.ip().is_loopback() {
        return Err(StepError::usage(format!(
            "`--address {}` is not a loopback address",
            args.address
        ))
        .hint(
            "the replay shows data to everyone who connects: use `lynceus serve --replay` to share \
             it",
        ));
    }
    start_logging(LogFormat::Text);
    let context = Context::new(global, &args.document)?;
    if context.document.task == Task::Classify {
        let name = &context.document.name;
        return Err(StepError::usage(format!(
            "`{name}` is of `task: classify`: the replay compares alarms with labels"
        ))
        .hint(format!("`lynceus evaluate {name}` compares its classes with a table")));
    }
    let (run, _) = runs::find(&context.store, &context.document.name, &args.run)?;
    context.store.bring_run(&run)?;
    let document = &context.document;
    let rows = |folder: PathBuf| folder.join("validate/dataset").join(Dataset::FILES[1]);
    let server = Server {
        pipeline: document.name.clone(),
        store: context.store.url.clone(),
        options: ServeOptions {
            alias: document.deployment.alias.clone(),
            address: args.address,
            replay: runs::parts(&run).into_iter().map(rows).collect(),
            rate: args.rate,
            normal: document.labels.normal.clone(),
            ..ServeOptions::default()
        },
        log: LogFormat::Text,
    };
    serve::run(&server, |address| announce(global, &format!("http://{address}/replay")))
}

fn announce(global: &Global, url: &str) {
    // A closed standard output does not stop the server.
    drop(match global.output() {
        OutputFormat::Json => print_json(&serde_json::json!({"url": url})),
        OutputFormat::Text => print(&format!("{url}\n")),
    });
}
