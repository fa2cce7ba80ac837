//! `lynceus store`: what may be done in a store, and what it no longer needs.

use contract::{Span, StepError, Timestamp};
use serde_json::json;
use store::ObjectStore;
use store::check::{self, Area, Check, Role};
use store::garbage::{self, Garbage, Retention};

use super::context::{StorePlace, clock};
use super::{Global, OutputFormat, print, print_json, say};
use crate::run::table;

/// What to do with a store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StoreCommand {
    /// Say what this user may do, by doing it with objects of its own
    #[command(after_help = "Example: lynceus store check --store s3://lynceus --role scorer")]
    Check {
        /// End with exit code 2 if this user lacks what the role needs
        #[arg(long, value_name = "ROLE", value_parser = check::ROLES)]
        role: Option<String>,
    },
    /// Say which versions, runs and cache entries nothing needs any more, or remove them
    #[command(after_help = "Example: lynceus store gc --keep 60d --remove")]
    Gc(GcArgs),
}

/// Flags of `lynceus store gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {
    /// Keep what was live or run so long ago
    #[arg(long, value_name = "DURATION", default_value = "90d")]
    keep: Span,
    /// Leave alone what was written so lately: it may still be being written
    #[arg(long, value_name = "DURATION", default_value = "1d")]
    untouched: Span,
    /// Remove it; without this nothing is changed
    #[arg(long)]
    remove: bool,
    /// Take this as the present instead of the clock
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

pub(crate) fn execute(global: &Global, command: &StoreCommand) -> Result<(), StepError> {
    let store = StorePlace::new(&global.store)?.open()?;
    match command {
        StoreCommand::Check { role } => check(global, store.as_ref(), role.as_deref()),
        StoreCommand::Gc(args) => collect_garbage(global, store.as_ref(), args),
    }
}

fn check(global: &Global, store: &dyn ObjectStore, role: Option<&str>) -> Result<(), StepError> {
    let check = check::check(store)?;
    match global.output {
        OutputFormat::Json => print_json(&check)?,
        OutputFormat::Text => print(&shown(&check))?,
    }
    let asked = check.roles.iter().find(|other| Some(other.role) == role);
    match asked.filter(|role| !role.lacks.is_empty()) {
        Some(role) => Err(StepError::usage(format!(
            "this user may not work as {} in `{}`: it lacks {}",
            role.role,
            check.store,
            role.lacks.join(", ")
        ))
        .hint("give it the policy of its role: see minio/README.md")),
        None => Ok(()),
    }
}

fn shown(check: &Check) -> String {
    let cell = |may: bool| if may { "yes" } else { "no" }.to_owned();
    let head = ["part", "list", "read", "write", "compare", "delete"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(check.areas.iter().map(|area| {
        let Area { name, list, read, write, compare, delete, .. } = area;
        let mut row = vec![(*name).to_owned()];
        row.extend([*list, *read, *write, *compare, *delete].map(cell));
        row
    }));
    let mut text = format!("{}\n", table(&rows));
    for Role { role, lacks, beyond } in &check.roles {
        text.push_str(&match (lacks.is_empty(), beyond.is_empty()) {
            (true, true) => format!("{role}: all it needs and nothing more\n"),
            (true, false) => format!("{role}: all it needs, and more: {}\n", beyond.join(", ")),
            (false, _) => format!("{role}: lacks {}\n", lacks.join(", ")),
        });
    }
    for key in &check.left_behind {
        text.push_str(&format!("left behind, since it may not be deleted: {key}\n"));
    }
    text
}

fn collect_garbage(
    global: &Global,
    store: &dyn ObjectStore,
    args: &GcArgs,
) -> Result<(), StepError> {
    let now = args.now.unwrap_or_else(clock);
    let retention = Retention { now, keep: args.keep, untouched: args.untouched };
    let found = garbage::find(store, retention)?;
    let mut removed = Vec::new();
    for garbage in found.iter().filter(|_| args.remove) {
        if garbage::remove(store, garbage)? {
            removed.push(garbage);
        } else {
            say(&format!("kept: `{}` was promoted meanwhile", garbage.name));
        }
    }
    if global.output == OutputFormat::Json {
        return print_json(&json!({"found": found, "removed": removed}));
    }
    let mut rows =
        vec![["what", "pipeline", "name", "written", "objects"].map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|garbage| {
        let Garbage { kind, pipeline, name, written, keys } = garbage;
        let (written, objects) = (written.to_string(), keys.len().to_string());
        vec![kind.name().to_owned(), pipeline.clone(), name.clone(), written, objects]
    }));
    let end = match (found.len(), args.remove) {
        (0, _) => return print("nothing to remove\n"),
        (count, false) => format!("{count} could go; `--remove` removes them"),
        (_, true) => format!("{} removed", removed.len()),
    };
    print(&format!("{}{end}\n", table(&rows)))
}
