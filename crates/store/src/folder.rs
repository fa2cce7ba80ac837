//! A store in a folder, shared by any number of processes on one machine.
//!
//! Each object is a separate file, written under a hidden name, synced, and renamed to its key: a
//! reader sees either the old or the new content, and a killed writer leaves only a hidden file. A
//! conditional write checks and writes under a lock of the operating system, which is released when
//! its process ends.
//!
//! `<root>/.lynceus/locks/` contains at most 256 empty lock files, chosen by the key's hash.
//! `<root>/.lynceus/partial/` contains the files of unfinished writes. Each of them is locked by
//! its writer, so the next writer recognises and removes the files of killed writers.

mod listing;

use std::collections::hash_map::RandomState;
use std::fs::TryLockError;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use contract::artifact::{self, OutputFile};
use contract::{StepError, Timestamp, system_words};
use fs_err as fs;

use crate::key;
use crate::object::{Condition, Listed, Object, ObjectStore, Put, put_one_new};
use listing::{Listing, entries};

const HIDDEN: &str = ".lynceus";
const PIECE_BYTES: usize = 256 * 1024;

/// Attempts at a write whose hidden file was removed between its creation and its locking.
const ATTEMPTS: usize = 8;

/// Objects that are written in parallel, because each write waits for the disk.
const WRITERS: usize = 8;

/// A store in a folder.
#[derive(Debug)]
pub struct FolderStore {
    root: PathBuf,
    /// Random, so that no two writers choose the same hidden name: process IDs are not unique
    /// across containers that share a volume.
    writer: u64,
    writes: AtomicU64,
    clear_once: Once,
}

/// A hidden file, locked while its writer runs.
struct Partial {
    path: PathBuf,
    file: fs::File,
    published: bool,
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            // If this fails, the next writer removes it.
            drop(fs::remove_file(&self.path));
        }
    }
}

impl FolderStore {
    /// Opens the folder, which is created with the first object.
    pub fn open(root: &Path) -> Result<Self, StepError> {
        let root = std::path::absolute(root).map_err(|e| StepError::reading(root, &e))?;
        let writer = RandomState::new().build_hasher().finish();
        Ok(Self { root, writer, writes: AtomicU64::new(0), clear_once: Once::new() })
    }

    fn path(&self, key: &str) -> Result<PathBuf, StepError> {
        key::check(key)?;
        Ok(self.root.join(key))
    }

    fn error(&self, verb: &str, key: &str, error: &io::Error) -> StepError {
        let words = system_words(error);
        let message = format!("cannot {verb} `{key}` in store `{}`: {words}", self.describe());
        match error.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory => {
                StepError::usage(message).hint("use a folder that this user may read and write")
            }
            _ => StepError::unavailable(message).hint(
                "check that the disk is not full and that the network file system is mounted",
            ),
        }
    }

    /// Writes a hidden file with `fill`, then renames it to the key if the condition holds.
    fn publish(
        &self,
        key: &str,
        condition: Condition<'_>,
        fill: &dyn Fn(&mut fs::File) -> io::Result<()>,
    ) -> Result<bool, StepError> {
        let path = self.path(key)?;
        let write_error = |e: io::Error| self.error("write", key, &e);
        if condition == Condition::IfAbsent && path.exists() {
            return Ok(false);
        }
        self.clear_once.call_once(|| self.clear_remains());
        for _ in 0..ATTEMPTS {
            let mut partial = self.partial().map_err(write_error)?;
            fill(&mut partial.file).and_then(|()| partial.file.sync_all()).map_err(write_error)?;
            let _lock = self.lock(key).map_err(write_error)?;
            if !holds(condition, &path).map_err(write_error)? {
                return Ok(false);
            }
            let folder = path.parent().unwrap_or(&self.root);
            self.make_folder(folder).map_err(write_error)?;
            match fs::rename(&partial.path, &path) {
                Ok(()) => {
                    partial.published = true;
                    sync_folder(folder).map_err(write_error)?;
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(write_error(e)),
            }
        }
        Err(write_error(io::Error::other("the file under way was removed again and again")))
    }

    /// Makes a hidden file with a name that was never used, and locks it.
    fn partial(&self) -> io::Result<Partial> {
        let folder = self.root.join(HIDDEN).join("partial");
        fs::create_dir_all(&folder)?;
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{:016x}-{number}", self.writer));
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
        let partial = Partial { path, file, published: false };
        // A process that removes leftovers may hold the lock for a moment; the rename then fails.
        partial.file.lock()?;
        Ok(partial)
    }

    /// Waits until no other process is between a check and a write of this key.
    fn lock(&self, key: &str) -> io::Result<fs::File> {
        let folder = self.root.join(HIDDEN).join("locks");
        fs::create_dir_all(&folder)?;
        let hash = artifact::sha256(key.as_bytes());
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(&hash[..2]))?;
        file.lock()?;
        Ok(file)
    }

    /// Removes the hidden files whose writers have ended. A file that cannot be removed does not
    /// affect other writes, so no error is reported.
    fn clear_remains(&self) {
        let Ok(entries) = fs::read_dir(self.root.join(HIDDEN).join("partial")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(file) = fs::OpenOptions::new().write(true).open(&path) else { continue };
            match file.try_lock() {
                Ok(()) => drop(fs::remove_file(&path)),
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
            }
        }
    }

    /// Creates a folder and its parents, durably.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        for made in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
            sync_folder(made)?;
        }
        Ok(())
    }
}

