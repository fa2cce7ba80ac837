//! The folder of a run: existing files are shown, missing and unreadable ones are reported.

mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::bundle::{BundleManifest, CandidateManifest};
use contract::deployment::Deployment;
use contract::run::{RunRecord, TaskRecord, TaskState};
use contract::trial::Trial;
use contract::validation::Validation;
use contract::{Outcome, Stage, StepError, read_json};
use fs_err as fs;
use serde::de::DeserializeOwned;

use crate::curves::Figure;

/// A task with its outcome.
#[derive(Debug, Clone)]
pub struct Task {
    /// The runner's record.
    pub record: TaskRecord,
    /// `outcome.json`, if the task wrote one, in this run or in the one whose outputs were taken.
    pub outcome: Option<Outcome>,
}

impl Task {
    /// Returns its wall time in seconds; for a task from the cache, the time of its original run.
    /// `None` for a task that never ran.
    pub fn seconds(&self) -> Option<f64> {
        let ran = (self.record.attempts > 0).then_some(self.record.seconds);
        ran.or_else(|| Some(self.outcome.as_ref()?.seconds))
    }

    /// Returns its peak memory in bytes, with the same rules.
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        let bytes = self.outcome.as_ref()?.peak_memory_bytes;
        (bytes > 0).then_some(bytes)
    }
}

/// Adds intervals to metrics: the bounds of `f1` are the metrics `f1_low` and `f1_high`.
pub fn with_intervals(figures: &BTreeMap<String, f64>) -> BTreeMap<String, Figure> {
    let bound = |name: &str, end: &str| figures.get(&format!("{name}{end}")).copied();
    let is_bound = |name: &str| {
        let of = |end: &str| name.strip_suffix(end).is_some_and(|of| figures.contains_key(of));
        of("_low") || of("_high")
    };
    let with = |(name, value): (&String, &f64)| {
        let interval = bound(name, "_low").zip(bound(name, "_high"));
        (name.clone(), Figure { value: *value, interval })
    };
    figures.iter().filter(|(name, _)| !is_bound(name)).map(with).collect()
}

/// The contents of a run's folder, as far as they can be read.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its path.
    pub folder: PathBuf,
    /// `run.json`.
    pub record: RunRecord,
    /// The tasks with their outcomes.
    pub tasks: Vec<Task>,
    /// `validation.json`.
    pub validation: Option<Validation>,
    /// The candidates' manifests, by task.
    pub candidates: BTreeMap<String, CandidateManifest>,
    /// Trials of searches, by task.
    pub trials: BTreeMap<String, Vec<Trial>>,
    /// The bundle's manifest.
    pub bundle: Option<BundleManifest>,
    /// `deployment.json`.
    pub deployment: Option<Deployment>,
    /// Files that exist but cannot be read, with the reason.
    pub unreadable: Vec<String>,
}

/// Returns the name of a task without its shard, which is `shard-0/` in `shard-0/select`.
fn step_of(task: &str) -> &str {
    task.rsplit('/').next().unwrap_or(task)
}

/// Returns the folder of a task below that of its run. A name with any other path than a shard is
/// invalid, because it could leave the folder.
fn folder_of(task: &str) -> PathBuf {
    let step = Path::new(task).file_name().unwrap_or_default();
    let is_shard = |shard: &&str| {
        shard.strip_prefix("shard-").is_some_and(|index| index.parse::<u32>().is_ok())
    };
    let shard = task.split_once('/').map(|(shard, _)| shard).filter(is_shard);
    shard.map_or_else(PathBuf::new, PathBuf::from).join(step)
}

impl Run {
    /// Reads a run's folder.
    ///
    /// Errors: usage for a folder without `run.json`, refused where that cannot be read; anything
    /// else that is missing or broken is recorded in the run.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        let record = record::read(folder)?;
        let mut run = Self {
            folder: folder.to_owned(),
            tasks: Vec::new(),
            validation: None,
            candidates: BTreeMap::new(),
            trials: BTreeMap::new(),
            bundle: None,
            deployment: None,
            unreadable: Vec::new(),
            record,
        };
        for record in run.record.tasks.clone() {
            let name = folder_of(&record.name);
            let outcome = run.optional(&name.join("outcome.json"));
            if step_of(&record.name).starts_with("train") {
                let file = name.join("candidate").join(CandidateManifest::FILE);
                if let Some(candidate) = run.optional(&file) {
                    run.candidates.insert(record.name.clone(), candidate);
                }
                if let Some(trials) = run.optional(&name.join("candidate").join(Trial::FILE)) {
                    run.trials.insert(record.name.clone(), trials);
                }
            }
            run.tasks.push(Task { record, outcome });
        }
        let file = |stage: Stage, file: &str| Path::new(stage.name()).join(file);
        run.validation = run.optional(&file(Stage::Validate, Validation::FILE));
        run.bundle = run.optional(&file(Stage::Select, "bundle").join(BundleManifest::FILE));
        run.deployment = run.optional(&file(Stage::Deploy, Deployment::FILE));
        Ok(run)
    }

    /// Reads a file that may be missing; a broken file is recorded.
    fn optional<T: DeserializeOwned>(&mut self, file: &Path) -> Option<T> {
        let path = self.folder.join(file);
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            _ => {}
        }
        match read_json(&path) {
            Ok(value) => Some(value),
            Err(error) => {
                self.unreadable.push(format!("{}: {}", file.display(), error.message));
                None
            }
        }
    }

    /// Returns the path of a file or folder of the run, if it exists.
    pub fn there(&self, file: &str) -> Option<PathBuf> {
        let path = self.folder.join(file);
        fs::metadata(&path).is_ok().then_some(path)
    }

    /// Returns the bundle's figures with their intervals, by part of the data set.
    pub fn figures(&self) -> BTreeMap<String, BTreeMap<String, Figure>> {
        let parts = self.bundle.iter().flat_map(|bundle| &bundle.metrics);
        parts.map(|(part, figures)| (part.clone(), with_intervals(figures))).collect()
    }

    /// Records that a part of the run cannot be shown.
    pub fn note(&mut self, what: &str, error: &StepError) {
        self.unreadable.push(format!("{what}: {}", error.message));
    }

    /// Returns whether models are trained in this run, or would have been.
    pub fn is_training(&self) -> bool {
        let mut steps = self.record.tasks.iter().map(|task| step_of(&task.name));
        steps.any(|step| step.starts_with("train") || step == "select")
    }

    /// Returns the task at which the run stopped early, if any.
    pub fn stopped_at(&self) -> Option<&Task> {
        let failed = |task: &&Task| task.record.state == TaskState::Failed;
        let unfinished = |task: &&Task| task.record.state == TaskState::Running;
        self.tasks.iter().find(failed).or_else(|| self.tasks.iter().find(unfinished))
    }

    /// Returns a task's outcome.
    pub fn outcome(&self, task: &str) -> Option<&Outcome> {
        self.tasks.iter().find(|found| found.record.name == task)?.outcome.as_ref()
    }

    /// Returns the hash of a task's output, by port.
    pub fn output_hash(&self, task: &str, port: &str) -> Option<&str> {
        Some(self.outcome(task)?.outputs.get(port)?.sha256.as_str())
    }
}
