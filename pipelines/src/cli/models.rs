//! `lynceus models`: the registry.

mod compare;
mod matching;
mod show;

use contract::{Span, StepError, Timestamp};
use serde_json::json;
use store::{AliasRecord, Change, ObjectStore, Registry};

use super::context::{StorePlace, clock};
use super::{Global, OutputFormat, print, print_json, say};
use crate::run::table;

/// What to do with models.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the latest versions of a pipeline, or of all pipelines of the store, oldest first
    #[command(after_help = "Example: lynceus models list cluster")]
    List {
        /// Name of the pipeline [default: all]
        pipeline: Option<String>,
        /// Mark the version that this alias points at
        #[arg(long, default_value = "live")]
        alias: String,
        /// Most versions listed per pipeline
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show the content and the metrics of a version
    #[command(after_help = "Example: lynceus models show cluster live")]
    Show {
        /// Name of the pipeline
        pipeline: String,
        /// A version, its beginning, or an alias
        version: String,
    },
    /// Show the history of an alias: versions, times, reasons
    #[command(after_help = "Example: lynceus models history cluster")]
    History {
        /// Name of the pipeline
        pipeline: String,
        /// The alias
        #[arg(long, default_value = "live")]
        alias: String,
    },
    /// Compare the verdicts of two versions on the same windows: the live one and its challenger
    #[command(after_help = "Example: lynceus models compare cluster live shadow --last 24h")]
    Compare {
        /// Name of the pipeline
        pipeline: String,
        /// An alias, a version, or its beginning
        #[arg(default_value = "live")]
        first: String,
        /// An alias, a version, or its beginning
        #[arg(default_value = "shadow")]
        second: String,
        /// Length of the time range before the last scored window
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        last: Span,
    },
    /// Find the model of an entity's class in another pipeline, where an alias has the name of the
    /// class
    #[command(after_help = "Example: lynceus models match container orders-db-0 --for pod")]
    Match(matching::MatchArgs),
    /// Point an alias at a version
    #[command(
        after_help = "Example: lynceus models promote cluster 20261121T083600Z-0123456789ab --why 'knows the new nodes'"
    )]
    Promote {
        /// Name of the pipeline
        pipeline: String,
        /// The version, or its beginning
        version: String,
        #[command(flatten)]
        change: ChangeArgs,
        /// Reason, for the history
        #[arg(long, default_value = "promoted by hand")]
        why: String,
    },
    /// Roll an alias back to the previous version
    #[command(
        after_help = "Example: lynceus models rollback cluster --why 'alerts on every deployment'"
    )]
    Rollback {
        /// Name of the pipeline
        pipeline: String,
        #[command(flatten)]
        change: ChangeArgs,
        /// Reason, for the history
        #[arg(long)]
        why: Option<String>,
    },
}

/// Flags of a change of an alias.
#[derive(Debug, clap::Args)]
pub(crate) struct ChangeArgs {
    /// The alias
    #[arg(long, default_value = "live")]
    alias: String,
    /// Use this evaluation time instead of the clock
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Name of who changes it, for the history
    #[arg(long, default_value = "lynceus models")]
    by: String,
}

pub(crate) fn execute(global: &Global, command: &ModelsCommand) -> Result<(), StepError> {
    let place = StorePlace::new(&global.store)?;
    let store = place.open()?;
    let registry = |pipeline| Registry::new(store.as_ref(), pipeline);
    match command {
        ModelsCommand::List { pipeline, alias, limit } => {
            let names = match pipeline {
                Some(name) => vec![name.clone()],
                None => place.pipelines()?,
            };
            list(global, store.as_ref(), &names, alias, *limit)
        }
        ModelsCommand::Show { pipeline, version } => {
            let registry = registry(pipeline);
            let version = registry.resolve(version)?;
            let manifest = registry.manifest(&version)?;
            match global.output() {
                OutputFormat::Json => print_json(&manifest),
                OutputFormat::Text => print(&show::text(&version, &manifest)),
            }
        }
        ModelsCommand::History { pipeline, alias } => {
            show_aliases(global, &registry(pipeline).history(alias)?)
        }
        ModelsCommand::Compare { pipeline, first, second, last } => {
            compare::execute(global, store.as_ref(), pipeline, [first, second], *last)
        }
        ModelsCommand::Match(args) => matching::execute(global, store.as_ref(), args),
        ModelsCommand::Promote { pipeline, version, change, why } => {
            let registry = registry(pipeline);
            let version = &registry.resolve(version)?;
            let current = registry.alias(&change.alias)?;
            let now = change.now.unwrap_or_else(clock);
            let change = Change { alias: &change.alias, version, now, by: &change.by, why };
            show_aliases(global, &[registry.promote(&change, current.as_ref())?])
        }
        ModelsCommand::Rollback { pipeline, change, why } => {
            let now = change.now.unwrap_or_else(clock);
            let (registry, why) = (registry(pipeline), why.as_deref());
            show_aliases(global, &[registry.rollback(&change.alias, now, &change.by, why)?])
        }
    }
}

/// An entry of the list of versions.
struct Listed {
    pipeline: String,
    version: String,
    is_live: bool,
}

fn list(
    global: &Global,
    store: &dyn ObjectStore,
    pipelines: &[String],
    alias: &str,
    limit: u32,
) -> Result<(), StepError> {
    let mut listed = Vec::new();
    for pipeline in pipelines {
        let registry = Registry::new(store, pipeline);
        let live = registry.alias(alias)?;
        let (versions, more) =
            registry.latest_versions(usize::try_from(limit).unwrap_or(usize::MAX))?;
        if versions.is_empty() && pipelines.len() == 1 {
            crate::find::known(pipeline, &global.pipelines)?;
        }
        if more {
            say(&format!("the latest {limit} versions of {pipeline}; `--limit` shows more"));
        }
        listed.extend(versions.into_iter().map(|version| Listed {
            is_live: live.as_ref().is_some_and(|record| record.version == version),
            pipeline: pipeline.clone(),
            version,
        }));
    }
    if global.output() == OutputFormat::Json {
        let versions = listed
            .iter()
            .map(|it| json!({"pipeline": it.pipeline, "version": it.version, alias: it.is_live}));
        return print_json(&versions.collect::<Vec<_>>());
    }
    let mut rows = vec![["pipeline", "version", "alias"].map(str::to_owned).to_vec()];
    rows.extend(listed.into_iter().map(|it| {
        let alias = if it.is_live { alias.to_owned() } else { String::new() };
        vec![it.pipeline, it.version, alias]
    }));
    print(&table(&rows))
}

fn show_aliases(global: &Global, records: &[AliasRecord]) -> Result<(), StepError> {
    if global.output() == OutputFormat::Json {
        return print_json(&records);
    }
    let mut rows = vec![["since", "version", "by", "why"].map(str::to_owned).to_vec()];
    rows.extend(records.iter().map(|record| {
        vec![
            record.since.to_string(),
            record.version.clone(),
            record.by.clone(),
            record.why.clone(),
        ]
    }));
    print(&table(&rows))
}
