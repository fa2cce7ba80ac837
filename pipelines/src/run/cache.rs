//! The cache: a task whose program, parameters and inputs are those of an earlier one has its
//! outputs already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::{StepError, artifact, read_json, write_json};
use document::{Document, sections};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::plan::Task;

/// What a cache key is made of, part by part, so that a difference can be named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyParts {
    /// Version and build of the program.
    pub program: String,
    /// The stage.
    pub stage: String,
    /// The flags that are neither ports nor about the process.
    pub parameters: BTreeMap<String, String>,
    /// SHA-256 of the sections of the document that the stage reads.
    pub document: String,
    /// SHA-256 of each input but the document, by port.
    pub inputs: BTreeMap<String, String>,
}

/// An earlier task's outputs.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    run: String,
    /// By port: where the output lies below the root, and its SHA-256.
    outputs: BTreeMap<String, (PathBuf, String)>,
}

/// Why a task must run although nothing it depends on may have changed.
pub(super) enum Lookup {
    /// The outputs are in place; the sentence says where they came from.
    Hit(String),
    /// They are not, for this reason.
    Miss(String),
}

impl KeyParts {
    /// Gathers the parts for a task whose inputs are all there.
    pub(super) fn gather(
        task: &Task,
        document: &Document,
        program: &str,
    ) -> Result<Self, StepError> {
        let mut inputs = BTreeMap::new();
        for (number, port) in task.command.inputs().into_iter().enumerate() {
            if port.name != "document" {
                inputs.insert(format!("{}.{number}", port.name), artifact::sha256_path(port.path)?);
            }
        }
        Ok(Self {
            program: program.to_owned(),
            stage: task.command.stage().name().to_owned(),
            parameters: task.command.parameters()?,
            document: sections::sha256(document, task.command.stage(), task.model())?,
            inputs,
        })
    }

    fn key(&self) -> Result<String, StepError> {
        let bytes = serde_json::to_vec(self)
            .map_err(|e| StepError::bug(format!("cannot write a cache key: {e}")))?;
        Ok(artifact::sha256(&bytes))
    }

    /// Names in words where these parts differ from an earlier task's.
    pub fn differences(&self, earlier: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.program != earlier.program {
            found.push(format!("the program is `{}`, was `{}`", self.program, earlier.program));
        }
        if self.document != earlier.document {
            found.push("the sections of the document that it reads changed".to_owned());
        }
        differing(&self.parameters, &earlier.parameters, "--", &mut found);
        differing(&self.inputs, &earlier.inputs, "input ", &mut found);
        found
    }
}

fn differing(
    now: &BTreeMap<String, String>,
    earlier: &BTreeMap<String, String>,
    kind: &str,
    found: &mut Vec<String>,
) {
    let short = |value: Option<&String>| match value {
        Some(value) if value.len() == 64 => value[..12].to_owned(),
        Some(value) => value.clone(),
        None => "absent".to_owned(),
    };
    let names: std::collections::BTreeSet<&String> = now.keys().chain(earlier.keys()).collect();
    for name in names {
        let (a, b) = (now.get(name), earlier.get(name));
        if a != b {
            found.push(format!("{kind}{name} is `{}`, was `{}`", short(a), short(b)));
        }
    }
}

fn entry_path(root: &Path, key: &str) -> PathBuf {
    root.join("cache").join(format!("{key}.json"))
}

/// Puts an earlier task's outputs in place, if there was one and they are still what they were.
pub(super) fn lookup(root: &Path, task: &Task, parts: &KeyParts) -> Result<Lookup, StepError> {
    let path = entry_path(root, &parts.key()?);
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

/// Remembers a task's outputs. Several runs may do so at once, so each writes under a name of its own
/// and the last one's entry stays.
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
    let entry = entry_path(root, &parts.key()?);
    let own = entry.with_extension(format!("{}.json", std::process::id()));
    write_json(&own, &Entry { run: run.to_owned(), outputs })?;
    fs::rename(&own, &entry).map_err(|e| StepError::writing(&entry, &e))
}

/// Copies what the earlier task said of itself, which lies beside its outputs, if it is still there:
/// pages and messages tell of counts and hashes.
fn copy_outcome(kept: &Path, output: &Path) -> Result<(), StepError> {
    let [from, to] = [kept, output].map(|path| path.with_file_name("outcome.json"));
    if from.exists() { copy_file(&from, &to) } else { Ok(()) }
}

/// Copies a file or folder, whole or not at all; a hard link serves where there can be one, since
/// nothing is ever written in place.
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
