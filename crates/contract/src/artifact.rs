//! Outputs that appear whole or not at all, and the hashes that name their content.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::StepError;

/// Whether this process's outputs need not survive a power cut.
static SCRATCH: AtomicBool = AtomicBool::new(false);

/// Sets whether this process's outputs, from now on, need not survive a power cut. While the
/// machine runs they still appear whole or not at all, even if the process is killed. A scoring
/// tick spends most of its time waiting for the disk.
pub fn scratch(is_scratch: bool) {
    SCRATCH.store(is_scratch, Ordering::Relaxed);
}

fn is_scratch() -> bool {
    SCRATCH.load(Ordering::Relaxed)
}

/// Returns where an output is written before it is renamed to `path`.
///
/// The name is fixed, so the next attempt replaces the remains of a killed step.
pub fn partial(path: &Path) -> PathBuf {
    hidden(path, "partial")
}

fn hidden(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{ending}"))
}

/// Writes a file so that `path` has either its previous content or all of `bytes`.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StepError> {
    let mut file = OutputFile::create(path)?;
    file.write_all(bytes).map_err(|e| StepError::writing(path, &e))?;
    file.publish()
}

/// A file under construction: a writer that becomes visible at `path` only through
/// [`OutputFile::publish`]. Dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: Option<fs::File>,
}

impl OutputFile {
    /// Starts the file beside `path`; missing folders are made.
    pub fn create(path: &Path) -> Result<Self, StepError> {
        let write_error = |e: io::Error| StepError::writing(path, &e);
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(write_error)?;
        }
        let file = fs::File::create(partial(path)).map_err(write_error)?;
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    /// Syncs the file, unless it is [`scratch`], and renames it to its path.
    pub fn publish(mut self) -> Result<(), StepError> {
        let write_error = |e: io::Error| StepError::writing(&self.path, &e);
        if let Some(file) = &self.file {
            if !is_scratch() {
                file.sync_all().map_err(write_error)?;
            }
            fs::rename(partial(&self.path), &self.path).map_err(write_error)?;
            sync_parent(&self.path);
        }
        // From here on there is no temporary file to remove.
        self.file = None;
        Ok(())
    }

    fn inner(&mut self) -> io::Result<&mut fs::File> {
        self.file.as_mut().ok_or_else(|| io::Error::other("already published"))
    }
}

impl io::Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner()?.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // An error cannot be reported here; the next attempt replaces the remains.
            drop(fs::remove_file(partial(&self.path)));
        }
    }
}

/// Fills a folder so that `path` is either absent or complete, even if the process is killed.
///
/// `fill` gets the folder to write into. If it fails, `path` does not change.
pub fn write_folder(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let write_error = |e: io::Error| StepError::writing(path, &e);
    let partial = partial(path);
    remove(&partial).map_err(write_error)?;
    fs::create_dir_all(&partial).map_err(write_error)?;
    if let Err(error) = fill(&partial) {
        drop(remove(&partial));
        return Err(error);
    }
    replace(&partial, path).map_err(write_error)
}

/// Renames a folder to `path`. An existing folder is renamed first, because an interrupted removal
/// would leave half of it under the final name.
fn replace(partial: &Path, path: &Path) -> io::Result<()> {
    let aside = aside(path);
    remove(&aside)?;
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Err(error) = fs::rename(partial, path) {
        // The first error is reported.
        drop(fs::rename(&aside, path));
        return Err(error);
    }
    sync_parent(path);
    // The new folder is complete even if the old one is not removed; the next attempt removes the
    // remains.
    drop(remove(&aside));
    Ok(())
}

/// Returns where the folder that is replaced at `path` is kept meanwhile.
fn aside(path: &Path) -> PathBuf {
    hidden(path, "replaced")
}

/// Removes a file, or a folder with its content; a missing path is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a rename durable, if the file system can sync folders.
fn sync_parent(path: &Path) {
    if is_scratch() {
        return;
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = fs::File::open(folder) {
        drop(folder.sync_all());
    }
}

/// Writes a value as indented JSON with a final newline.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StepError> {
    write_file(path, &json_bytes(value)?)
}

