//! `lynceus store`: checks permissions in a store, and garbage-collects it.

use contract::{Span, StepError, Timestamp};
use serde_json::json;
use store::ObjectStore;
use store::check::{self, Area, Check, Refusal, Role};
use store::garbage::{self, Garbage, Retention};

use super::context::{StorePlace, clock};
use super::{Global, OutputFormat, print, print_json, say};
use crate::run::table;

/// What to do with a store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StoreCommand {
    /// Show the permissions of this user, by trying each with temporary objects
    #[command(after_help = "Example: lynceus store check --store s3://lynceus --role scorer")]
    Check {
        /// End with exit code 2 if this user lacks what the role needs
        #[arg(long, value_name = "ROLE", value_parser = check::ROLES)]
        role: Option<String>,
    },
    /// List the versions, runs, cache entries, scores and messages that are no longer needed, or
    /// remove them
    #[command(after_help = "Example: lynceus store gc --keep 60d --remove")]
    Gc(GcArgs),
}

/// Flags of `lynceus store gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {
    /// Keep runs, and versions that were live, within this time
    #[arg(long, value_name = "DURATION", default_value = "90d")]
    keep: Span,
    /// Keep scores and messages of this time
    #[arg(long, value_name = "DURATION", default_value = "400d")]
    keep_scores: Span,
    /// Keep all objects that were written within this time, because they may be incomplete
    #[arg(long, value_name = "DURATION", default_value = "1d")]
    untouched: Span,
    /// Remove them; without this flag nothing is changed
    #[arg(long)]
    remove: bool,
    /// Use this evaluation time instead of the clock
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
    match global.output() {
        OutputFormat::Json => print_json(&check)?,
        OutputFormat::Text => print(&shown(&check))?,
    }
    let asked = check.roles.iter().find(|other| Some(other.role) == role);
    match asked.filter(|role| !role.lacks.is_empty()) {
        Some(role) => Err(lacking(&check, role)),
        None => Ok(()),
    }
}

/// Makes the error for a user who lacks permissions of a role: the missing permissions, and the
/// store's messages.
fn lacking(check: &Check, role: &Role) -> StepError {
    let lacks = role.lacks.join(", ");
    let is_lacking =
        |area: &&Area| role.lacks.iter().any(|lack| lack.rsplit(' ').next() == Some(area.name));
    let mut refusals = check.areas.iter().filter(is_lacking).flat_map(|area| &area.refusals);
    let (message, hint) = match refusals.next() {
        Some(Refusal { why, hint }) => (
            format!("this user cannot work as {}: it lacks {lacks}: {why}", role.role),
            hint.clone(),
        ),
        None => (format!("this user cannot work as {}: it lacks {lacks}", role.role), None),
    };
    let policy = || "give it the policy of its role: see minio/README.md".to_owned();
    StepError::usage(message).hint(hint.unwrap_or_else(policy))
}

fn shown(check: &Check) -> String {
    let cell = |may: bool| if may { "yes" } else { "no" }.to_owned();
    let head = ["part", "list", "read", "write", "compare", "delete"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(check.areas.iter().map(|area| {
        let Area { name, list, read, write, compare, delete, .. } = area;
        let mut row = vec![(*name).to_owned()];
        row.extend([*list, *read, *write, *compare].map(cell));
        row.push(delete.map_or("not tried".to_owned(), cell));
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
    // Refused operations that the role does not need are correct. Every role that writes needs
    // conditional writes.
    for area in check.areas.iter().filter(|area| area.write && !area.compare) {
        for Refusal { why, hint } in &area.refusals {
            let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            text.push_str(&format!("{}: {why}{hint}\n", area.name));
        }
    }
    for key in &check.left_behind {
        text.push_str(&format!("left behind, since this user may not delete it: {key}\n"));
    }
    text
}

fn collect_garbage(
    global: &Global,
    store: &dyn ObjectStore,
    args: &GcArgs,
) -> Result<(), StepError> {
    let now = args.now.unwrap_or_else(clock);
    let GcArgs { keep, keep_scores, untouched, .. } = *args;
    let retention = Retention { now, keep, keep_scores, untouched };
    let found = garbage::find(store, retention)?;
    let mut removed = Vec::new();
    for garbage in found.iter().filter(|_| args.remove) {
        if garbage::remove(store, garbage)? {
            removed.push(garbage);
        } else {
            say(&format!("kept: `{}` was promoted meanwhile", garbage.name));
        }
    }
    if global.output() == OutputFormat::Json {
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
