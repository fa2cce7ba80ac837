//! Mirrors runs in a bucket: the keys and bytes are the same as in the local folder.
//!
//! Tasks read and write local files. When a run ends, whether it succeeded or failed, its files are
//! uploaded with their paths as keys. Another machine downloads the run to the same paths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::artifact::{files_below, parse_json, sha256_path};
use contract::{StepError, read_json, write_json};
use serde::{Deserialize, Serialize};
use store::ObjectStore;

use super::record::RunRecord;

/// File in a run's folder that records which files each store already has. Its name begins with a
/// dot, so it is not a part of the run.
const UPLOADED: &str = ".uploaded.json";

/// The file without which a run is not listed.
const RECORD: &str = "run.json";

/// Transfers at a time.
const TRANSFERS: usize = 8;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Uploaded {
    store: String,
    /// SHA-256 by file.
    files: BTreeMap<String, String>,
}

/// Uploads the files of a run's folder below `root` that are missing in the store or differ;
/// returns their number. The record is written last, so a listed run is complete.
pub fn upload(store: &dyn ObjectStore, root: &Path, folder: &Path) -> Result<usize, StepError> {
    let of = key_of(root, folder)?;
    let remembered: Uploaded = read_json(&folder.join(UPLOADED)).unwrap_or_default();
    let there =
        if remembered.store == store.describe() { remembered.files } else { BTreeMap::new() };
    let mut files = BTreeMap::new();
    for file in files_below(folder).map_err(|e| StepError::reading(folder, &e))? {
        let sha256 = sha256_path(&folder.join(&file))?;
        files.insert(file, sha256);
    }
    let due: Vec<&String> = files
        .iter()
        .filter(|(file, sha256)| there.get(*file) != Some(sha256))
        .map(|(f, _)| f)
        .collect();
    let (record, others): (Vec<&String>, _) = due.iter().partition(|file| **file == RECORD);
    let put = |file: &String| store.put_file(&format!("{of}/{file}"), &folder.join(file)).map(drop);
    at_once(&others, &put)?;
    at_once(&record, &put)?;
    let count = due.len();
    write_json(&folder.join(UPLOADED), &Uploaded { store: store.describe(), files })?;
    Ok(count)
}

/// Reads the records of a pipeline's runs in a store.
pub fn records(store: &dyn ObjectStore, pipeline: &str) -> Result<Vec<RunRecord>, StepError> {
    let runs = store.folders(&format!("runs/{pipeline}/"))?;
    let keys: Vec<String> =
        runs.iter().map(|run| format!("runs/{pipeline}/{run}/{RECORD}")).collect();
    let objects = store.get_many(&keys)?;
    // Runs of a cluster have no record of this program.
    let there = keys.iter().zip(objects).filter_map(|(key, object)| Some((key, object?)));
    there.map(|(key, object)| parse_json(key, &object.bytes)).collect()
}

/// Downloads a run's files to the paths of a local run.
pub fn download(store: &dyn ObjectStore, root: &Path, folder: &Path) -> Result<(), StepError> {
    let of = key_of(root, folder)?;
    let mut keys = Vec::new();
    store::object::for_each_key(store, &format!("{of}/"), |key| {
        keys.push(key.to_owned());
        Ok(())
    })?;
    // The record is written last: a folder without it is not a run, so the run appears complete or
    // not at all.
    let is_record = |key: &&String| key.strip_prefix(&format!("{of}/")) == Some(RECORD);
    let (record, others): (Vec<&String>, _) = keys.iter().partition(is_record);
    let get = |key: &String| store.get_file(key, &root.join(key)).map(drop);
    at_once(&others, &get)?;
    at_once(&record, &get)
}

/// Returns the key of a run's folder.
fn key_of(root: &Path, folder: &Path) -> Result<String, StepError> {
    let below: Option<PathBuf> = folder.strip_prefix(root).ok().map(Path::to_owned);
    let below = below.and_then(|below| below.to_str().map(str::to_owned));
    below.ok_or_else(|| {
        let (folder, root) = (folder.display(), root.display());
        StepError::bug(format!("the run `{folder}` does not lie in `{root}`"))
    })
}

/// Transfers files, a few at a time, and returns the first error.
fn at_once(
    names: &[&String],
    transfer: &(dyn Fn(&String) -> Result<(), StepError> + Sync),
) -> Result<(), StepError> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let one = || names.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        std::iter::from_fn(one).try_for_each(|name| transfer(name))
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..TRANSFERS.min(names.len())).map(|_| scope.spawn(work)).collect();
        let broken = || Err(StepError::bug("a transfer ended in a panic"));
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| broken()))
    })
}
