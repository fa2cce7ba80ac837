//! The trait of all stores, and their URLs.

use std::fmt;
use std::path::Path;

use contract::{Shard, StepError, Timestamp};

use crate::{FolderStore, S3Store};

/// Keys per listing request, the most that S3 allows.
const PAGE: usize = 1000;

/// An object's content and the tag of that content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The content.
    pub bytes: Vec<u8>,
    /// Opaque tag; the same content may have the same tag, so compare-and-set detects a change only
    /// if no content is written twice with different meanings.
    pub etag: String,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// The tag of its content, if the store returns it with the listing.
    pub etag: Option<String>,
}

/// Condition of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    /// No condition: an existing object is replaced.
    Any,
    /// No object has the key.
    IfAbsent,
    /// The object with the key has this tag.
    IfMatch(&'a str),
}

/// Result of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a conditional write may not have happened"]
pub enum Put {
    /// The object was written durably, with this tag.
    Written(String),
    /// The condition did not hold; nothing was changed.
    Conflict,
}

/// A flat space of keys and objects, shared with other processes.
///
/// Keys are checked ([`crate::key::check`]) and compared byte by byte. A reader sees an object as
/// it was before a write or as it is after, never a part of one, and a write that returned is seen
/// by every later read and listing. Errors are [`contract::ErrorKind::Unavailable`], except for an
/// invalid key and missing permissions, which are usage errors.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use store::{Condition, Put, open};
///
/// let folder = tempfile::tempdir()?;
/// let store = open(&format!("file://{}", folder.path().display()))?;
/// let Put::Written(etag) = store.put("state/hosts/watermark", b"08:36", Condition::IfAbsent)? else
/// {
///     unreachable!("no other process writes here");
/// };
/// // Another writer is faster: a write that expects the old content changes nothing.
/// let _ = store.put("state/hosts/watermark", b"08:37", Condition::IfMatch(&etag))?;
/// let late = store.put("state/hosts/watermark", b"08:36", Condition::IfMatch(&etag))?;
/// assert_eq!(late, Put::Conflict);
/// let object = store.get("state/hosts/watermark")?.ok_or("it was written")?;
/// assert_eq!(object.bytes, b"08:37");
/// # Ok(())
/// # }
/// ```
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// Returns the store's URL without secrets, for messages.
    fn describe(&self) -> String;

    /// Returns the shard of this view of the store; `None` for the store itself.
    fn shard(&self) -> Option<Shard> {
        None
    }

    /// Returns a key as it is in the store itself, for messages.
    fn shown(&self, key: &str) -> String {
        key.to_owned()
    }

    /// Reads an object whole; `None` if no object has the key.
    fn get(&self, key: &str) -> Result<Option<Object>, StepError>;

    /// Reads objects whole, each as [`ObjectStore::get`] does, in the order of the keys. A remote
    /// store requests several at once.
    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Object>>, StepError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Reads objects that were just listed, without their tags, in the same order; nothing for one
    /// that was removed since. The store may skip work that is not needed for this.
    fn read_listed(&self, listed: &[Listed]) -> Result<Vec<Option<Vec<u8>>>, StepError> {
        let bytes = |listed: &Listed| Ok(self.get(&listed.key)?.map(|object| object.bytes));
        listed.iter().map(bytes).collect()
    }

    /// Writes each object whose key does not exist, several at once and in no particular order;
    /// returns which were written. Each is written as by [`ObjectStore::put`]; after an error some
    /// may exist and others not.
    fn put_new(&self, objects: &[(String, Vec<u8>)]) -> Result<Vec<bool>, StepError> {
        objects.iter().map(|object| put_one_new(self, object)).collect()
    }

    /// Writes an object whole if the condition holds; the check and the write are one step for
    /// every other process.
    fn put(&self, key: &str, bytes: &[u8], condition: Condition<'_>) -> Result<Put, StepError>;

    /// Returns at most `limit` keys that begin with the text `prefix` and come after `after`, in
    /// ascending order. The cost depends on the number of returned keys, not on the keys before
    /// `after`.
    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StepError>;

    /// Lists as [`ObjectStore::list`] does, for [`ObjectStore::read_listed`].
    fn list_tagged(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StepError> {
        let keys = self.list(prefix, after, limit)?;
        Ok(keys.into_iter().map(|key| Listed { key, etag: None }).collect())
    }

    /// Returns the parts between `folder` (empty, or parts that end with `/`) and the next `/` in
    /// the keys that begin with `folder`, each once, in ascending order. The cost depends on their
    /// number, not on the number of keys below them.
    fn folders(&self, folder: &str) -> Result<Vec<String>, StepError>;

    /// Returns when each object was written, by the store's clock, in the order of the keys;
    /// nothing where no object has the key.
    fn modified(&self, keys: &[String]) -> Result<Vec<Option<Timestamp>>, StepError>;

    /// Removes an object; a missing one is no error.
    fn delete(&self, key: &str) -> Result<(), StepError>;

    /// Writes the content of a file, in parts, replacing an existing object; returns the tag.
    fn put_file(&self, key: &str, path: &Path) -> Result<String, StepError>;

    /// Copies an object into a file, in pieces; the file appears whole or not at all. Returns
    /// whether an object has the key.
    fn get_file(&self, key: &str, path: &Path) -> Result<bool, StepError>;
}

/// Calls `each` with every key that begins with the text `prefix`, in ascending order.
pub fn for_each_key(
    store: &dyn ObjectStore,
    prefix: &str,
    mut each: impl FnMut(&str) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let mut after: Option<String> = None;
    loop {
        let page = store.list(prefix, after.as_deref(), PAGE)?;
        page.iter().try_for_each(|key| each(key))?;
        match page.last() {
            Some(last) if page.len() >= PAGE => after = Some(last.clone()),
            _ => return Ok(()),
        }
    }
}

/// Opens the store of a URL: `s3://bucket/prefix`, `file:///absolute/path`, or a path.
///
/// The text after `file://` is the path, without escapes; the folder is created with the first
/// object. A bucket must exist; its settings come from the environment ([`crate::s3`]). Any other
/// URL is a usage error, which never repeats the URL, because it may contain secrets.
pub fn open(url: &str) -> Result<Box<dyn ObjectStore>, StepError> {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", url),
    };
    let schemes = "write `s3://bucket/prefix`, `file:///absolute/path` or a path";
    match scheme {
        "file" if !rest.starts_with('/') => {
            Err(StepError::usage("a store's `file://` must be followed by an absolute path")
                .hint("it has three slashes: `file:///absolute/path`"))
        }
        "" if rest.is_empty() => Err(StepError::usage("the store's URL is empty").hint(schemes)),
        "file" | "" => Ok(Box::new(FolderStore::open(Path::new(rest))?)),
        "s3" => Ok(Box::new(S3Store::open(url)?)),
        _ => Err(StepError::usage(format!("no store has the scheme `{scheme}://`")).hint(schemes)),
    }
}

