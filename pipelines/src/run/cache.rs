//! The cache: the outputs of an earlier task are reused if program, parameters and inputs are the
//! same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::{StepError, artifact, read_json, write_json};
use document::{Document, sections};
use fs_err as fs;
use plan::Task;
use serde::{Deserialize, Serialize};

pub use contract::run::KeyParts;

/// An earlier task's outputs.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    run: String,
    /// By port: the path of the output below the root, and its SHA-256.
    outputs: BTreeMap<String, (PathBuf, String)>,
}

/// Result of a cache lookup.
pub(super) enum Lookup {
    /// The outputs were restored; the text describes their origin.
    Hit(String),
    /// The outputs were not restored, for this reason.
    Miss(String),
}

/// Gathers the parts of the cache key for a task whose inputs all exist.
pub(super) fn gather(
    task: &Task,
    document: &Document,
    program: &str,
) -> Result<KeyParts, StepError> {
    let mut inputs = BTreeMap::new();
    for (number, port) in task.command.inputs().into_iter().enumerate() {
        if port.name != "document" {
            inputs.insert(format!("{}.{number}", port.name), artifact::sha256_path(port.path)?);
        }
    }
    Ok(KeyParts {
        program: program.to_owned(),
        stage: task.command.stage().name().to_owned(),
        parameters: task.command.parameters()?,
        document: sections::sha256(document, task.command.stage(), task.model())?,
        inputs,
    })
}

fn key(parts: &KeyParts) -> Result<String, StepError> {
    let bytes = serde_json::to_vec(parts)
        .map_err(|e| StepError::bug(format!("cannot write a cache key: {e}")))?;
    Ok(artifact::sha256(&bytes))
}

fn entry_path(root: &Path, key: &str) -> PathBuf {
    root.join("cache").join(format!("{key}.json"))
}

/// Reuses an earlier task's outputs, if they exist and are unchanged.
pub(super) fn lookup(root: &Path, task: &Task, parts: &KeyParts) -> Result<Lookup, StepError> {
    let path = entry_path(root, &key(parts)?);
    if !path.exists() {
        return Ok(Lookup::Miss("no earlier task had these inputs and parameters".to_owned()));
    }
    let Ok(entry) = read_json::<Entry>(&path) else {
        return Ok(Lookup::Miss("the cache entry cannot be read".to_owned()));
    };
    for output in task.command.outputs() {
        let Some((kept, sha256)) = entry.outputs.get(output.name) else {
            return Ok(Lookup::Miss(format!("the cache entry lacks `{}`", output.name)));
        };
        let kept = root.join(kept);
        match artifact::sha256_path(&kept) {
            Ok(found) if found == *sha256 => {}
            Ok(_) => {
                return Ok(Lookup::Miss(format!(
                    "`{}` of run {} was changed",
                    output.name, entry.run
                )));
            }
            Err(_) => {
                return Ok(Lookup::Miss(format!("`{}` of run {} is gone", output.name, entry.run)));
            }
        }
        if kept != output.path {
            copy(&kept, output.path)?;
            copy_outcome(&kept, output.path)?;
        }
    }
    Ok(Lookup::Hit(format!("same program, parameters and inputs as in run {}", entry.run)))
}

/// Stores a task's outputs in the cache. Several runs may do this at the same time, so each writes
/// under a unique name, and the last entry is kept.
pub(super) fn remember(
    root: &Path,
    run: &str,
    task: &Task,
    parts: &KeyParts,
) -> Result<(), StepError> {
    let mut outputs = BTreeMap::new();
    for output in task.command.outputs() {
        let below = output.path.strip_prefix(root).unwrap_or(output.path).to_owned();
        outputs.insert(output.name.to_owned(), (below, artifact::sha256_path(output.path)?));
    }
    let entry = entry_path(root, &key(parts)?);
    let own = entry.with_extension(format!("{}.json", std::process::id()));
    write_json(&own, &Entry { run: run.to_owned(), outputs })?;
    fs::rename(&own, &entry).map_err(|e| StepError::writing(&entry, &e))
}

/// Copies the outcome of the earlier task, from the folder of its outputs, if it still exists:
/// pages and messages show its counts and hashes.
fn copy_outcome(kept: &Path, output: &Path) -> Result<(), StepError> {
    let [from, to] = [kept, output].map(|path| path.with_file_name("outcome.json"));
    if from.exists() { copy_file(&from, &to) } else { Ok(()) }
}

/// Copies a file or folder atomically. It makes a hard link if possible, which is safe because
/// files are never changed in place.
fn copy(from: &Path, to: &Path) -> Result<(), StepError> {
    if from.is_file() {
        return copy_file(from, to);
    }
    let files = artifact::files_below(from).map_err(|e| StepError::reading(from, &e))?;
    artifact::write_folder(to, |folder| {
        files.iter().try_for_each(|file| copy_file(&from.join(file), &folder.join(file)))
    })
}

fn copy_file(from: &Path, to: &Path) -> Result<(), StepError> {
    let write_error = |e: std::io::Error| StepError::writing(to, &e);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(write_error)?;
    }
    artifact::remove(to).map_err(write_error)?;
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let partial = artifact::partial(to);
    fs::copy(from, &partial).map_err(write_error)?;
    fs::rename(&partial, to).map_err(write_error)
}
