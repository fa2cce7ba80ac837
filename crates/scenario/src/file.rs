//! The scenario file: the faults, their order, the number of repeats, and the limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use contract::{Span, StepError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chaos::ChaosMesh;
use crate::faults::FaultKind;

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Version of the format: 1.
    pub format: u32,
    /// Name: lower-case letters, digits and `-`.
    pub name: String,
    /// What the scenario is for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Scenario log (CSV), relative to this file. Details are written beside it, with the
    /// extension `.jsonl`.
    #[serde(default = "default_log")]
    pub log: PathBuf,
    /// Normal time before the first fault.
    #[serde(default)]
    pub lead_in: Span,
    /// Normal time after each fault.
    #[serde(default = "three_minutes")]
    pub pause: Span,
    /// How often the list of steps is run, at least 1.
    #[serde(default = "once")]
    pub repeat: u32,
    /// Order of the steps within each repeat.
    #[serde(default)]
    pub order: Order,
    /// Seed of the shuffled order.
    #[serde(default)]
    pub seed: u64,
    /// What all faults together may use of this machine.
    #[serde(default)]
    pub limits: Limits,
    /// Hosts besides the loopback addresses that faults may connect to.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_hosts: BTreeSet<String>,
    /// The faults.
    pub steps: Vec<Step>,
}

fn default_log() -> PathBuf {
    PathBuf::from("scenarios.csv")
}

fn three_minutes() -> Span {
    Span::from_seconds(180)
}

fn once() -> u32 {
    1
}

/// Order of the steps within each repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As in the file.
    #[default]
    Fixed,
    /// Shuffled by `seed`, anew for each repeat.
    Shuffled,
}

/// What the faults of the local executor may use, at any moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Busy processes or threads at once.
    pub workers: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk space in MiB.
    pub disk_mib: u64,
    /// Started processes, connections or requests per second.
    pub per_second: u32,
    /// Duration of one fault.
    pub duration: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: 4,
            memory_mib: 1024,
            disk_mib: 512,
            per_second: 500,
            duration: Span::from_seconds(1800),
        }
    }
}

/// One fault: kind, target, duration, label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Label of the windows of this step, such as `cpu_stress`.
    pub label: String,
    /// Affected entity, with its name in the pipeline (node, namespace/pod); empty for all.
    #[serde(default)]
    pub target: String,
    /// Duration.
    #[serde(rename = "for")]
    pub duration: Span,
    /// Time after the fault in which windows are neither normal nor the fault, shorter than
    /// `pause`: the log excludes it, because the effect of the fault takes this long to end.
    #[serde(default)]
    pub guard: Span,
    /// The fault on this machine. Exactly one of `local` and `chaos_mesh` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<FaultKind>,
    /// The fault in a cluster, injected by Chaos Mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chaos_mesh: Option<ChaosMesh>,
}

impl ScenarioFile {
    /// Reads and checks a scenario file.
    ///
    /// Errors are usage errors that name file, line, column and field.
    pub fn read(path: &Path) -> Result<Self, StepError> {
        let file: Self = document::read_as(path)?;
        file.check().map_err(|(field, cause)| {
            StepError::usage(format!("`{}`: `{field}`: {cause}", path.display()))
                .hint("correct this field; docs/src/scenarios.md describes scenario files")
        })?;
        Ok(file)
    }

    /// Returns the path of the log; relative ones are below the folder of the scenario file.
    pub fn log_path(&self, scenario_file: &Path) -> PathBuf {
        scenario_file.parent().unwrap_or(Path::new("")).join(&self.log)
    }

    /// Checks what the types do not enforce: names, sizes within the limits, allowed hosts.
    fn check(&self) -> Result<(), (String, String)> {
        let at = |field: &str, is_right: bool, cause: &str| {
            if is_right { Ok(()) } else { Err((field.to_owned(), cause.to_owned())) }
        };
        at("format", self.format == 1, "this version reads format 1")?;
        at("name", is_name(&self.name, "-"), "must be lower-case letters, digits and `-`")?;
        at("repeat", self.repeat >= 1, "must be at least 1")?;
        at("steps", !self.steps.is_empty(), "must have at least one step")?;
        for (index, step) in self.steps.iter().enumerate() {
            step.check(self).map_err(|(field, cause)| (format!("steps.{index}.{field}"), cause))?;
        }
        Ok(())
    }
}

impl Step {
    /// Returns the name of the fault's kind: `cpu`, `memory_leak`, `stress`, ...
    pub fn kind(&self) -> &'static str {
        match (&self.local, &self.chaos_mesh) {
            (Some(fault), _) => fault.name(),
            (None, Some(chaos)) => chaos.kind(),
            (None, None) => "none",
        }
    }

    fn check(&self, file: &ScenarioFile) -> Result<(), (&'static str, String)> {
        if !is_name(&self.label, "_-") {
            return Err(("label", "must be lower-case letters, digits, `_` and `-`".to_owned()));
        }
        if self.duration <= Span::ZERO {
            return Err(("for", "must be greater than 0s".to_owned()));
        }
        if self.guard < Span::ZERO || self.guard > Span::ZERO && self.guard >= file.pause {
            let pause = file.pause;
            return Err(("guard", format!("must be shorter than `pause`, {pause}")));
        }
        if self.local.is_some() == self.chaos_mesh.is_some() {
            return Err((
                "local",
                "exactly one of `local` and `chaos_mesh` must be set".to_owned(),
            ));
        }
        if let Some(fault) = &self.local {
            if self.duration > file.limits.duration {
                let limit = file.limits.duration;
                return Err(("for", format!("is longer than `limits.duration`, {limit}")));
            }
            fault.check(file).map_err(|cause| ("local", cause))?;
        }
        self.chaos_mesh.as_ref().map_or(Ok(()), ChaosMesh::check).map_err(|it| ("chaos_mesh", it))
    }
}

/// Returns whether a text is a name of lower-case letters, digits and some other characters.
fn is_name(text: &str, others: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || others.contains(c);
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits)
}
