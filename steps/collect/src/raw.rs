//! Raw data behind a data set: lines of Tetragon's export, and segments of recorders.

use std::path::{Path, PathBuf};

use contract::artifact::OutputFile;
use contract::{StepError, TimeRange};
use document::Document;
use store::ObjectStore;

use crate::range::Due;
use crate::recorded;
use crate::source::{CopyLines, Raw, Recorded, opener};

/// A source whose raw data was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name in the document.
    pub source: String,
    /// File or folder, below the folder that was written to.
    pub name: String,
    /// Lines, or segments.
    pub count: usize,
}

/// Writes the raw data of a range into an existing folder: `<source>.jsonl` for events in
/// files, and `<source>/<recorder>/<first>-<last>.parquet` for what was recorded in the store.
/// `base` is the document's folder. Sources of other kinds have no raw data besides the samples.
///
/// Errors: refused for files that cannot be read, usage where they are standard input.
pub fn write(
    document: &Document,
    base: &Path,
    store: &dyn ObjectStore,
    TimeRange { after, until: end }: TimeRange,
    folder: &Path,
) -> Result<Vec<Written>, StepError> {
    let due = Due { after, end, scored_to: end };
    let mut all = Vec::new();
    for (name, source) in &document.sources {
        let own = Recorded { pipeline: &document.name, source: name };
        let raw = source.kind().and_then(|kind| opener(kind).raw(own));
        let (file, count) = match raw {
            Some(Raw::Lines { path, copy }) => {
                let file = format!("{name}.jsonl");
                let count = events(copy, &base.join(path), due, &folder.join(&file))?;
                (file, count)
            }
            Some(Raw::Segments(Recorded { pipeline, source })) => {
                let into = folder.join(name);
                let count = recorded::copy_segments(store, pipeline, source, due, &into)?;
                (name.clone(), count)
            }
            None => continue,
        };
        all.push(Written { source: name.clone(), name: file, count });
    }
    Ok(all)
}

fn events(copy: CopyLines, path: &Path, due: Due, file: &Path) -> Result<usize, StepError> {
    if path.ends_with("-") {
        return Err(StepError::usage("the events came from standard input and were not stored")
            .hint("write them to a file, set its path in the document, and run again"));
    }
    let mut output = OutputFile::create(file)?;
    let count = copy(path, due, &mut output)?;
    output.publish()?;
    Ok(count)
}

/// Returns the name of the folder with the raw data of a file.
#[must_use]
pub fn folder_beside(file: &Path) -> PathBuf {
    file.with_extension("raw")
}

/// Copies the samples of a run to the folder of the raw data, if the run has them.
///
/// Errors: unavailable for files that cannot be read or written.
pub fn copy_samples(samples: &Path, folder: &Path) -> Result<(), StepError> {
    if !samples.is_file() {
        return Ok(());
    }
    let to = folder.join("samples.parquet");
    fs_err::copy(samples, &to).map(drop).map_err(|error| StepError::writing(&to, &error))
}
