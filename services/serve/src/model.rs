//! Scoring of rows with a bundle of either task.

use contract::StepError;
use contract::score::EntityScore;
use frames::FeatureTable;
use models::{AnyBundle, ScoreOptions, ScoreState};

/// Options for scoring rows.
const OPTIONS: ScoreOptions = ScoreOptions { min_completeness: 0.5, threads: 1 };

/// Scores rows, starting from the state after training.
pub fn judge(model: &AnyBundle, rows: &FeatureTable) -> Result<Vec<EntityScore>, StepError> {
    match model {
        AnyBundle::Anomaly(bundle) => bundle.score(rows, &mut ScoreState::default(), OPTIONS),
        AnyBundle::Classify(bundle) => Ok(bundle.score(rows, OPTIONS.min_completeness)),
    }
}

/// Scores the rows of several requests in one call, with the same results as [`judge`] for each.
pub fn judge_apart(
    model: &AnyBundle,
    requests: &[&FeatureTable],
) -> Vec<Result<Vec<EntityScore>, StepError>> {
    match model {
        AnyBundle::Anomaly(bundle) => bundle.score_apart(requests, OPTIONS),
        // A batch does not save work for a class model.
        AnyBundle::Classify(_) => requests.iter().map(|rows| judge(model, rows)).collect(),
    }
}
