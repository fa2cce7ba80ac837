//! Garbage collection: objects of a store that nothing refers to.
//!
//! A version is needed while an alias points at it or could be rolled back to it, and while the
//! retention covers a time at which it was live. A run is needed within the retention. Recently
//! written objects are kept, because a writer may be about to refer to them. Scores and messages
//! are needed as long as [`Retention::keep_scores`] says; a bucket with the lifecycle of `minio/`
//! removes them by itself.

use std::collections::BTreeSet;

use contract::bundle::BundleManifest;
use contract::{Shard, Span, StepError, Timestamp};
use serde::Serialize;

use crate::object::{ObjectStore, for_each_key};
use crate::{AliasRecord, Registry, check};

const DAY: Span = Span::from_seconds(86_400);

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Current time.
    pub now: Timestamp,
    /// Versions that were live, and runs, within this time are kept.
    pub keep: Span,
    /// Scores and messages within this time are kept.
    pub keep_scores: Span,
    /// Items with an object younger than this are kept.
    pub untouched: Span,
}

impl Retention {
    /// Objects written before this time are removed if nothing refers to them.
    fn touched_before(self) -> Timestamp {
        self.now - self.untouched
    }
}

/// Kind of an unreferenced item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A version of a model, or the objects of an incomplete version.
    Version,
    /// A run with its artifacts.
    Run,
    /// An entry of the cache.
    Cache,
    /// The score objects of a day.
    Scores,
    /// The messages of a day.
    Messages,
    /// An object that `lynceus store check` could not delete.
    Check,
}

impl Kind {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Run => "run",
            Self::Cache => "cache",
            Self::Scores => "scores",
            Self::Messages => "messages",
            Self::Check => "check",
        }
    }

    /// Returns the record file, directly in the folder, without which the other files are useless.
    fn record(self) -> Option<&'static str> {
        match self {
            Self::Version => Some(BundleManifest::FILE),
            Self::Run => Some("run.json"),
            Self::Cache | Self::Scores | Self::Messages | Self::Check => None,
        }
    }
}

/// An item that may be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// Kind of the item.
    pub kind: Kind,
    /// Pipeline; empty for the cache and for leftovers of a check, which have none.
    pub pipeline: String,
    /// Name of the version, the run, or the entry.
    pub name: String,
    /// When the last of its objects was written, by the store's clock; for scores and messages the
    /// end of their day.
    pub written: Timestamp,
    /// Its objects, in the order of removal: the record first.
    pub keys: Vec<String>,
}

/// Finds unreferenced items; changes nothing.
pub fn find(store: &dyn ObjectStore, retention: Retention) -> Result<Vec<Garbage>, StepError> {
    let mut found = Vec::new();
    for pipeline in pipelines(store, "models/")? {
        let needed = needed_versions(store, &pipeline, retention)?;
        for version in store.folders(&format!("models/{pipeline}/versions/"))? {
            if !needed.contains(&version) {
                let prefix = format!("models/{pipeline}/versions/{version}/");
                let garbage = of(store, Kind::Version, &pipeline, &version, &prefix)?;
                found.extend(garbage.filter(|it| it.written < retention.touched_before()));
            }
        }
    }
    let old_before = retention.touched_before().min(retention.now - retention.keep);
    let old = |it: &Garbage| it.written < old_before;
    for pipeline in pipelines(store, "runs/")? {
        for run in store.folders(&format!("runs/{pipeline}/"))? {
            let prefix = format!("runs/{pipeline}/{run}/");
            found.extend(of(store, Kind::Run, &pipeline, &run, &prefix)?.filter(old));
        }
    }
    found.extend(cache(store)?.into_iter().filter(old));
    for kind in [Kind::Scores, Kind::Messages] {
        found.extend(days(store, kind, retention.now - retention.keep_scores)?);
    }
    found.extend(leftovers(store)?);
    Ok(found)
}

/// Returns the pipelines with objects below a folder.
fn pipelines(store: &dyn ObjectStore, folder: &str) -> Result<Vec<String>, StepError> {
    let mut names = store.folders(folder)?;
    names.retain(|name| check::is_pipeline(name));
    Ok(names)
}

/// Gathers the days of scores or messages that ended before a time. They are recognised by their
/// names: requesting the age of each object of a day would take 1440 requests.
fn days(store: &dyn ObjectStore, kind: Kind, before: Timestamp) -> Result<Vec<Garbage>, StepError> {
    let mut found = Vec::new();
    for pipeline in pipelines(store, &format!("{}/", kind.name()))? {
        let folder = format!("{}/{pipeline}/", kind.name());
        for day in days_of(store, &folder)? {
            let date = day.rsplit_once("date=").map_or(day.as_str(), |(_, date)| date).to_owned();
            let Ok(start) = format!("{date}T00:00:00Z").parse::<Timestamp>() else { continue };
            let written = start + DAY;
            if written > before {
                continue;
            }
            let mut keys = Vec::new();
            for_each_key(store, &format!("{folder}{day}/"), |key| {
                keys.push(key.to_owned());
                Ok(())
            })?;
            found.push(Garbage { kind, pipeline: pipeline.clone(), name: date, written, keys });
        }
    }
    Ok(found)
}

