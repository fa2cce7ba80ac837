//! The result of a step: `--outcome FILE`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Span, StepArgs, StepError};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All outputs are complete.
    Done,
    /// The data was refused; `error` has the reason.
    Refused,
    /// It failed for another reason.
    Failed,
}

/// A file or folder that a step read or wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// Where it lay for this step.
    pub path: PathBuf,
    /// SHA-256 of the file, or of the folder as [`crate::artifact::sha256_path`] defines it.
    pub sha256: String,
}

/// The JSON that a step writes about its run.
///
/// A step sets `counts`, `metrics`, `warnings` and `details`; [`step::main`](crate::step::main)
/// sets the other fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The stage.
    pub step: String,
    /// Version of the program.
    pub version: String,
    /// How it ended.
    pub status: Status,
    /// The process exit code.
    pub exit_code: u8,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Largest resident memory of the process, in bytes; 0 if the system does not report it.
    pub peak_memory_bytes: u64,
    /// Whole numbers: rows, requests, trees.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// Figures.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Warnings for a person, although the step succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Further results of the step, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// The flags that are neither ports nor common to all steps, as compact JSON by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// What it read, by port; a repeated port is numbered (`candidate.1`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, PortRecord>,
    /// What it wrote, by port.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, PortRecord>,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    #[serde(skip)]
    started: Option<Instant>,
}

impl Outcome {
    /// Starts the outcome of a step; the clock for `seconds` runs from here.
    pub fn start(step: &str) -> Self {
        Self {
            step: step.to_owned(),
            version: crate::VERSION.to_owned(),
            status: Status::Done,
            exit_code: 0,
            seconds: 0.0,
            peak_memory_bytes: 0,
            counts: BTreeMap::new(),
            metrics: BTreeMap::new(),
            warnings: Vec::new(),
            details: Map::new(),
            parameters: BTreeMap::new(),
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            error: None,
            started: Some(Instant::now()),
        }
    }

    /// Adds a count.
    pub fn count(&mut self, name: &str, value: usize) {
        self.counts.insert(name.to_owned(), value as u64);
    }

    /// Adds a metric; one that is not finite is left out, because JSON cannot represent it.
    pub fn metric(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.metrics.insert(name.to_owned(), value);
        }
    }

    /// Adds and logs a warning.
    pub fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        tracing::warn!("{warning}");
        self.warnings.push(warning);
    }

    /// Adds a detail: any value that serialises.
    pub fn detail<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), StepError> {
        let value = serde_json::to_value(value)
            .map_err(|e| StepError::bug(format!("cannot write `{name}` as JSON: {e}")))?;
        self.details.insert(name.to_owned(), value);
        Ok(())
    }

    /// Makes it the outcome of a step that exceeded its deadline.
    pub(crate) fn fail(&mut self, error: &StepError, after: Span) {
        self.status = Status::Failed;
        self.exit_code = error.kind.exit_code();
        self.error = Some(error.clone());
        self.seconds = after.seconds();
        self.peak_memory_bytes = peak_memory_bytes();
    }

    /// Sets the fields that the step does not set itself.
    pub(crate) fn finish<A: StepArgs>(&mut self, args: &A, result: &Result<(), StepError>) {
        if let Err(error) = result {
            self.status = match error.kind {
                crate::ErrorKind::Refused => Status::Refused,
                crate::ErrorKind::Bug
                | crate::ErrorKind::Usage
                | crate::ErrorKind::Unavailable
                | crate::ErrorKind::LostRace => Status::Failed,
            };
            self.exit_code = error.kind.exit_code();
            self.error = Some(error.clone());
        }
        // Flags that cannot be printed have failed before.
        self.parameters = crate::step::parameters(args).unwrap_or_default();
        self.inputs = records(&args.inputs());
        self.outputs = records(&args.outputs());
        self.seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        self.peak_memory_bytes = peak_memory_bytes();
    }
}

fn records(ports: &[crate::step::Port<'_>]) -> BTreeMap<String, PortRecord> {
    let mut records = BTreeMap::new();
    for port in ports {
        let repeated = ports.iter().filter(|other| other.name == port.name).count() > 1;
        let number = records.keys().filter(|key: &&String| key.starts_with(port.name)).count();
        let name =
            if repeated { format!("{}.{}", port.name, number + 1) } else { port.name.to_owned() };
        // A port that cannot be read is left out: a failed step has not written its outputs.
        if let Ok(sha256) = crate::artifact::sha256_path(port.path) {
            records.insert(name, PortRecord { path: port.path.to_owned(), sha256 });
        }
    }
    records
}

/// Returns the largest resident memory of this process in bytes, 0 where the system does not report
/// it.
pub fn peak_memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
