//! The registry of a pipeline's models: versions that never change, aliases changed by
//! compare-and-set, and a history of every change.
//!
//! ```text
//! models/<pipeline>/versions/<version>/...                 immutable; bundle.json comes last
//! models/<pipeline>/versions/<version>/shard-<K>/...       the parts of a pipeline with shards
//! models/<pipeline>/aliases/<alias>.json                   what an alias names
//! models/<pipeline>/history/<alias>/<time>-<change>.json   append-only
//! ```

mod aliases;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::artifact::{json_bytes, parse_json, sha256};
use contract::bundle::{BundleManifest, FileRecord};
use contract::deployment::Figures;
use contract::{Division, OTHER_VERSION_HINT, Shard, StepError};
use fs_err as fs;

use crate::FolderStore;
use crate::key::check_part;
use crate::object::{Condition, ObjectStore, Put, for_each_key};
use crate::parts::{self, Expected};

/// Files of a bundle by name, `bundle.json` among them.
pub type BundleFiles = BTreeMap<String, Vec<u8>>;

/// Digits of the manifest's SHA-256 in a version's name.
const HASH_DIGITS: usize = 12;

/// The models of a pipeline in a store.
#[derive(Debug, Clone, Copy)]
pub struct Registry<'a> {
    store: &'a dyn ObjectStore,
    pipeline: &'a str,
    shard: Option<Shard>,
    expected: Option<Expected<'a>>,
}

impl<'a> Registry<'a> {
    /// Opens the pipeline's registry; for a shard's store it reads the parts of the shard. Nothing
    /// is read or written yet.
    pub fn new(store: &'a dyn ObjectStore, pipeline: &'a str) -> Self {
        Self { store, pipeline, shard: store.shard(), expected: None }
    }

    /// Returns the registry that reads the parts of a shard; without a shard it reads whole
    /// versions.
    #[must_use]
    pub fn of_shard(self, shard: Option<Shard>) -> Self {
        Self { shard, ..self }
    }

    /// Returns the registry that registers and fetches versions whose shards are divided by the value of
    /// a label, or by the names of entities. Fetching a version that is divided in another way is refused.
    #[must_use]
    pub fn divided_by(self, division: Option<&'a Division>) -> Self {
        let expected = division.map_or(Expected::ByName, Expected::ByLabel);
        Self { expected: Some(expected), ..self }
    }

    /// Registers a bundle folder and returns its version, which is derived from its bytes: the end
    /// of its training rows and the first digits of its manifest's SHA-256. `bundle.json` is
    /// written last, so a listed version is complete. Registering the same bundle again changes
    /// nothing.
    ///
    /// Errors: refused for a folder whose files do not match its manifest, or that belongs to
    /// another pipeline.
    pub fn put_version(&self, bundle: &Path) -> Result<String, StepError> {
        let (manifest, bytes) = self.read_bundle(bundle)?;
        let version = version_name(&manifest, &bytes);
        self.put_files(&version, "", bundle, &manifest)?;
        self.put_immutable(&self.version_key(&version, BundleManifest::FILE), &bytes)?;
        Ok(version)
    }

    /// Registers the bundles of all shards, in their order, as the parts of one version, like
    /// [`Registry::put_version`]; `metrics` are those of all parts together. The version's own
    /// manifest is written last.
    ///
    /// Errors: as [`Registry::put_version`].
    pub fn put_parts(&self, bundles: &[PathBuf], metrics: Figures) -> Result<String, StepError> {
        let parts =
            bundles.iter().map(|bundle| self.read_bundle(bundle)).collect::<Result<Vec<_>, _>>()?;
        let manifest = parts::whole(&parts, metrics, self.expected.and_then(Expected::division))?;
        let bytes = json_bytes(&manifest)?;
        let version = version_name(&manifest, &bytes);
        for ((record, bundle), (part, bytes)) in manifest.parts.iter().zip(bundles).zip(&parts) {
            let folder = record.file.strip_suffix(BundleManifest::FILE).unwrap_or_default();
            self.put_files(&version, folder, bundle, part)?;
            self.put_immutable(&self.version_key(&version, &record.file), bytes)?;
        }
        self.put_immutable(&self.version_key(&version, BundleManifest::FILE), &bytes)?;
        Ok(version)
    }

    /// Reads the manifest of a bundle folder, which must be one of this pipeline.
    fn read_bundle(&self, bundle: &Path) -> Result<(BundleManifest, Vec<u8>), StepError> {
        let path = bundle.join(BundleManifest::FILE);
        let bytes = fs::read(&path).map_err(|e| StepError::reading(&path, &e))?;
        let manifest = parse_manifest(&path.display().to_string(), &bytes)?;
        if manifest.pipeline == self.pipeline {
            return Ok((manifest, bytes));
        }
        Err(StepError::refused(format!(
            "`{}` is a bundle of pipeline `{}`, not of `{}`",
            bundle.display(),
            manifest.pipeline,
            self.pipeline
        ))
        .hint("deploy it with the document of that pipeline: a version belongs to one pipeline"))
    }

