//! `lynceus track`: mirrors trainings into `MLflow` and `OpenLineage`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Subcommand;
use contract::{StepError, Timestamp, read_json, units, write_json};
use serde::{Deserialize, Serialize};
use tracking::{Done, Sync};

use super::context::{Context, DocumentArgs, clock};
use super::{Global, OutputFormat, print, print_json, say};

/// Deadline for mirroring after a run.
const AFTER_RUN: Duration = Duration::from_mins(1);
/// Folder of the records of failures, in the folder of runs and the cache.
const NOTES: &str = "tracking";

#[derive(Debug, Subcommand)]
pub(crate) enum TrackCommand {
    /// Mirror the trainings that are not mirrored yet, the oldest first
    #[command(
        after_help = "Example: lynceus track sync cluster --set tracking.mlflow.url=http://localhost:5000"
    )]
    Sync(SyncArgs),
}

/// Flags of `lynceus track sync`.
#[derive(Debug, clap::Args)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Also mirror trainings that are mirrored already, and add missing parts
    #[arg(long)]
    again: bool,
}

/// Since when and why trainings cannot be mirrored; kept so that a failure is reported once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failing {
    since: Timestamp,
    why: String,
}

pub(crate) fn execute(global: &Global, command: &TrackCommand) -> Result<(), StepError> {
    let TrackCommand::Sync(args) = command;
    let context = Context::new(global, &args.document)?;
    if context.document.tracking.is_empty() {
        return Err(StepError::usage("the document has no server in `tracking`")
            .hint("set a server, as in --set tracking.mlflow.url=http://localhost:5000"));
    }
    let Done { runs, error } = sync(&context, args.again, None)?;
    match global.output() {
        OutputFormat::Json => print_json(&runs)?,
        OutputFormat::Text => {
            print(&format!("{} mirrored\n", units::counted(runs.len() as u64, "run")))?;
        }
    }
    error.map_or(Ok(()), Err)
}

/// Mirrors the trainings that are not mirrored yet, after a run. A failure is reported once and
/// does not fail the run.
pub(crate) fn after_run(context: &Context) {
    if context.document.tracking.is_empty() {
        return;
    }
    let path = notes(context).join("failing.json");
    let before: Option<Failing> = read_json(&path).ok();
    let until = Instant::now() + AFTER_RUN;
    let error = match sync(context, false, Some(until)) {
        Ok(Done { runs, error: None }) => {
            if let Some(Failing { since, .. }) = before {
                say(&format!(
                    "tracking works again, after failing since {since}: {} runs mirrored",
                    runs.len()
                ));
                // If the record cannot be removed, the recovery is reported again.
                drop(fs_err::remove_file(&path));
            }
            return;
        }
        Ok(Done { error: Some(error), .. }) | Err(error) => error,
    };
    if before.is_some() {
        return;
    }
    let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    say(&format!(
        "the run was not mirrored; the next run or `lynceus track sync {}` does so: {}{hint}",
        context.document.name, error.message
    ));
    let failing = Failing { since: clock(), why: error.message };
    let folder = fs_err::create_dir_all(notes(context));
    // The failure is reported again if it cannot be recorded.
    drop(folder.is_ok().then(|| write_json(&path, &failing)));
}

fn notes(context: &Context) -> PathBuf {
    context.store.root.join(NOTES).join(&context.document.name)
}

fn sync(context: &Context, again: bool, until: Option<Instant>) -> Result<Done, StepError> {
    let document = &context.document;
    let store = context.store.open()?;
    let registry = store::Registry::new(store.as_ref(), &document.name);
    let live = registry.alias(&document.deployment.alias)?.map(|alias| alias.version);
    let mut folders = Vec::new();
    for (folder, record) in context.store.runs(&document.name)? {
        if record.is_training() {
            context.store.bring_run(&folder)?;
            folders.push(folder);
        }
    }
    let sync = Sync {
        document,
        folder: &context.base,
        notes: &notes(context),
        again,
        until,
        live: live.as_deref(),
    };
    Ok(tracking::sync(&sync, &folders))
}
