//! The manifests of a candidate (one fitted model) and of a bundle (all of them, calibrated).
//!
//! Both are folders. Model parameters are in safetensors files beside the manifest; the manifest
//! has the SHA-256 of every file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::classify::ClassManifest;
use crate::rules::Vote;
use crate::trial::Trial;
use crate::{Division, FeatureContract, Timestamp};

/// A file of the folder, with its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Name inside the folder.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// `candidate.json`: one fitted model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateManifest {
    /// Version of this format.
    pub format: u32,
    /// Kind of model: `autoencoder`, `isolation_forest`, ...
    pub kind: String,
    /// The seed it was fitted with.
    pub seed: u64,
    /// The parameters it was fitted with, with the names of the document.
    pub parameters: Value,
    /// SHA-256 of the feature contract of the rows it was fitted on.
    pub contract_sha256: String,
    /// Rows it was fitted on.
    pub rows: u64,
    /// The trials of a search; empty without a search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<Trial>,
    /// The fitted parameters.
    pub model: FileRecord,
    /// The scores of the fitted rows in order of time, for models that score in that order; absent
    /// for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<FileRecord>,
    /// Its predictions for runs that were left out of fitting, for models of labelled classes;
    /// absent for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<Value>,
}

impl CandidateManifest {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the manifest in its folder.
    pub const FILE: &str = "candidate.json";
}

/// `bundle.json`: the manifest that `score` reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BundleManifest {
    /// Version of this format.
    pub format: u32,
    /// The pipeline it was trained by.
    pub pipeline: String,
    /// The manifests of the shards, in order; each shard is a bundle in its own folder. The members
    /// and the reference of this manifest are then those of the first shard, to show what was
    /// trained. Empty without shards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<FileRecord>,
    /// What says in which part an entity is; absent where the hash of its name does, and in a bundle
    /// without parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<Division>,
    /// The features it takes.
    pub contract: FeatureContract,
    /// How its members' scores become a verdict.
    pub vote: Vote,
    /// The models, in the order of their kinds' names.
    pub members: Vec<Member>,
    /// Quantile sketches of the calibration rows: features and scores.
    pub reference: FileRecord,
    /// Threshold of the combined score; for `combine: mean` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined_threshold: Option<f64>,
    /// Levels of the combined score; for `combine: mean` with a threshold by expected false alarms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined_levels: Option<AlarmLevels>,
    /// State of the scorer at the end of the data set; absent if the models have no state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<FileRecord>,
    /// State of the scorer after the validation part, to score the test part as live scoring would;
    /// absent if the models have no state or there is no test part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_before_test: Option<FileRecord>,
    /// The second stage, which names the kind of fault of an alarm; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<DiagnosisMember>,
    /// Data of `task: classify`; absent in a bundle of `task: anomaly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classify: Option<ClassManifest>,
    /// Metrics, by part of the data set (`validation`, `test`) and then by name.
    pub metrics: BTreeMap<String, BTreeMap<String, f64>>,
    /// Origin of the bundle.
    pub provenance: Provenance,
}

impl BundleManifest {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the manifest in its folder.
    pub const FILE: &str = "bundle.json";

    /// Returns the other files of the bundle; those of its parts are files of the parts.
    pub fn files(&self) -> impl Iterator<Item = &FileRecord> {
        let models = self.members.iter().map(|member| &member.model);
        let second = self.diagnosis.iter().map(|member| &member.model);
        let memories = self.memory.iter().chain(&self.memory_before_test);
        models.chain([&self.reference]).chain(memories).chain(second)
    }
}

/// One model of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Kind of model; unique in a bundle.
    pub kind: String,
    /// The fitted parameters.
    pub model: FileRecord,
    /// The seed it was fitted with.
    pub seed: u64,
    /// The parameters it was fitted with, with the names of the document.
    pub parameters: Value,
    /// Decision score above which it votes for an alarm.
    pub threshold: f64,
    /// Levels of a threshold by expected false alarms; absent with other thresholds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<AlarmLevels>,
}

/// The second stage of a bundle: it has no vote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosisMember {
    /// The fitted parameters.
    pub model: FileRecord,
    /// The seed it was fitted with.
    pub seed: u64,
    /// The parameters it was fitted with, with the names of the document.
    pub parameters: Value,
    /// The kinds of fault that it distinguishes.
    pub kinds: Vec<String>,
    /// Its predictions for scenarios that were left out of fitting.
    pub cross_validation: Option<Value>,
}

/// The upper tail of the calibration scores, for a threshold by expected false alarms, on the scale
/// on which scores are compared. The heights of peaks above `tail_start` are exponentially
/// distributed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmLevels {
    /// Score at which the tail begins.
    pub tail_start: f64,
    /// Mean height of a peak above it; 0 if there were too few peaks.
    pub tail_scale: f64,
    /// Peaks above it in a day.
    pub peaks_per_day: f64,
    /// How far below the threshold the score must fall to end an alarm (hysteresis).
    pub stay_below: f64,
}

impl AlarmLevels {
    /// Returns the score that peaks are expected to exceed this many times a day.
    pub fn passed(&self, per_day: f64) -> f64 {
        let above = self.tail_scale * (self.peaks_per_day / per_day).ln();
        self.tail_start + if above > 0.0 { above } else { 0.0 }
    }
}

/// Origin of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of Lynceus.
    pub version: String,
    /// SHA-256 of the data set folder.
    pub dataset_sha256: String,
    /// First and last window of the training part.
    pub train_start: Timestamp,
    /// First and last window of the training part.
    pub train_end: Timestamp,
    /// Rows of the training part.
    pub train_rows: u64,
}