    /// Writes the files of a bundle below a folder of a version.
    fn put_files(
        &self,
        version: &str,
        folder: &str,
        bundle: &Path,
        manifest: &BundleManifest,
    ) -> Result<(), StepError> {
        let path = bundle.join(BundleManifest::FILE);
        for record in manifest.files() {
            check_file_name(&path.display().to_string(), &record.file)?;
            let path = bundle.join(&record.file);
            let bytes = fs::read(&path).map_err(|e| StepError::reading(&path, &e))?;
            verify(&path.display().to_string(), &bytes, &record.sha256)?;
            let key = self.version_key(version, &format!("{folder}{}", record.file));
            self.put_immutable(&key, &bytes)?;
        }
        Ok(())
    }

    /// Returns the registered versions in the order of their names, which is the order of their
    /// training ranges.
    pub fn versions(&self) -> Result<Vec<String>, StepError> {
        let prefix = format!("models/{}/versions/", self.pipeline);
        let mut versions = Vec::new();
        for_each_key(self.store, &prefix, |key| {
            let name = key.strip_prefix(&prefix).unwrap_or(key);
            if let Some((version, BundleManifest::FILE)) = name.split_once('/') {
                versions.push(version.to_owned());
            }
            Ok(())
        })?;
        versions.sort();
        Ok(versions)
    }

    /// Returns the last `limit` of the registered versions in the order of their names, and whether
    /// there are more; the cost hardly grows with their number.
    pub fn latest_versions(&self, limit: usize) -> Result<(Vec<String>, bool), StepError> {
        let names = self.store.folders(&format!("models/{}/versions/", self.pipeline))?;
        let mut latest = Vec::new();
        let mut rest = names.as_slice();
        while latest.len() <= limit && !rest.is_empty() {
            let (before, names) = rest.split_at(rest.len().saturating_sub(limit + 1));
            rest = before;
            let keys = names.iter().map(|name| self.version_key(name, BundleManifest::FILE));
            let written = self.store.modified(&keys.collect::<Vec<_>>())?;
            // A version without a manifest does not exist yet.
            let there = names.iter().zip(written).rev().filter(|(_, written)| written.is_some());
            latest.extend(there.map(|(name, _)| name.clone()));
        }
        let more = latest.len() > limit;
        latest.truncate(limit);
        latest.reverse();
        Ok((latest, more))
    }

    /// Resolves a name to a version: the version of the alias with that name, the version itself,
    /// or the only version whose name begins with it.
    ///
    /// Errors: refused if no version begins with the name, usage if several do.
    pub fn resolve(&self, name: &str) -> Result<String, StepError> {
        check_part(name)?;
        if let Some(record) = self.alias(name)? {
            return Ok(record.version);
        }
        let versions = self.store.folders(&format!("models/{}/versions/", self.pipeline))?;
        let matching: Vec<&String> = versions.iter().filter(|it| it.starts_with(name)).collect();
        match matching.as_slice() {
            _ if versions.iter().any(|version| version == name) => Ok(name.to_owned()),
            [version] => Ok((*version).clone()),
            [] => Err(self.missing(name, BundleManifest::FILE)),
            several => {
                let count = several.len();
                let pipeline = self.pipeline;
                Err(StepError::usage(format!(
                    "{count} versions of `{pipeline}` begin with `{name}`"
                ))
                .hint(format!(
                    "write more characters of the name: {} or {}",
                    several[0], several[1]
                )))
            }
        }
    }

    /// Reads a version's manifest; one that is not registered, or does not match the hash in its
    /// name, is refused.
    pub fn manifest(&self, version: &str) -> Result<BundleManifest, StepError> {
        Ok(self.manifest_and_bytes(version)?.0)
    }

    /// Fetches all files of a version, each verified against the SHA-256 in `bundle.json`, and
    /// `bundle.json` against the version's name. With a cache folder, valid files are read from it,
    /// and fetched ones are added to it. A shard's store returns the shard's part of the version.
    ///
    /// Errors: refused for a version that is not registered, for one of another number of shards, and
    /// for a file that is missing or has another hash (both are named).
    pub fn fetch(&self, version: &str, cache: Option<&Path>) -> Result<BundleFiles, StepError> {
        self.fetch_where(version, cache, |_, _| true)
    }

