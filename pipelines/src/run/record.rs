//! The runs of this machine: folders with a `run.json`.

use std::path::{Path, PathBuf};

use fs_err as fs;

pub use contract::run::{RunRecord, RunStatus, TaskRecord, TaskState};

/// Returns a pipeline's runs with their folders, in the order in which they were started; folders without a readable record
/// are left out.
pub fn read_runs(root: &Path, pipeline: &str) -> Vec<(PathBuf, RunRecord)> {
    let folder = root.join("runs").join(pipeline);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut runs: Vec<_> = entries
        .map(|entry| entry.path())
        .filter_map(|path| RunRecord::read(&path).ok().map(|record| (path, record)))
        .collect();
    runs.sort_by(|(_, a), (_, b)| (a.started, &a.run).cmp(&(b.started, &b.run)));
    runs
}