/// Writes an object unless it exists, and returns whether it was written.
pub(crate) fn put_one_new(
    store: &(impl ObjectStore + ?Sized),
    (key, bytes): &(String, Vec<u8>),
) -> Result<bool, StepError> {
    Ok(store.put(key, bytes, Condition::IfAbsent)? != Put::Conflict)
}

#[cfg(test)]
mod tests {
    use contract::ErrorKind;

    use super::*;

    #[test]
    fn a_store_is_a_file_url_or_a_path() {
        assert_eq!(open("file:///a b/c").unwrap().describe(), "file:///a b/c");
        assert_eq!(open("/a/b").unwrap().describe(), "file:///a/b");
        let here = std::env::current_dir().unwrap();
        assert_eq!(open("x").unwrap().describe(), format!("file://{}/x", here.display()));
    }

    #[test]
    fn any_other_url_is_a_usage_error_that_names_the_schemes_and_no_secret() {
        for (url, words) in [
            ("", "is empty"),
            ("file://relative/path", "absolute"),
            ("s3://key:hunter2@bucket/prefix", "names no bucket"),
            ("ftp://me:hunter2@host/", "`ftp://`"),
        ] {
            let error = open(url).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{url}");
            assert!(error.message.contains(words), "{error}");
            assert!(error.to_string().contains("://"), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
