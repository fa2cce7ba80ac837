//! A candidate folder: what `train` writes of one model and `select` makes a bundle of.

use std::path::Path;

use contract::bundle::{CandidateManifest, FileRecord};
use contract::{FeatureContract, OTHER_VERSION_HINT, StepError, artifact, read_json};
use detectors::detector::{self, Reader};
use detectors::sequence::{DynMemory, Memory, Training};
use fs_err as fs;

use crate::Model;

/// A candidate folder in memory, verified.
#[derive(Debug)]
pub struct Candidate {
    /// The manifest.
    pub manifest: CandidateManifest,
    /// Bytes of its safetensors file.
    pub model: Vec<u8>,
    pub(crate) loaded: Model,
    /// Scores of the fitted rows, for a model that scores in order of time.
    pub(crate) training: Option<Training<DynMemory>>,
}

impl Candidate {
    /// Reads a candidate folder; one whose model does not match its SHA-256 is refused.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        let (manifest, model) = read_files(folder)?;
        let training = manifest.training.as_ref().map(|record| {
            match Reader::of(detector::known(&manifest.kind)?) {
                Reader::Sequence(reader) => {
                    (reader.training)(&read_file(folder, &manifest, record)?)
                }
                Reader::Rows(_) => Err(StepError::damaged(format!(
                    "the candidate `{}` has `{}`, and scores each row by itself",
                    manifest.kind, record.file
                ))),
            }
        });
        let training = training.transpose()?;
        Ok(Self { training, ..Self::new(manifest, model)? })
    }

    /// Makes a candidate from a manifest and its bytes.
    pub fn new(manifest: CandidateManifest, model: Vec<u8>) -> Result<Self, StepError> {
        check_format(&manifest)?;
        check_hash(&manifest, &manifest.model, &model)?;
        let loaded = Model::load(&manifest.kind, &model)?;
        Ok(Self { manifest, model, loaded, training: None })
    }

    /// Returns the candidate with the scores of its fitted rows.
    #[must_use]
    pub fn with_training<M: Memory>(self, training: Training<M>) -> Self {
        Self { training: Some(training.of_any_kind()), ..self }
    }

    /// Returns the fitted model.
    pub fn model(&self) -> &Model {
        &self.loaded
    }
}

/// Reads the manifest of a candidate folder, whichever kind it is of, and the bytes of its model. A
/// model that is not what its hash says is refused.
pub fn read_files(folder: &Path) -> Result<(CandidateManifest, Vec<u8>), StepError> {
    let manifest = read_manifest(folder)?;
    let model = read_file(folder, &manifest, &manifest.model)?;
    Ok((manifest, model))
}

/// Reads the manifest of a candidate folder; one of another format is refused.
pub fn read_manifest(folder: &Path) -> Result<CandidateManifest, StepError> {
    let manifest: CandidateManifest = read_json(&folder.join(CandidateManifest::FILE))?;
    check_format(&manifest)?;
    Ok(manifest)
}

/// Refuses a candidate that was fitted on other features than the data set has.
pub fn check_features(
    manifest: &CandidateManifest,
    contract: &FeatureContract,
) -> Result<(), StepError> {
    if manifest.contract_sha256 == contract.sha256()? {
        return Ok(());
    }
    Err(StepError::refused(format!(
        "the candidate `{}` was fitted on other features than the data set has",
        manifest.kind
    ))
    .hint("run `train` again: the data set has changed since"))
}

fn check_format(manifest: &CandidateManifest) -> Result<(), StepError> {
    if manifest.format == CandidateManifest::FORMAT {
        return Ok(());
    }
    Err(StepError::refused(format!(
        "the candidate `{}` has format {}, this version reads {}",
        manifest.kind,
        manifest.format,
        CandidateManifest::FORMAT
    ))
    .hint(OTHER_VERSION_HINT))
}

fn read_file(
    folder: &Path,
    manifest: &CandidateManifest,
    record: &FileRecord,
) -> Result<Vec<u8>, StepError> {
    let path = folder.join(&record.file);
    let bytes = fs::read(&path).map_err(|e| StepError::reading(&path, &e))?;
    check_hash(manifest, record, &bytes)?;
    Ok(bytes)
}

fn check_hash(
    manifest: &CandidateManifest,
    record: &FileRecord,
    bytes: &[u8],
) -> Result<(), StepError> {
    if artifact::sha256(bytes) == record.sha256 {
        return Ok(());
    }
    Err(StepError::refused(format!(
        "`{}` of the candidate `{}` does not match its SHA-256",
        record.file, manifest.kind
    ))
    .hint("the file changed after `train` wrote it: run `train` again"))
}
