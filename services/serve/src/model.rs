//! The model of a version: for a pipeline of `task: anomaly` or `task: classify`.

use std::collections::BTreeMap;

use contract::StepError;
use contract::bundle::BundleManifest;
use contract::score::EntityScore;
use frames::FeatureTable;
use models::bundle::manifest_of;
use models::classify::ClassBundle;
use models::{Bundle, ScoreOptions, ScoreState};

/// Options for scoring rows.
const OPTIONS: ScoreOptions = ScoreOptions { min_completeness: 0.5, threads: 1 };

/// A model that scores rows.
#[derive(Debug)]
pub enum Model {
    /// Detects anomalous rows.
    Anomaly(Box<Bundle>),
    /// Predicts the class of entities.
    Classify(Box<ClassBundle>),
}

impl Model {
    /// Reads a version's files.
    ///
    /// Errors: refused (3) for files that are missing, damaged or of another format.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, StepError> {
        Ok(match manifest_of(files)?.classify {
            None => Self::Anomaly(Box::new(Bundle::from_files(files)?)),
            Some(_) => Self::Classify(Box::new(ClassBundle::from_files(files)?)),
        })
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &BundleManifest {
        match self {
            Self::Anomaly(bundle) => bundle.manifest(),
            Self::Classify(bundle) => bundle.manifest(),
        }
    }

    /// Scores rows, starting from the state after training.
    pub fn judge(&self, rows: &FeatureTable) -> Result<Vec<EntityScore>, StepError> {
        match self {
            Self::Anomaly(bundle) => bundle.score(rows, &mut ScoreState::default(), OPTIONS),
            Self::Classify(bundle) => Ok(bundle.score(rows, OPTIONS.min_completeness)),
        }
    }

    /// Scores the rows of several requests in one call, with the same results as [`Model::judge`]
    /// for each.
    pub fn judge_apart(
        &self,
        requests: &[&FeatureTable],
    ) -> Vec<Result<Vec<EntityScore>, StepError>> {
        match self {
            Self::Anomaly(bundle) => bundle.score_apart(requests, OPTIONS),
            // A batch does not save work for a class model.
            Self::Classify(_) => requests.iter().map(|rows| self.judge(rows)).collect(),
        }
    }
}
