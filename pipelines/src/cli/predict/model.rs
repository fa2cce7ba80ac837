//! The models of a version or a bundle: one for each shard, if there are shards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::bundle::BundleManifest;
use contract::{Division, FeatureContract, Shard, StepError, artifact, read_json};
use fs_err as fs;
use models::Bundle;
use models::classify::ClassBundle;
use store::Registry;

use super::super::context::Context;
use super::super::runs;

/// The model of a shard, or of all entities.
pub(super) type Part = (Option<Shard>, Model);

/// The models of a version.
pub(super) struct Version {
    /// The label whose value determines the shard of an entity; `None` if the entity's name
    /// determines it.
    pub(super) division: Option<Division>,
    pub(super) parts: Vec<Part>,
}

/// A model of either task.
pub(super) enum Model {
    Anomaly(Box<Bundle>),
    Classes(Box<ClassBundle>),
}

impl Model {
    fn of(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, StepError> {
        let manifest = files.get(BundleManifest::FILE).ok_or_else(|| {
            StepError::refused(format!("the bundle has no `{}`", BundleManifest::FILE))
                .hint("use a folder with `bundle.json`, or a pipeline with a live model")
        })?;
        let manifest: BundleManifest = artifact::parse_json(BundleManifest::FILE, manifest)?;
        if manifest.classify.is_some() {
            return ClassBundle::from_files(files).map(Box::new).map(Self::Classes);
        }
        Bundle::from_files(files).map(Box::new).map(Self::Anomaly)
    }

    pub(super) fn read(folder: &Path) -> Result<Self, StepError> {
        let read_error = |e: std::io::Error| StepError::reading(folder, &e);
        let mut files = BTreeMap::new();
        for name in artifact::files_below(folder).map_err(read_error)? {
            files.insert(name.clone(), fs::read(folder.join(&name)).map_err(read_error)?);
        }
        Self::of(&files)
    }

    /// Reads the folder of a bundle, or of a version with shards.
    pub(super) fn read_version(folder: &Path) -> Result<Version, StepError> {
        let shards = runs::parts(folder);
        let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        if shards.iter().any(|shard| shard == folder) {
            return Ok(Version { division: None, parts: vec![(None, Self::read(folder)?)] });
        }
        let manifest: BundleManifest = read_json(&folder.join(BundleManifest::FILE))?;
        let read = |(shard, folder): (Shard, &PathBuf)| Ok((Some(shard), Self::read(folder)?));
        let parts = Shard::all(count).into_iter().zip(&shards).map(read);
        Ok(Version { division: manifest.division, parts: parts.collect::<Result<_, StepError>>()? })
    }

    /// Returns the alarm threshold of the sum of votes.
    pub(super) fn alarm_at(&self) -> Option<f64> {
        match self {
            Self::Anomaly(bundle) => Some(bundle.manifest().vote.alarm_at.to_f64()),
            Self::Classes(_) => None,
        }
    }

    pub(super) fn contract(&self) -> &FeatureContract {
        match self {
            Self::Anomaly(bundle) => &bundle.manifest().contract,
            Self::Classes(bundle) => bundle.contract(),
        }
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
    let parts = fetched.map(|(shard, files)| Ok((shard, Model::of(&files)?)));
    let parts = parts.collect::<Result<_, StepError>>()?;
    Ok(Version { division: registry.manifest(&version)?.division, parts })
}
