//! The model of a version: that of a pipeline of `task: anomaly`, or of `task: classify`.

use std::collections::BTreeMap;

use contract::StepError;
use contract::bundle::BundleManifest;
use contract::score::EntityScore;
use frames::FeatureTable;
use models::bundle::manifest_of;
use models::classify::ClassBundle;
use models::{Bundle, ScoreOptions, ScoreState};

/// How rows are judged.
const OPTIONS: ScoreOptions = ScoreOptions { min_completeness: 0.5, threads: 1 };

/// What judges rows.
#[derive(Debug)]
pub enum Model {
    /// Says whether a row is anomalous.
    Anomaly(Box<Bundle>),
    /// Says of which class an entity is.
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

    /// Judges rows, from the state that training left.
    pub fn judge(&self, rows: &FeatureTable) -> Result<Vec<EntityScore>, StepError> {
        match self {
            Self::Anomaly(bundle) => bundle.score(rows, &mut ScoreState::default(), OPTIONS),
            Self::Classify(bundle) => Ok(bundle.score(rows, OPTIONS.min_completeness)),
        }
    }

    /// Judges the rows of several requests as [`Model::judge`] judges those of each, in one call.
    pub fn judge_apart(
        &self,
        requests: &[&FeatureTable],
    ) -> Vec<Result<Vec<EntityScore>, StepError>> {
        match self {
            Self::Anomaly(bundle) => bundle.score_apart(requests, OPTIONS),
            // Rows of a class model share no work.
            Self::Classify(_) => requests.iter().map(|rows| self.judge(rows)).collect(),
        }
    }
}
