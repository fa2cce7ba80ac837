//! `lynceus models`: the registry.

use contract::{StepError, Timestamp};
use serde_json::json;
use store::{AliasRecord, Change, Registry};

use super::context::{StorePlace, clock};
use super::{Global, OutputFormat, print, print_json};
use crate::run::table;

/// What to do with models.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the versions of a pipeline
    #[command(after_help = "Example: lynceus models list cluster")]
    List {
        /// Name of the pipeline
        pipeline: String,
        /// Mark the version that this alias names
        #[arg(long, default_value = "live")]
        alias: String,
    },
    /// Show what a version is made of and what was measured
    #[command(after_help = "Example: lynceus models show cluster live")]
    Show {
        /// Name of the pipeline
        pipeline: String,
        /// A version, or an alias
        version: String,
    },
    /// Show what an alias named when, and why
    #[command(after_help = "Example: lynceus models history cluster")]
    History {
        /// Name of the pipeline
        pipeline: String,
        /// The alias
        #[arg(long, default_value = "live")]
        alias: String,
    },
    /// Let an alias name a version
    #[command(
        after_help = "Example: lynceus models promote cluster 20261121T083600Z-0123456789ab --why 'knows the new nodes'"
    )]
    Promote {
        /// Name of the pipeline
        pipeline: String,
        /// The version
        version: String,
        #[command(flatten)]
        change: ChangeArgs,
        /// Why, for the history
        #[arg(long, default_value = "promoted by hand")]
        why: String,
    },
    /// Let an alias name again what it named before
    #[command(after_help = "Example: lynceus models rollback cluster")]
    Rollback {
        /// Name of the pipeline
        pipeline: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// Flags of a change of an alias.
#[derive(Debug, clap::Args)]
pub(crate) struct ChangeArgs {
    /// The alias
    #[arg(long, default_value = "live")]
    alias: String,
    /// Take this as the present instead of the clock
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Who changes it, for the history
    #[arg(long, default_value = "lynceus models")]
    by: String,
}

pub(crate) fn execute(global: &Global, command: &ModelsCommand) -> Result<(), StepError> {
    let store = StorePlace::new(&global.store)?.open()?;
    let registry = |pipeline| Registry::new(store.as_ref(), pipeline);
    match command {
        ModelsCommand::List { pipeline, alias } => list(global, &registry(pipeline), alias),
        ModelsCommand::Show { pipeline, version } => {
            let registry = registry(pipeline);
            let alias = registry.alias(version)?;
            let version = alias.as_ref().map_or(version, |alias| &alias.version);
            print_json(&registry.manifest(version)?)
        }
        ModelsCommand::History { pipeline, alias } => {
            show(global, &registry(pipeline).history(alias)?)
        }
        ModelsCommand::Promote { pipeline, version, change, why } => {
            let registry = registry(pipeline);
            let current = registry.alias(&change.alias)?;
            let now = change.now.unwrap_or_else(clock);
            let change = Change { alias: &change.alias, version, now, by: &change.by, why };
            show(global, &[registry.promote(&change, current.as_ref())?])
        }
        ModelsCommand::Rollback { pipeline, change } => {
            let now = change.now.unwrap_or_else(clock);
            show(global, &[registry(pipeline).rollback(&change.alias, now, &change.by)?])
        }
    }
}

fn list(global: &Global, registry: &Registry<'_>, alias: &str) -> Result<(), StepError> {
    let (versions, live) = (registry.versions()?, registry.alias(alias)?);
    let is_live = |version: &str| live.as_ref().is_some_and(|record| record.version == version);
    if global.output == OutputFormat::Json {
        let versions =
            versions.iter().map(|version| json!({"version": version, alias: is_live(version)}));
        return print_json(&versions.collect::<Vec<_>>());
    }
    let mut rows = vec![["version", "alias"].map(str::to_owned).to_vec()];
    rows.extend(versions.iter().map(|version| {
        vec![version.clone(), if is_live(version) { alias.to_owned() } else { String::new() }]
    }));
    print(&table(&rows))
}

fn show(global: &Global, records: &[AliasRecord]) -> Result<(), StepError> {
    if global.output == OutputFormat::Json {
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