/// Returns the bytes [`write_json`] writes.
pub fn json_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, StepError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| StepError::bug(format!("cannot write JSON: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Returns a value as JSON on one line with a final newline, for objects of which there are many.
pub fn compact_json_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, StepError> {
    let mut bytes =
        serde_json::to_vec(value).map_err(|e| StepError::bug(format!("cannot write JSON: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a JSON file; an unreadable one is refused with its line and column.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, StepError> {
    let bytes = fs::read(path).map_err(|e| StepError::reading(path, &e))?;
    parse_json(&path.display().to_string(), &bytes)
}

/// Parses JSON; `name` is the origin of the bytes, for the error.
pub fn parse_json<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, StepError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        StepError::damaged(format!("`{name}:{}:{}`: {message}", error.line(), error.column()))
    })
}

/// Returns the SHA-256 of bytes as 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns the SHA-256 of a file, or of a folder as the hash over its files' names and hashes in
/// the order of their names. The hash of a folder does not depend on its path.
pub fn sha256_path(path: &Path) -> Result<String, StepError> {
    let read_error = |e: io::Error| StepError::reading(path, &e);
    let kind = fs::metadata(path).map_err(read_error)?.file_type();
    if kind.is_file() {
        return sha256_file(path);
    }
    // Reading a device or a pipe may never end.
    if !kind.is_dir() {
        let message = format!("`{}` is neither a file nor a folder", path.display());
        return Err(StepError::usage(message).hint("copy its content into a regular file"));
    }
    let mut listing = String::new();
    for file in files_below(path).map_err(read_error)? {
        let hash = sha256_file(&path.join(&file))?;
        listing.extend([hash.as_str(), "  ", &file, "\n"]);
    }
    Ok(sha256(listing.as_bytes()))
}

fn sha256_file(path: &Path) -> Result<String, StepError> {
    let read_error = |e: io::Error| StepError::reading(path, &e);
    let mut file = fs::File::open(path).map_err(read_error)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).map_err(read_error)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Returns the files below a folder as sorted relative paths with `/` between their parts;
/// names that start with a dot are left out.
pub fn files_below(folder: &Path) -> io::Result<Vec<String>> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), &format!("{path}/"), found)?;
            } else {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, "", &mut found)?;
    found.sort();
    Ok(found)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_could_not_be_filled_leaves_the_old_one() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("out");
        write_folder(&target, |folder| write_file(&folder.join("a"), b"one")).unwrap();
        write_folder(&target, |folder| {
            write_file(&folder.join("a"), b"two")?;
            Err(StepError::refused("no"))
        })
        .unwrap_err();
        assert_eq!(fs::read(target.join("a")).unwrap(), b"one");
        assert_eq!(files_below(temp.path()).unwrap(), ["out/a"]);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "no remains");
    }

    #[test]
    fn a_folder_that_cannot_be_renamed_in_leaves_the_old_one() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("out");
        write_folder(&target, |folder| write_file(&folder.join("a"), b"one")).unwrap();
        let taken_away = |folder: &Path| {
            remove(folder).unwrap();
            Ok(())
        };
        write_folder(&target, taken_away).unwrap_err();
        assert_eq!(fs::read(target.join("a")).unwrap(), b"one");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "no remains");
    }

    #[test]
    fn leftovers_of_killed_attempts_are_harmless() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("out");
        for is_there in [false, true] {
            for left in [partial(&target), aside(&target)] {
                write_file(&left.join("a/b"), b"old").unwrap();
            }
            assert_eq!(target.exists(), is_there);
            write_folder(&target, |folder| write_file(&folder.join("a"), b"new")).unwrap();
            assert_eq!(files_below(temp.path()).unwrap(), ["out/a"]);
            assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "no remains");
        }
    }

    #[test]
    fn output_at_an_impossible_path_is_a_usage_error() {
        let temp = tempfile::tempdir().unwrap();
        write_file(&temp.path().join("file"), b"x").unwrap();
        fs::create_dir(temp.path().join("folder")).unwrap();
        for place in ["folder", "file/x", "file/x/y", &"x".repeat(300)] {
            let error = write_file(&temp.path().join(place), b"y").unwrap_err();
            assert_eq!(error.kind, crate::ErrorKind::Usage, "{error}");
            assert!(error.hint.is_some(), "{error}");
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "no remains");
    }

    #[test]
    fn a_dropped_output_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let mut file = OutputFile::create(&temp.path().join("x/y")).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(temp.path().join("x")).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_hash_depends_on_names_and_bytes_and_not_on_the_place() {
        let temp = tempfile::tempdir().unwrap();
        let make = |place: &str, name: &str, bytes: &[u8]| {
            let folder = temp.path().join(place);
            write_file(&folder.join(name), bytes).unwrap();
            sha256_path(&folder).unwrap()
        };
        assert_eq!(make("one", "a", b"x"), make("two", "a", b"x"));
        assert_ne!(make("one", "a", b"x"), make("three", "b", b"x"));
        assert_ne!(make("one", "a", b"x"), make("four", "a", b"y"));
    }

    #[test]
    fn hashes_are_the_standard_ones() {
        // FIPS 180-2, appendix B.1
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn broken_json_is_refused_with_its_place() {
        let error = parse_json::<Vec<u8>>("x.json", b"[1,\n oops]").unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::Refused);
        assert!(error.message.starts_with("`x.json:2:2`: "), "{}", error.message);
    }
}
