//! Features of the windows that were scored on this machine, and messages that were sent; kept
//! beside the cache only for pages and comparisons.

use std::path::{Path, PathBuf};

use contract::{Shard, StepError, Timestamp, artifact};
use fs_err as fs;

/// Kind of the files with a tick's features.
pub const FEATURES: &str = "parquet";
/// Kind of the files with a tick's messages.
pub const MESSAGES: &str = "json";
/// Most ticks whose files are kept: one day of ticks each minute.
const MOST_TICKS: usize = 1440;

fn folder(root: &Path, pipeline: &str) -> PathBuf {
    root.join("cache/scored").join(pipeline)
}

/// Returns the features of the tick at `now`, if they are kept.
pub fn features(root: &Path, pipeline: &str, now: Timestamp) -> Option<PathBuf> {
    let file = folder(root, pipeline).join(format!("{}.{FEATURES}", now.compact()));
    file.exists().then_some(file)
}

/// Keeps the files of a tick at `now`, and removes the oldest ticks beyond a day.
pub fn keep(root: &Path, pipeline: &str, now: Timestamp, tick: &Path) -> Result<(), StepError> {
    let folder = folder(root, pipeline);
    fs::create_dir_all(&folder).map_err(|e| StepError::writing(&folder, &e))?;
    for (file, kind) in [("feature/features.parquet", FEATURES), ("alert/messages.json", MESSAGES)]
    {
        let place = folder.join(format!("{}.{kind}", now.compact()));
        match fs::rename(tick.join(file), &place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StepError::writing(&place, &error));
            }
            _ => {}
        }
    }
    let kept = files(root, pipeline, FEATURES, None);
    for old in &kept[..kept.len().saturating_sub(MOST_TICKS)] {
        for file in [old.clone(), old.with_extension(MESSAGES)] {
            artifact::remove(&file).map_err(|e| StepError::writing(&file, &e))?;
        }
    }
    Ok(())
}

/// Returns the kept files of a kind for the ticks of a pipeline, or of all its shards, at or after
/// a time, oldest first.
pub fn files(root: &Path, pipeline: &str, kind: &str, from: Option<Timestamp>) -> Vec<PathBuf> {
    let first = from.map(|from| format!("{}.{kind}", from.compact())).unwrap_or_default();
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let own = entries(&folder(root, pipeline));
    let is_shard = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| Shard::of_folder(name).is_some())
    };
    let of_shards: Vec<PathBuf> = own.iter().filter(is_shard).flat_map(|it| entries(it)).collect();
    let mut files: Vec<PathBuf> = own
        .into_iter()
        .chain(of_shards)
        .filter(|path| path.extension().is_some_and(|extension| extension == kind))
        .filter(|path| path.file_name().is_some_and(|name| *name >= *first))
        .collect();
    // Those of shards are merged in order of time.
    files.sort_by(|a, b| (a.file_name(), a).cmp(&(b.file_name(), b)));
    files
}

#[cfg(test)]
mod tests {
    use contract::Span;

    use super::*;

    #[test]
    fn a_day_of_ticks_is_kept_and_no_more() {
        let root = tempfile::tempdir().unwrap();
        let at = |tick: usize| {
            Timestamp::from_ms(0) + Span::from_seconds(60 * i64::try_from(tick).unwrap())
        };
        for tick in 0..MOST_TICKS + 3 {
            let features = root.path().join("tick/feature/features.parquet");
            contract::artifact::write_file(&features, b"x").unwrap();
            keep(root.path(), "p", at(tick), &root.path().join("tick")).unwrap();
        }
        let kept = files(root.path(), "p", FEATURES, None);
        assert_eq!(kept.len(), MOST_TICKS);
        let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(name(&kept[0]), at(3).compact());
        assert_eq!(files(root.path(), "p", FEATURES, Some(at(MOST_TICKS))).len(), 3);
        assert!(files(root.path(), "q", FEATURES, None).is_empty());
    }
}
