//! A cache of score objects in a local folder.
//!
//! A listing has the tag of each object, so a cached object is used only if the bucket has the same
//! tag: so the cache never returns other content than the bucket. A file consists of the tag and
//! the SHA-256 of the content, each followed by a line feed, and the content; an invalid file is
//! ignored. Files are not synced, and write failures are ignored, because the cache may be lost.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use contract::artifact::sha256;
use fs_err as fs;

/// Environment variable that names the folder.
pub const VARIABLE: &str = "LYNCEUS_S3_CACHE";

/// Number of cached folders; for scores a folder is a day.
const MOST_FOLDERS: usize = 8;

static SHARED: OnceLock<PathBuf> = OnceLock::new();

/// Sets `folder` as the cache of score objects for every bucket that this process opens. Only the
/// first call counts, and the folder of the environment takes precedence.
pub fn share(folder: &Path) {
    SHARED.get_or_init(|| folder.to_owned());
}

/// Returns the folder of [`share`].
pub(super) fn shared() -> Option<&'static Path> {
    SHARED.get().map(PathBuf::as_path)
}

/// Returns the environment variable with which another process shares the folder; `None` if the
/// variable is already set.
pub fn to_pass_on() -> Option<(&'static str, &'static Path)> {
    let is_named = std::env::var_os(VARIABLE).is_some_and(|folder| !folder.is_empty());
    shared().filter(|_| !is_named).map(|folder| (VARIABLE, folder))
}

/// The objects of one bucket.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    writes: AtomicU64,
}

impl Cache {
    /// Opens the folder of a bucket's objects, which is created with the first object.
    pub(super) fn new(folder: &Path, endpoint: &str, bucket: &str) -> Self {
        let place = sha256(format!("{endpoint}\n{bucket}").as_bytes());
        Self { folder: folder.join(&place[..16]), writes: AtomicU64::new(0) }
    }

    /// Returns the content of an object with this tag, if it is cached.
    pub(super) fn get(&self, key: &str, etag: &str) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.folder.join(key)).ok()?;
        let head = format!("{etag}\n{}\n", sha256(bytes.get(etag.len() + 66..)?));
        if !bytes.starts_with(head.as_bytes()) {
            return None;
        }
        Some(bytes.split_off(head.len()))
    }

    /// Caches the content of an object with this tag.
    pub(super) fn put(&self, key: &str, etag: &str, bytes: &[u8]) {
        let path = self.folder.join(key);
        let Some(folder) = path.parent() else { return };
        if !folder.is_dir() {
            if fs::create_dir_all(folder).is_err() {
                return;
            }
            forget_oldest_beside(folder);
            // Endpoints share the cache folder, so that changing ports do not fill the disk.
            drop(fs::write(self.folder.join(".used"), b""));
            forget_oldest_beside(&self.folder);
        }
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let partial = folder.join(format!(".{}-{number}", std::process::id()));
        let content = [format!("{etag}\n{}\n", sha256(bytes)).as_bytes(), bytes].concat();
        if fs::write(&partial, content).and_then(|()| fs::rename(&partial, &path)).is_err() {
            drop(fs::remove_file(&partial));
        }
    }
}

/// Removes the sibling folders of `folder` that have not been used for the longest time.
fn forget_oldest_beside(folder: &Path) {
    let Some(parent) = folder.parent() else { return };
    let Ok(entries) = fs::read_dir(parent) else { return };
    let beside = entries.flatten().map(|entry| entry.path()).filter(|path| path != folder);
    let mut beside: Vec<_> = beside
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    beside.sort();
    let surplus = (beside.len() + 1).saturating_sub(MOST_FOLDERS);
    for (_, old) in &beside[..surplus.min(beside.len())] {
        drop(fs::remove_dir_all(old));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "scores/p/date=2026-11-21/20261121T083600Z.json";

    #[test]
    fn only_the_content_with_the_same_tag_is_here() {
        let temp = tempfile::tempdir().unwrap();
        let cache = Cache::new(temp.path(), "http://a", "b");
        assert_eq!(cache.get(KEY, "\"1\""), None);
        cache.put(KEY, "\"1\"", b"one");
        assert_eq!(cache.get(KEY, "\"1\"").as_deref(), Some(b"one".as_slice()));
        assert_eq!(cache.get(KEY, "\"2\""), None);
        assert_eq!(cache.get(KEY, "\""), None);
        assert_eq!(Cache::new(temp.path(), "http://c", "b").get(KEY, "\"1\""), None);
        cache.put(KEY, "\"2\"", b"");
        assert_eq!(cache.get(KEY, "\"2\"").as_deref(), Some(b"".as_slice()));
    }

    #[test]
    fn a_file_that_was_changed_or_cut_is_not_taken() {
        let temp = tempfile::tempdir().unwrap();
        let cache = Cache::new(temp.path(), "http://a", "b");
        cache.put(KEY, "\"1\"", b"a longer content");
        let path = cache.folder.join(KEY);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(cache.get(KEY, "\"1\""), None, "{length}");
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&path, changed).unwrap();
            assert_eq!(cache.get(KEY, "\"1\""), None, "{place}");
        }
    }

    #[test]
    fn the_last_days_are_kept_and_no_more() {
        let temp = tempfile::tempdir().unwrap();
        let cache = Cache::new(temp.path(), "http://a", "b");
        let key = |day: usize| format!("scores/p/date=2026-11-{day:02}/x.json");
        for day in 10..10 + MOST_FOLDERS + 3 {
            cache.put(&key(day), "1", b"x");
            // The days have this order, independent of the resolution of the clock.
            let folder = fs::File::open(cache.folder.join(key(day)).parent().unwrap()).unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(day as u64);
            folder.file().set_modified(at).unwrap();
        }
        let kept: Vec<usize> = (10..10 + MOST_FOLDERS + 3)
            .filter(|day| cache.get(&key(*day), "1").is_some())
            .collect();
        assert_eq!(kept, (13..13 + MOST_FOLDERS).collect::<Vec<_>>());
    }

    #[test]
    fn unrecordable_reply_is_not_recorded() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, b"x").unwrap();
        let cache = Cache::new(&file, "http://a", "b");
        cache.put(KEY, "1", b"x");
        assert_eq!(cache.get(KEY, "1"), None);
    }
}