/// Returns the folders of days below that of a pipeline, and below those of its shards.
fn days_of(store: &dyn ObjectStore, folder: &str) -> Result<Vec<String>, StepError> {
    let mut days = Vec::new();
    for name in store.folders(folder)? {
        match Shard::of_folder(&name) {
            Some(_) => {
                let own = store.folders(&format!("{folder}{name}/"))?;
                days.extend(own.into_iter().map(|day| format!("{name}/{day}")));
            }
            None => days.push(name),
        }
    }
    Ok(days)
}

/// Gathers the objects that a check of the store could not delete.
fn leftovers(store: &dyn ObjectStore) -> Result<Vec<Garbage>, StepError> {
    let keys: Vec<String> = check::keys().map(str::to_owned).collect();
    let written = store.modified(&keys)?;
    let entry = |(key, written): (String, Option<Timestamp>)| {
        let (pipeline, name) = (String::new(), key.clone());
        Some(Garbage { kind: Kind::Check, pipeline, name, written: written?, keys: vec![key] })
    };
    Ok(keys.into_iter().zip(written).filter_map(entry).collect())
}

/// Removes an item, unless it is a version to which an alias now points; returns whether it was
/// removed.
pub fn remove(store: &dyn ObjectStore, garbage: &Garbage) -> Result<bool, StepError> {
    // Aliases may change during the removal, so they are read again before each version is removed.
    let registry = Registry::new(store, &garbage.pipeline);
    if garbage.kind == Kind::Version && named_versions(&registry)?.contains(&garbage.name) {
        return Ok(false);
    }
    garbage.keys.iter().try_for_each(|key| store.delete(key))?;
    Ok(true)
}

fn needed_versions(
    store: &dyn ObjectStore,
    pipeline: &str,
    retention: Retention,
) -> Result<BTreeSet<String>, StepError> {
    let registry = Registry::new(store, pipeline);
    let mut needed = BTreeSet::new();
    for alias in registry.aliases()? {
        let history = registry.history(&alias)?;
        let is_within = |entry: &AliasRecord| entry.since >= retention.now - retention.keep;
        let within = history.iter().position(is_within).unwrap_or(history.len());
        // The last entry before the retention was live at its start.
        let live = &history[within.saturating_sub(1)..];
        needed.extend(live.iter().map(|entry| entry.version.clone()));
    }
    needed.extend(named_versions(&registry)?);
    Ok(needed)
}

/// Returns the versions of the aliases, and the targets of their rollbacks.
fn named_versions(registry: &Registry<'_>) -> Result<BTreeSet<String>, StepError> {
    let mut named = BTreeSet::new();
    for alias in registry.aliases()? {
        if let Some(record) = registry.alias(&alias)? {
            named.insert(record.version);
            named.extend(record.previous);
        }
    }
    Ok(named)
}

/// Gathers a folder's objects; `None` if they no longer exist.
fn of(
    store: &dyn ObjectStore,
    kind: Kind,
    pipeline: &str,
    name: &str,
    prefix: &str,
) -> Result<Option<Garbage>, StepError> {
    let mut keys = Vec::new();
    for_each_key(store, prefix, |key| {
        keys.push(key.to_owned());
        Ok(())
    })?;
    // Without its record neither a version nor a run is listed, so an interrupted removal leaves no
    // partial item. A run also contains bundles, but their manifests are not its record.
    keys.sort_by_key(|key| key.strip_prefix(prefix) != kind.record());
    let newest = store.modified(&keys)?.into_iter().flatten().max();
    let (pipeline, name) = (pipeline.to_owned(), name.to_owned());
    Ok(newest.map(|written| Garbage { kind, pipeline, name, written, keys }))
}

fn cache(store: &dyn ObjectStore) -> Result<Vec<Garbage>, StepError> {
    let mut keys = Vec::new();
    for_each_key(store, "cache/", |key| {
        keys.push(key.to_owned());
        Ok(())
    })?;
    let written = store.modified(&keys)?;
    let entry = |(key, written): (String, Option<Timestamp>)| {
        let name = key.rsplit('/').next().unwrap_or(&key).to_owned();
        let pipeline = String::new();
        Some(Garbage { kind: Kind::Cache, pipeline, name, written: written?, keys: vec![key] })
    };
    Ok(keys.into_iter().zip(written).filter_map(entry).collect())
}
