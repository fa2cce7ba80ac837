//! The models of a version or a bundle: one for each shard, if there are shards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::bundle::BundleManifest;
use contract::{Division, Shard, StepError, read_json};
use models::AnyBundle;
use models::bundle::files_of;
use store::Registry;

use super::super::context::Context;
use super::super::runs;

/// The model of a shard, or of all entities.
pub(super) type Part = (Option<Shard>, AnyBundle);

/// The models of a version.
pub(super) struct Version {
    /// The label whose value determines the shard of an entity; `None` if the entity's name
    /// determines it.
    pub(super) division: Option<Division>,
    pub(super) parts: Vec<Part>,
}

impl Version {
    /// Reads the folder of a bundle, or of a version with shards.
    pub(super) fn read(folder: &Path) -> Result<Self, StepError> {
        let shards = runs::parts(folder);
        let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        if shards.iter().any(|shard| shard == folder) {
            return Ok(Self { division: None, parts: vec![(None, read(folder)?)] });
        }
        let manifest: BundleManifest = read_json(&folder.join(BundleManifest::FILE))?;
        let part = |(shard, folder): (Shard, &PathBuf)| Ok((Some(shard), read(folder)?));
        let parts = Shard::all(count).into_iter().zip(&shards).map(part);
        Ok(Self { division: manifest.division, parts: parts.collect::<Result<_, StepError>>()? })
    }
}

/// Reads the folder of a bundle.
pub(super) fn read(folder: &Path) -> Result<AnyBundle, StepError> {
    of(&files_of(folder)?)
}

fn of(files: &BTreeMap<String, Vec<u8>>) -> Result<AnyBundle, StepError> {
    if files.contains_key(BundleManifest::FILE) {
        return AnyBundle::from_files(files);
    }
    Err(StepError::refused(format!("the bundle has no `{}`", BundleManifest::FILE))
        .hint("use a folder with `bundle.json`, or a pipeline with a live model"))
}

/// Returns the alarm threshold of the sum of votes.
pub(super) fn alarm_at(model: &AnyBundle) -> Option<f64> {
    match model {
        AnyBundle::Anomaly(bundle) => Some(bundle.manifest().vote.alarm_at.to_f64()),
        AnyBundle::Classify(_) => None,
    }
}

/// Fetches the models of the live version of a pipeline, or of the requested version, for each
/// shard.
pub(super) fn live(context: &Context, version: Option<&str>) -> Result<Version, StepError> {
    let (store, name) = (context.store.open()?, &context.document.name);
    let registry = Registry::new(store.as_ref(), name);
    let alias = &context.document.deployment.alias;
    let version = match version {
        Some(version) => registry.resolve(version)?,
        None => registry.alias(alias)?.map(|record| record.version).ok_or_else(|| {
            StepError::refused(format!("no model of `{name}` is `{alias}` yet"))
                .hint(format!("train one: lynceus run {name}"))
        })?,
    };
    let fetched = registry.fetch_parts(&version)?.into_iter();
    let parts = fetched.map(|(shard, files)| Ok((shard, of(&files)?)));
    let parts = parts.collect::<Result<_, StepError>>()?;
    Ok(Version { division: registry.manifest(&version)?.division, parts })
}
