//! A store in a bucket of S3 or of a server with the same protocol.
//!
//! Compare-and-set uses the headers `If-None-Match: *` and `If-Match` of the protocol. A server
//! without them would lose writes silently, so it is tested before the first write.

pub mod cache;
mod checksum;
mod connect;
mod download;
mod error;
mod list;
mod probe;
mod put;
mod settings;
mod transfer;
mod upload;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_sdk_s3::Client;
use contract::deadline::waits_for;
use contract::{SYSTEM_HINT, StepError, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::key;
use crate::object::{Condition, Listed, Object, ObjectStore, Put};
use cache::Cache;
use error::Request;
use probe::Probe;
pub use settings::{Encryption, S3Settings};

/// Concurrent requests for small objects.
const SMALL_IN_FLIGHT: usize = 32;

/// Prefix of the store's internal keys, as in a folder.
const HIDDEN: &str = ".lynceus";

/// A store in a bucket.
///
/// It owns the runtime of its requests, so its methods block. They must not be called from within
/// another runtime.
pub struct S3Store {
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
    bucket: Bucket,
}

impl Drop for S3Store {
    fn drop(&mut self) {
        // Waiting for its end panics within another runtime, and no request is in flight.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The bucket and its clients; all methods are asynchronous.
struct Bucket {
    client: Client,
    /// A client without checksum headers; used for writes once the server has rejected these
    /// headers.
    plain: Client,
    refuses_checksums: AtomicBool,
    /// Whether a write has already shown if the server accepts checksum headers.
    has_written: AtomicBool,
    settings: S3Settings,
    endpoint: String,
    name: String,
    /// Prefix of all keys: empty, or parts that end with `/`.
    prefix: String,
    url: String,
    probe: Probe,
    cache: Option<Cache>,
    /// Random, so that the marks of two writers are always different.
    writer: u64,
    writes: AtomicU64,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("url", &self.bucket.url).finish_non_exhaustive()
    }
}

impl S3Store {
    /// Opens `s3://bucket/prefix` with the settings of the environment; see [`S3Settings`]. Nothing
    /// is sent yet.
    ///
    /// Errors: usage for an invalid URL or setting. The URL is not repeated, because it may contain
    /// secrets.
    pub fn open(url: &str) -> Result<Self, StepError> {
        Self::with_settings(url, S3Settings::from_environment()?)
    }

    /// Opens `s3://bucket/prefix` with the caller's settings.
    pub fn with_settings(url: &str, settings: S3Settings) -> Result<Self, StepError> {
        let (name, prefix) = parse(url)?;
        refuse_nesting()?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| {
            StepError::unavailable(format!("cannot start a runtime: {e}")).hint(SYSTEM_HINT)
        })?;
        let connection = runtime.block_on(connect::connect(&settings))?;
        let bucket = Bucket::new(connection, settings, name, prefix);
        Ok(Self { runtime: Some(runtime), bucket })
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
        refuse_nesting()?;
        match &self.runtime {
            Some(runtime) => {
                let endpoint = &self.bucket.endpoint;
                waits_for(&format!("the store `{}` at `{endpoint}`", self.bucket.url));
                let done = runtime.block_on(work);
                waits_for("");
                done
            }
            None => Err(StepError::bug("a store in `s3://` was used after its end")),
        }
    }
}

/// Returns an error within another runtime, where a runtime would panic.
fn refuse_nesting() -> Result<(), StepError> {
    match Handle::try_current() {
        Ok(_) => Err(StepError::bug("a store in `s3://` was used within a runtime")),
        Err(_) => Ok(()),
    }
}

/// Splits a URL into the bucket's name and the beginning of all keys.
fn parse(url: &str) -> Result<(String, String), StepError> {
    let wrong = |why: &str| {
        Err(StepError::usage(format!("the store's URL {why}"))
            .hint("write `s3://bucket/prefix`; keys come from the environment or a profile"))
    };
    let Some(rest) = url.strip_prefix("s3://") else {
        return wrong("does not begin with `s3://`");
    };
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if !(3..=63).contains(&name.len()) || !name.bytes().all(fits) {
        return wrong("names no bucket: that is 3 to 63 lower-case letters, digits, `-` and `.`");
    }
    if prefix.is_empty() {
        return Ok((name.to_owned(), String::new()));
    }
    if key::check(prefix).is_err() {
        return wrong(
            "has a prefix that cannot begin a key: letters, digits and `-_.=` may, and `/` between them",
        );
    }
    Ok((name.to_owned(), format!("{prefix}/")))
}

impl ObjectStore for S3Store {
    fn describe(&self) -> String {
        self.bucket.url.clone()
    }

    fn get(&self, key: &str) -> Result<Option<Object>, StepError> {
        let key = self.bucket.key(key)?;
        self.wait(self.bucket.get(&key))
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Object>>, StepError> {
        let keys = keys.iter().map(|key| self.bucket.key(key)).collect::<Result<Vec<_>, _>>()?;
        let objects = stream::iter(&keys).map(|key| self.bucket.get(key));
        self.wait(objects.buffered(SMALL_IN_FLIGHT).try_collect())
    }

    fn read_listed(&self, listed: &[Listed]) -> Result<Vec<Option<Vec<u8>>>, StepError> {
        let objects = stream::iter(listed).map(|listed| self.bucket.read_listed(listed));
        self.wait(objects.buffered(SMALL_IN_FLIGHT).try_collect())
    }

    fn put_new(&self, objects: &[(String, Vec<u8>)]) -> Result<Vec<bool>, StepError> {
        self.wait(self.bucket.put_new(objects))
    }

    fn put(&self, key: &str, bytes: &[u8], condition: Condition<'_>) -> Result<Put, StepError> {
        let key = self.bucket.key(key)?;
        self.wait(self.bucket.put(&key, bytes, condition))
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StepError> {
        let listed = self.list_tagged(prefix, after, limit)?;
        Ok(listed.into_iter().map(|listed| listed.key).collect())
    }

    fn list_tagged(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StepError> {
        if let Some((folder, _)) = prefix.rsplit_once('/') {
            key::check(folder)?;
        }
        self.wait(self.bucket.list(prefix, after, limit))
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, StepError> {
        key::check_folder(folder)?;
        self.wait(self.bucket.folders(folder))
    }

    fn modified(&self, keys: &[String]) -> Result<Vec<Option<Timestamp>>, StepError> {
        let keys = keys.iter().map(|key| self.bucket.key(key)).collect::<Result<Vec<_>, _>>()?;
        let times = stream::iter(&keys).map(|key| self.bucket.modified(key));
        self.wait(times.buffered(SMALL_IN_FLIGHT).try_collect())
    }

    fn delete(&self, key: &str) -> Result<(), StepError> {
        let key = self.bucket.key(key)?;
        self.wait(self.bucket.delete(&key))
    }

    /// A file above 16 MiB is uploaded in parts, a few at a time. Memory does not grow with the
    /// file's size (up to 78 GiB; larger files need larger parts).
    fn put_file(&self, key: &str, path: &Path) -> Result<String, StepError> {
        let key = self.bucket.key(key)?;
        self.wait(self.bucket.put_file(&key, path))
    }

    /// An object above 16 MiB is downloaded in ranges, a few at a time; memory does not grow with
    /// its size.
    fn get_file(&self, key: &str, path: &Path) -> Result<bool, StepError> {
        let key = self.bucket.key(key)?;
        self.wait(self.bucket.get_file(&key, path))
    }
}

impl Bucket {
    fn new(
        connection: connect::Connection,
        settings: S3Settings,
        name: String,
        prefix: String,
    ) -> Self {
        use std::hash::{BuildHasher as _, Hasher as _};
        let url = format!("s3://{name}/{prefix}");
        let cache = settings.cache.as_deref().or(cache::shared());
        Self {
            cache: cache.map(|folder| Cache::new(folder, &connection.endpoint, &name)),
            client: connection.client,
            plain: connection.plain,
            refuses_checksums: AtomicBool::new(false),
            has_written: AtomicBool::new(false),
            settings,
            endpoint: connection.endpoint,
            url: url.trim_end_matches('/').to_owned(),
            name,
            prefix,
            probe: Probe::default(),
            writer: std::hash::RandomState::new().build_hasher().finish(),
            writes: AtomicU64::new(0),
        }
    }

    /// Returns the bucket's key for a key of the store.
    fn key(&self, key: &str) -> Result<String, StepError> {
        key::check(key)?;
        if self.prefix.len() + key.len() > key::MAX_BYTES {
            let message = format!("a key in store `{}` is longer than 1024 bytes", self.url);
            return Err(StepError::usage(message).hint("choose a shorter prefix"));
        }
        Ok(format!("{}{key}", self.prefix))
    }

    /// Returns the client for writes: without checksum headers if the server rejects them.
    fn write_client(&self) -> &Client {
        if self.refuses_checksums() { &self.plain } else { &self.client }
    }

    fn refuses_checksums(&self) -> bool {
        self.refuses_checksums.load(Ordering::Relaxed)
    }

    fn request<'a>(&'a self, verb: &'a str, action: &'a str, key: &'a str) -> Request<'a> {
        let (url, bucket, endpoint) = (&self.url, &self.name, &self.endpoint);
        Request { verb, action, key, url, bucket, endpoint }
    }

    async fn modified(&self, key: &str) -> Result<Option<Timestamp>, StepError> {
        let request = self.request("read", "s3:GetObject", key);
        match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(head) => {
                let ms = head.last_modified().and_then(|at| at.to_millis().ok());
                Ok(Some(Timestamp::from_ms(ms.unwrap_or(0))))
            }
            Err(error) if error::is_absent(&error) => Ok(None),
            Err(error) => Err(request.error(&error)),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), StepError> {
        let request = self.request("delete", "s3:DeleteObject", key);
        let sent = self.client.delete_object().bucket(&self.name).key(key).send().await;
        match sent {
            Ok(_) => Ok(()),
            Err(error) if error::is_absent(&error) => Ok(()),
            Err(error) => Err(request.error(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::ErrorKind;

    use super::*;

    #[test]
    fn s3_url_names_bucket_and_key_prefix() {
        let parsed = |url| parse(url).unwrap();
        assert_eq!(parsed("s3://lynceus"), ("lynceus".to_owned(), String::new()));
        assert_eq!(parsed("s3://lynceus/"), ("lynceus".to_owned(), String::new()));
        assert_eq!(parsed("s3://a.b-3/x/y=1/"), ("a.b-3".to_owned(), "x/y=1/".to_owned()));
    }

    #[test]
    fn any_other_url_is_a_usage_error_that_does_not_repeat_it() {
        for url in [
            "s3://",
            "s3:///hunter2",
            "s3://AB/hunter2",
            "s3://key:hunter2@bucket/prefix",
            "s3://bucket/hunter2//",
            "s3://bucket/../hunter2",
            "s3://bucket/x?secret=hunter2",
            "file:///hunter2",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{url}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert!(error.to_string().contains("s3://bucket/prefix"), "{error}");
        }
    }

    #[test]
    fn store_description_shows_url_without_secrets() {
        let store = S3Store::with_settings("s3://bucket/x/", S3Settings::default()).unwrap();
        assert_eq!(store.describe(), "s3://bucket/x");
        assert_eq!(format!("{store:?}"), "S3Store { url: \"s3://bucket/x\", .. }");
        let long = "k".repeat(250);
        let key = [long.as_str(); 4].join("/");
        assert!(store.get(&format!("{key}/{}", "k".repeat(20))).is_err_and(|error| {
            error.kind == ErrorKind::Usage && error.message.contains("1024")
        }));
    }

    #[test]
    fn store_inside_a_runtime_is_a_bug_error_without_panic() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let store = S3Store::with_settings("s3://bucket/x", S3Settings::default()).unwrap();
        runtime.block_on(async {
            assert_eq!(S3Store::open("s3://bucket").unwrap_err().kind, ErrorKind::Bug);
            assert_eq!(store.get("a").unwrap_err().kind, ErrorKind::Bug);
            drop(store);
        });
    }
}
