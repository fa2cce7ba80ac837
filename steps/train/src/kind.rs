//! Values of `--model`: a detector or the second stage.

use contract::{DetectorKind, StepError};
use detectors::settings::Models;

/// The kind that `--model` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trained {
    /// A detector, which votes.
    Detector(DetectorKind),
    /// The second stage, which predicts the kind of fault of an alarm.
    Diagnosis,
}

impl Trained {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Detector(kind) => kind.name(),
            Self::Diagnosis => Models::DIAGNOSE,
        }
    }
}

/// Returns the kind that the document trains under a name.
///
/// Errors: usage for a name that the document does not set, with the closest known name as a
/// suggestion.
pub(crate) fn known(models: &Models, name: &str) -> Result<Trained, StepError> {
    let all = DetectorKind::ALL.iter().copied().map(Trained::Detector);
    let all: Vec<Trained> = all.chain([Trained::Diagnosis]).collect();
    let set = models.trained();
    let is_set = |kind: &&Trained| kind.name() == name && set.contains(&name);
    if let Some(kind) = all.iter().find(is_set) {
        return Ok(*kind);
    }
    let error = StepError::usage(format!("the document has no model `{name}`"));
    Err(match document::closest(name, all.iter().map(|kind| kind.name())) {
        Some(meant) if meant == name => error.hint(format!("set `models.{name}` in the document")),
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None if set.is_empty() => error.hint("set one under `models` in the document"),
        None => error.hint(format!("the document has {}", set.join(", "))),
    })
}
