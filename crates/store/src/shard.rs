//! The view of a store for a shard of a pipeline, and the shards of a pipeline in a store.
//!
//! The steps of a shard use the same keys as without shards. In the store, the keys of scores,
//! states and messages have an additional part after the pipeline's name:
//! `scores/<pipeline>/shard=K-of-N/...`. All other keys, such as those of models, belong to the
//! whole pipeline.
//!
//! Callers that read the scores of the whole pipeline pass each of its [`paths`] in place of the
//! pipeline's name to the functions of this crate.

use std::path::Path;

use contract::{Shard, StepError, Timestamp};

use crate::object::{Condition, Listed, Object, ObjectStore, Put, open};

/// First parts of the keys that each shard has separately.
const OWN: [&str; 3] = ["scores", "state", "messages"];

/// Opens the store of a URL like [`open`], in the view of a shard if one of several is given.
///
/// Errors: those of [`open`].
pub fn open_shard(url: &str, shard: Option<Shard>) -> Result<Box<dyn ObjectStore>, StepError> {
    let store = open(url)?;
    Ok(match shard.and_then(Shard::of_several) {
        Some(shard) => Box::new(ShardStore { store, shard }),
        None => store,
    })
}

/// Returns the text that replaces a pipeline's name in the keys of a shard.
pub fn path(pipeline: &str, shard: Shard) -> String {
    format!("{pipeline}/{}", shard.folder())
}

/// Returns all shards that a pipeline has ever had in a store, also those of earlier shard counts,
/// in order; empty if it never had shards.
pub fn of_pipeline(store: &dyn ObjectStore, pipeline: &str) -> Result<Vec<Shard>, StepError> {
    let folders = store.folders(&format!("state/{pipeline}/"))?;
    Ok(folders.iter().filter_map(|folder| Shard::of_folder(folder)).collect())
}

/// Returns the pipeline itself and its shards, in the form used in keys.
pub fn paths(store: &dyn ObjectStore, pipeline: &str) -> Result<Vec<String>, StepError> {
    let shards = of_pipeline(store, pipeline)?.into_iter();
    Ok([pipeline.to_owned()].into_iter().chain(shards.map(|shard| path(pipeline, shard))).collect())
}

/// A shard's view of a store.
#[derive(Debug)]
pub struct ShardStore {
    store: Box<dyn ObjectStore>,
    shard: Shard,
}

impl ShardStore {
    /// Returns a key, or the beginning of keys, as it is in the store.
    fn inner(&self, key: &str) -> String {
        let mut parts = key.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(first), Some(pipeline), Some(rest)) if OWN.contains(&first) => {
                format!("{first}/{}/{rest}", path(pipeline, self.shard))
            }
            _ => key.to_owned(),
        }
    }

    /// Returns a key of the store in the view of the shard.
    fn outer(&self, key: String) -> String {
        let level = format!("/{}/", self.shard.folder());
        let is_own = key.split('/').next().is_some_and(|first| OWN.contains(&first));
        if is_own { key.replacen(&level, "/", 1) } else { key }
    }

    fn all(&self, keys: &[String]) -> Vec<String> {
        keys.iter().map(|key| self.inner(key)).collect()
    }
}

impl ObjectStore for ShardStore {
    fn describe(&self) -> String {
        format!("{} (shard {})", self.store.describe(), self.shard)
    }

    fn shard(&self) -> Option<Shard> {
        Some(self.shard)
    }

    fn shown(&self, key: &str) -> String {
        self.inner(key)
    }

    fn get(&self, key: &str) -> Result<Option<Object>, StepError> {
        self.store.get(&self.inner(key))
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Object>>, StepError> {
        self.store.get_many(&self.all(keys))
    }

    fn read_listed(&self, listed: &[Listed]) -> Result<Vec<Option<Vec<u8>>>, StepError> {
        let inner = |it: &Listed| Listed { key: self.inner(&it.key), etag: it.etag.clone() };
        self.store.read_listed(&listed.iter().map(inner).collect::<Vec<_>>())
    }

    fn put_new(&self, objects: &[(String, Vec<u8>)]) -> Result<Vec<bool>, StepError> {
        let inner = |(key, bytes): &(String, Vec<u8>)| (self.inner(key), bytes.clone());
        self.store.put_new(&objects.iter().map(inner).collect::<Vec<_>>())
    }

    fn put(&self, key: &str, bytes: &[u8], condition: Condition<'_>) -> Result<Put, StepError> {
        self.store.put(&self.inner(key), bytes, condition)
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StepError> {
        let after = after.map(|after| self.inner(after));
        let keys = self.store.list(&self.inner(prefix), after.as_deref(), limit)?;
        Ok(keys.into_iter().map(|key| self.outer(key)).collect())
    }

    fn list_tagged(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StepError> {
        let after = after.map(|after| self.inner(after));
        let listed = self.store.list_tagged(&self.inner(prefix), after.as_deref(), limit)?;
        Ok(listed.into_iter().map(|it| Listed { key: self.outer(it.key), etag: it.etag }).collect())
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, StepError> {
        self.store.folders(&self.inner(folder))
    }

    fn modified(&self, keys: &[String]) -> Result<Vec<Option<Timestamp>>, StepError> {
        self.store.modified(&self.all(keys))
    }

    fn delete(&self, key: &str) -> Result<(), StepError> {
        self.store.delete(&self.inner(key))
    }

    fn put_file(&self, key: &str, path: &Path) -> Result<String, StepError> {
        self.store.put_file(&self.inner(key), path)
    }

    fn get_file(&self, key: &str, path: &Path) -> Result<bool, StepError> {
        self.store.get_file(&self.inner(key), path)
    }
}