fn holds(condition: Condition<'_>, path: &Path) -> io::Result<bool> {
    Ok(match condition {
        Condition::Any => true,
        Condition::IfAbsent => !path.try_exists()?,
        Condition::IfMatch(etag) => match fs::read(path) {
            Ok(bytes) => artifact::sha256(&bytes) == etag,
            Err(e) if is_absent(&e) => false,
            Err(e) => return Err(e),
        },
    })
}

/// Returns whether the error means that no object has the key: the path is missing, is a folder, or
/// lies below a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
    )
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.sync_all() {
        // Some file systems cannot sync a folder.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

fn copy(from: &mut dyn io::Read, to: &mut dyn io::Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            length => to.write_all(&piece[..length])?,
        }
    }
}

impl ObjectStore for FolderStore {
    fn describe(&self) -> String {
        format!("file://{}", self.root.display())
    }

    fn get(&self, key: &str) -> Result<Option<Object>, StepError> {
        match fs::read(self.path(key)?) {
            Ok(bytes) => Ok(Some(Object { etag: artifact::sha256(&bytes), bytes })),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(self.error("read", key, &e)),
        }
    }

    fn read_listed(&self, listed: &[Listed]) -> Result<Vec<Option<Vec<u8>>>, StepError> {
        let of = |listed: &Listed| match fs::read(self.path(&listed.key)?) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(self.error("read", &listed.key, &e)),
        };
        listed.iter().map(of).collect()
    }

    fn put_new(&self, objects: &[(String, Vec<u8>)]) -> Result<Vec<bool>, StepError> {
        let write = |share: &[(String, Vec<u8>)]| {
            share.iter().map(|object| put_one_new(self, object)).collect()
        };
        // A single object, the case of every tick, needs no thread.
        if objects.len() <= 1 {
            return write(objects);
        }
        let share = objects.len().div_ceil(WRITERS);
        let shares: Vec<Result<Vec<bool>, StepError>> = std::thread::scope(|scope| {
            let writers = objects.chunks(share).map(|share| scope.spawn(move || write(share)));
            let writers: Vec<_> = writers.collect();
            let broken = || Err(StepError::bug("writing objects ended in a panic"));
            writers.into_iter().map(|writer| writer.join().unwrap_or_else(|_| broken())).collect()
        });
        Ok(shares.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn put(&self, key: &str, bytes: &[u8], condition: Condition<'_>) -> Result<Put, StepError> {
        let written = self.publish(key, condition, &|file| file.write_all(bytes))?;
        Ok(if written { Put::Written(artifact::sha256(bytes)) } else { Put::Conflict })
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StepError> {
        let folder = prefix.rfind('/').map_or("", |end| &prefix[..=end]);
        if let Some(folder) = folder.strip_suffix('/') {
            key::check(folder)?;
        }
        let after = after.unwrap_or_default();
        let mut listing = Listing { root: &self.root, prefix, after, limit, found: Vec::new() };
        match if limit == 0 { Ok(()) } else { listing.walk(folder) } {
            Ok(()) => Ok(listing.found),
            Err(e) => Err(self.error("list", prefix, &e)),
        }
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, StepError> {
        key::check_folder(folder)?;
        let named = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for name in entries(&self.root.join(folder))? {
                let Some(name) = name.strip_suffix('/') else { continue };
                // An empty folder is ignored.
                let below = format!("{folder}{name}/");
                let mut listing = Listing {
                    root: &self.root,
                    prefix: &below,
                    after: "",
                    limit: 1,
                    found: Vec::new(),
                };
                listing.walk(&below)?;
                if !listing.found.is_empty() {
                    names.push(name.to_owned());
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        named().map_err(|e| self.error("list", folder, &e))
    }

    fn modified(&self, keys: &[String]) -> Result<Vec<Option<Timestamp>>, StepError> {
        let of = |key: &String| match fs::metadata(self.path(key)?) {
            Ok(meta) if meta.is_dir() => Ok(None),
            Ok(meta) => {
                let since = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                let ms = since.and_then(|since| i64::try_from(since.as_millis()).ok());
                Ok(Some(Timestamp::from_ms(ms.unwrap_or(0))))
            }
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(self.error("read", key, &e)),
        };
        keys.iter().map(of).collect()
    }

    fn delete(&self, key: &str) -> Result<(), StepError> {
        let path = self.path(key)?;
        if !path.exists() {
            return Ok(());
        }
        let delete = || -> io::Result<()> {
            let _lock = self.lock(key)?;
            match fs::remove_file(&path) {
                Err(e) if !is_absent(&e) => Err(e),
                _ => sync_folder(path.parent().unwrap_or(&self.root)),
            }
        };
        delete().map_err(|e| self.error("delete", key, &e))
    }

    fn put_file(&self, key: &str, path: &Path) -> Result<String, StepError> {
        if !fs::metadata(path).map_err(|e| StepError::reading(path, &e))?.is_file() {
            return Err(StepError::usage(format!("`{}` is not a file", path.display()))
                .hint("this is a folder or a device: give the path of a file"));
        }
        self.publish(key, Condition::Any, &|file| copy(&mut fs::File::open(path)?, file))?;
        artifact::sha256_path(path)
    }

    fn get_file(&self, key: &str, path: &Path) -> Result<bool, StepError> {
        let mut source = match fs::File::open(self.path(key)?) {
            Ok(file) => file,
            Err(e) if is_absent(&e) => return Ok(false),
            Err(e) => return Err(self.error("read", key, &e)),
        };
        if source.metadata().is_ok_and(|meta| meta.is_dir()) {
            return Ok(false);
        }
        let mut target = OutputFile::create(path)?;
        copy(&mut source, &mut target).map_err(|e| StepError::writing(path, &e))?;
        target.publish()?;
        Ok(true)
    }
}
