//! Finds documents and the store.

use std::path::{Path, PathBuf};

use contract::StepError;
use document::closest;
use fs_err as fs;

/// The document of a pipeline that the user named.
#[derive(Debug, Clone)]
pub struct Found {
    /// The document's file.
    pub path: PathBuf,
    /// The folder to which the document's paths are relative.
    pub base: PathBuf,
}

/// Finds a document by path, or by its name among the documents of `folder`.
pub fn document(pipeline: &str, folder: &Path) -> Result<Found, StepError> {
    let is_path = pipeline.contains('/') || Path::new(pipeline).extension().is_some();
    let path =
        if is_path { PathBuf::from(pipeline) } else { folder.join(format!("{pipeline}.yaml")) };
    if !path.is_file() {
        let missing = StepError::usage(format!("there is no document `{}`", path.display()));
        let names = names(folder);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        return Err(match closest(pipeline, names.iter().copied()) {
            Some(meant) => missing.hint(format!("did you mean `{meant}`?")),
            None if names.is_empty() => missing.hint(
                "give the path of a document, or set the folder of documents with --pipelines",
            ),
            None => {
                missing.hint(format!("documents in `{}`: {}", folder.display(), names.join(", ")))
            }
        });
    }
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    Ok(Found { path, base })
}

/// Returns the overlay of a pipeline's bundled sample.
pub fn sample(found: &Found) -> Result<PathBuf, StepError> {
    let name = found.path.file_name().unwrap_or_default();
    let path = found.base.join("samples").join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(StepError::usage(format!("this pipeline has no sample: `{}` is not there", path.display()))
        .hint("remove --sample to read the sources, or use `cluster`, which has one"))
}

/// Refuses the name of a pipeline that has neither objects in the store nor a document: it is
/// probably misspelt.
pub(crate) fn known(pipeline: &str, folder: &Path) -> Result<(), StepError> {
    let names = names(folder);
    if names.iter().any(|name| name == pipeline) {
        return Ok(());
    }
    let unknown = StepError::usage(format!(
        "there is no pipeline `{pipeline}`: it has no data in the store, and `{}` no document",
        folder.display()
    ));
    Err(match closest(pipeline, names.iter().map(String::as_str)) {
        Some(meant) => unknown.hint(format!("did you mean `{meant}`?")),
        None => unknown,
    })
}

/// Returns the names of the documents of a folder, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).map(|entries| entries.flatten().collect()).unwrap_or_default();
    let entries: Vec<fs::DirEntry> = entries;
    let paths = entries.iter().map(fs::DirEntry::path);
    let yaml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut names: Vec<String> =
        yaml.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}
