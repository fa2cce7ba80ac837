//! `lynceus features`: the feature catalogue.

mod backfill;
mod bare;
mod diff;
mod parts;
pub(super) mod pins;
mod publish;
mod show;
mod stats;
mod uses;

use contract::catalog::{GroupVersion, Part};
use contract::{StepError, units};
use serde::Serialize;
use store::Catalog;

use super::context::StorePlace;
use super::{Global, OutputFormat, print, print_json};
use crate::run::table;

/// What to do with feature groups.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum FeaturesCommand {
    /// Publish the feature rows of a run, or of a table, as daily parts of a feature group
    #[command(
        after_help = "With a table: lynceus features publish --table rows.parquet --step 1m --entity host --group host_load\n\nExample: lynceus features publish node --group node_golden"
    )]
    Publish(publish::PublishArgs),
    /// Compute and publish the days that a feature group lacks, or list them
    #[command(
        after_help = "Example: lynceus features backfill node --group node_golden --from 2026-11-01 --list"
    )]
    Backfill(backfill::BackfillArgs),
    /// List feature groups with their latest version
    #[command(after_help = "Example: lynceus features list")]
    List,
    /// Show a feature group: its features, its days, and its users
    #[command(after_help = "Example: lynceus features show node_golden")]
    Show(GroupArgs),
    /// Show statistics of the features of a group, over all days or a range of days
    #[command(after_help = "Example: lynceus features stats node_golden --from 2026-11-20")]
    Stats(stats::StatsArgs),
    /// Compare two versions of a feature group: features, units, formulas, distributions
    #[command(after_help = "Example: lynceus features diff node_golden 1 2")]
    Diff(diff::DiffArgs),
    /// Find features by a text in their name, formula or unit, or in the description of their group
    #[command(after_help = "Example: lynceus features find cpu")]
    Find {
        /// The text, in any case
        text: String,
    },
    /// Show which documents, runs and models use which version of a feature group
    #[command(after_help = "Example: lynceus features uses node_golden")]
    Uses {
        /// Name of the group [default: all]
        group: Option<String>,
    },
}

/// A group and one of its versions.
#[derive(Debug, clap::Args)]
pub(crate) struct GroupArgs {
    /// Name of the group
    pub(crate) group: String,
    /// The version [default: the latest]
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u32>,
}

impl GroupArgs {
    fn find(&self, catalog: Catalog<'_>) -> Result<GroupVersion, StepError> {
        match self.version {
            Some(version) => catalog.version(&self.group, version),
            None => catalog.latest(&self.group),
        }
    }
}

pub(crate) fn execute(global: &Global, command: &FeaturesCommand) -> Result<(), StepError> {
    let place = StorePlace::new(&global.store)?;
    let store = place.open()?;
    let catalog = Catalog::new(store.as_ref());
    match command {
        FeaturesCommand::Publish(args) => publish::execute(global, &place, catalog, args),
        FeaturesCommand::Backfill(args) => backfill::execute(global, catalog, args),
        FeaturesCommand::List => list(global, catalog),
        FeaturesCommand::Show(args) => show::execute(global, &place, catalog, args),
        FeaturesCommand::Stats(args) => stats::execute(global, catalog, args),
        FeaturesCommand::Diff(args) => diff::execute(global, catalog, args),
        FeaturesCommand::Find { text } => find(global, catalog, text),
        FeaturesCommand::Uses { group } => uses::execute(global, &place, catalog, group.as_ref()),
    }
}

/// An entry of the list of groups.
#[derive(Debug, Serialize)]
struct Listed {
    group: String,
    version: u32,
    features: usize,
    days: usize,
    rows: u64,
    size_bytes: u64,
    first: Option<String>,
    last: Option<String>,
    owner: String,
    description: String,
}

impl Listed {
    fn of(version: GroupVersion, parts: &[Part]) -> Self {
        Self {
            group: version.group,
            version: version.version,
            features: version.contract.columns.len(),
            days: parts.len(),
            rows: parts.iter().map(|part| part.rows).sum(),
            size_bytes: parts.iter().map(|part| part.size_bytes).sum(),
            first: parts.first().map(|part| part.date.clone()),
            last: parts.last().map(|part| part.date.clone()),
            owner: version.owner,
            description: version.description,
        }
    }
}

fn list(global: &Global, catalog: Catalog<'_>) -> Result<(), StepError> {
    let mut listed = Vec::new();
    for group in catalog.groups()? {
        // A folder left over from `store check` has no version.
        let Some(version) = catalog.versions(&group)?.last().copied() else { continue };
        let parts = catalog.parts(&group, version)?;
        listed.push(Listed::of(catalog.version(&group, version)?, &parts));
    }
    if global.output() == OutputFormat::Json {
        return print_json(&listed);
    }
    let head =
        ["group", "version", "features", "days", "rows", "size", "first", "last", "description"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(listed.into_iter().map(|it| {
        vec![
            it.group,
            it.version.to_string(),
            it.features.to_string(),
            it.days.to_string(),
            it.rows.to_string(),
            units::bytes(it.size_bytes),
            it.first.unwrap_or_default(),
            it.last.unwrap_or_default(),
            it.description,
        ]
    }));
    print(&table(&rows))
}

/// A feature that was found.
#[derive(Debug, Serialize)]
struct FoundFeature {
    group: String,
    version: u32,
    feature: String,
    unit: String,
    formula: String,
}

/// Finds features of the latest version of each group.
fn find(global: &Global, catalog: Catalog<'_>, text: &str) -> Result<(), StepError> {
    let text = text.to_lowercase();
    let has = |words: &str| words.to_lowercase().contains(&text);
    let mut found = Vec::new();
    for group in catalog.groups()? {
        let Some(version) = catalog.versions(&group)?.last().copied() else { continue };
        let version = catalog.version(&group, version)?;
        let about = [&version.group, &version.description, &version.owner];
        let is_group = about.into_iter().chain(&version.tags).any(|words| has(words));
        let columns = version.contract.columns.into_iter().filter(|column| {
            is_group || has(&column.name) || has(&column.unit) || has(&column.formula)
        });
        found.extend(columns.map(|column| FoundFeature {
            group: group.clone(),
            version: version.version,
            feature: column.name,
            unit: column.unit,
            formula: column.formula,
        }));
    }
    if global.output() == OutputFormat::Json {
        return print_json(&found);
    }
    let head = ["group", "version", "feature", "unit", "formula"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(
        found
            .into_iter()
            .map(|it| vec![it.group, it.version.to_string(), it.feature, it.unit, it.formula]),
    );
    print(&table(&rows))
}