    /// Like [`Registry::fetch`], for `bundle.json` and the files that `wanted` selects.
    pub fn fetch_where(
        &self,
        version: &str,
        cache: Option<&Path>,
        wanted: impl Fn(&BundleManifest, &FileRecord) -> bool,
    ) -> Result<BundleFiles, StepError> {
        let cache = cache.map(FolderStore::open).transpose()?;
        let read = |file: &str, check: &Check<'_>| {
            let key = self.version_key(version, file);
            // A cache that cannot be read or written only makes fetching slower.
            let kept = cache.as_ref().and_then(|cache| cache.get(&key).ok().flatten());
            if let Some(object) = kept.filter(|object| check(&key, &object.bytes).is_ok()) {
                return Ok(object.bytes);
            }
            let object = self.store.get(&key)?.ok_or_else(|| self.missing(version, file))?;
            check(&key, &object.bytes)?;
            if let Some(cache) = &cache {
                drop(cache.put(&key, &object.bytes, Condition::Any));
            }
            Ok::<_, StepError>(object.bytes)
        };
        let named = |_: &str, bytes: &[u8]| self.check_manifest(version, bytes).map(drop);
        let mut bytes = read(BundleManifest::FILE, &named)?;
        let mut manifest = self.check_manifest(version, &bytes)?;
        let mut folder = "";
        let part = parts::of_shard(&manifest, self.shard, self.pipeline, version)?.cloned();
        if let (Some(_), Some(expected)) = (&part, self.expected) {
            parts::check_division(&manifest, expected.division(), self.pipeline, version)?;
        }
        if let Some(part) = &part {
            bytes = read(&part.file, &|key, bytes| verify(key, bytes, &part.sha256))?;
            manifest = parse_manifest(&self.version_key(version, &part.file), &bytes)?;
            folder = part.file.strip_suffix(BundleManifest::FILE).unwrap_or_default();
        }
        let mut files = BundleFiles::from([(BundleManifest::FILE.to_owned(), bytes)]);
        for record in manifest.files().filter(|record| wanted(&manifest, record)) {
            check_file_name(&self.version_key(version, BundleManifest::FILE), &record.file)?;
            let check = |key: &str, bytes: &[u8]| verify(key, bytes, &record.sha256);
            let bytes = read(&format!("{folder}{}", record.file), &check)?;
            files.insert(record.file.clone(), bytes);
        }
        Ok(files)
    }

    fn put_immutable(&self, key: &str, bytes: &[u8]) -> Result<(), StepError> {
        match self.store.put(key, bytes, Condition::IfAbsent)? {
            Put::Written(_) => Ok(()),
            Put::Conflict => match self.store.get(key)? {
                Some(object) => verify(key, &object.bytes, &sha256(bytes)),
                None => Err(StepError::lost_race(format!("`{key}` was removed while it was read"))
                    .hint("run again")),
            },
        }
    }

    fn manifest_and_bytes(&self, version: &str) -> Result<(BundleManifest, Vec<u8>), StepError> {
        check_part(version)?;
        let key = self.version_key(version, BundleManifest::FILE);
        let object = self.store.get(&key)?;
        let bytes = object.ok_or_else(|| self.missing(version, BundleManifest::FILE))?.bytes;
        Ok((self.check_manifest(version, &bytes)?, bytes))
    }

    fn check_manifest(&self, version: &str, bytes: &[u8]) -> Result<BundleManifest, StepError> {
        let key = self.version_key(version, BundleManifest::FILE);
        if !names_manifest(version, bytes) {
            return Err(StepError::damaged(format!(
                "`{key}` has the SHA-256 `{}`, which version `{version}` does not end with the \
                 first digits of",
                sha256(bytes)
            )));
        }
        parse_manifest(&key, bytes)
    }

    fn missing(&self, version: &str, file: &str) -> StepError {
        let store = self.store.describe();
        if file == BundleManifest::FILE {
            let message = format!("`{}` has no version `{version}` in `{store}`", self.pipeline);
            return StepError::refused(message).hint(format!(
                "lynceus models list {} shows those that are registered",
                self.pipeline
            ));
        }
        StepError::refused(format!("`{}` is missing in `{store}`", self.version_key(version, file)))
            .hint("restore it from a backup, or train again")
    }

    fn version_key(&self, version: &str, file: &str) -> String {
        format!("models/{}/versions/{version}/{file}", self.pipeline)
    }
}

/// Refuses bytes that do not match the hash of their key.
type Check<'a> = dyn Fn(&str, &[u8]) -> Result<(), StepError> + 'a;

fn version_name(manifest: &BundleManifest, bytes: &[u8]) -> String {
    let time = manifest.provenance.train_end.compact();
    format!("{time}-{}", &sha256(bytes)[..HASH_DIGITS])
}

fn names_manifest(version: &str, bytes: &[u8]) -> bool {
    version.rsplit_once('-').is_some_and(|(_, digits)| digits == &sha256(bytes)[..HASH_DIGITS])
}

fn parse_manifest(name: &str, bytes: &[u8]) -> Result<BundleManifest, StepError> {
    let manifest: BundleManifest = parse_json(name, bytes)?;
    if manifest.format == BundleManifest::FORMAT {
        return Ok(manifest);
    }
    Err(StepError::refused(format!(
        "`{name}` has format {}, this version reads format {}",
        manifest.format,
        BundleManifest::FORMAT
    ))
    .hint(OTHER_VERSION_HINT))
}

/// Checks that a manifest names only files in its own folder. Another name is an error of kind
/// refused, not usage.
fn check_file_name(manifest: &str, file: &str) -> Result<(), StepError> {
    check_part(file).map_err(|e| StepError::refused(format!("`{manifest}`: {}", e.message)))
}

fn verify(name: &str, bytes: &[u8], expected: &str) -> Result<(), StepError> {
    let found = sha256(bytes);
    if found == expected {
        return Ok(());
    }
    Err(StepError::damaged(format!("`{name}` has the SHA-256 `{found}`, expected `{expected}`")))
}
