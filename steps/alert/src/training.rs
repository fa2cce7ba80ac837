//! Result of a training, read from the outcomes of its tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use contract::deployment::{Deployment, Figures};
pub use contract::message::{Figure, Training, TrainingResult};
use contract::outcome::{Outcome, Status};
use contract::{ErrorKind, StepError, read_json};

use crate::failure::FailedTick;

/// Reads the outcomes of a training's tasks, in their order; an absent outcome belongs to a task
/// that never ran. If no outcome shows a failure, the first cause in `failures` is the reason: Argo's
/// list of failures, which also has tasks without an outcome here.
pub fn read(outcomes: &[PathBuf], failures: Option<&str>) -> Result<Training, StepError> {
    let mut deployment = None;
    let (mut early, mut rows) = (None, None);
    // Argo creates an empty folder if an optional artifact is absent.
    for path in outcomes.iter().filter(|path| path.is_file()) {
        let outcome: Outcome = read_json(path)?;
        rows = rows.or(outcome.counts.get("train_rows").copied());
        if let Some(details) = outcome.details.get(Deployment::DETAIL) {
            deployment = serde_json::from_value(details.clone()).map(Some).map_err(|e| {
                StepError::refused(format!("`{}`: `deployment`: {e}", path.display()))
                    .hint("another version wrote it: run the training again")
            })?;
        }
        if outcome.status != Status::Done {
            early = early.or(Some(outcome));
        }
    }
    let mut training = deployment.map_or_else(failed, of);
    training.rows = rows;
    if let Some(outcome) = early {
        let refused = outcome.status == Status::Refused;
        training.result = if refused { TrainingResult::Refused } else { TrainingResult::Failed };
        training.task = Some(outcome.step);
        training.why = outcome.error.map_or_else(|| training.why.clone(), |error| error.message);
    } else if let Some(tick) = failures.and_then(FailedTick::of_list) {
        let is_refused =
            tick.why.contains(&format!("(exit code {})", ErrorKind::Refused.exit_code()));
        training.result = if is_refused { TrainingResult::Refused } else { TrainingResult::Failed };
        training.task = Some(tick.step);
        training.why = tick.why;
    }
    Ok(training)
}

/// A training whose result is unknown.
fn failed() -> Training {
    Training {
        result: TrainingResult::Failed,
        version: None,
        task: None,
        why: "a task ended without an error message".to_owned(),
        champion: None,
        rows: None,
        figures: Vec::new(),
    }
}

fn of(deployment: Deployment) -> Training {
    // A version that is already live was not compared with another one.
    let again = deployment.live && !deployment.promoted && deployment.since.is_some();
    Training {
        result: if deployment.promoted {
            TrainingResult::Promoted
        } else {
            TrainingResult::Finished
        },
        figures: figures(&deployment.figures, &deployment.champion_figures),
        version: Some(deployment.version),
        task: None,
        rows: None,
        why: deployment.why,
        champion: deployment.champion.filter(|_| !again),
    }
}

/// Returns the result as one word.
pub(crate) fn word(training: &Training) -> &'static str {
    match training.result {
        TrainingResult::Promoted => "promoted",
        TrainingResult::Finished => "finished",
        TrainingResult::Refused => "refused",
        TrainingResult::Failed => "failed",
    }
}

fn figures(version: &Figures, champion: &Figures) -> Vec<Figure> {
    let names = |figures: &Figures| -> BTreeSet<(String, String)> {
        let of = |(part, named): (&String, &BTreeMap<String, f64>)| {
            named.keys().map(|name| (part.clone(), name.clone())).collect::<Vec<_>>()
        };
        figures.iter().flat_map(of).collect()
    };
    let value = |figures: &Figures, part: &str, name: &str| {
        figures.get(part).and_then(|named| named.get(name)).copied()
    };
    let all: BTreeSet<_> = names(version).union(&names(champion)).cloned().collect();
    let figure = |(part, name): (String, String)| Figure {
        version: value(version, &part, &name),
        champion: value(champion, &part, &name),
        part,
        name,
    };
    all.into_iter().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_of_a_task_without_an_outcome_here_is_the_reason() {
        let failures = r#"[
          {"displayName": "1-feature", "message": "1-feature: Error (exit code 3): a gap"},
          {"displayName": "main", "message": "main: Error (exit code 64): dependency"}
        ]"#;
        let training = read(&[], Some(failures)).unwrap();
        assert_eq!(training.result, TrainingResult::Refused);
        assert_eq!(training.task.as_deref(), Some("feature"));
        assert!(training.why.ends_with("a gap"), "{}", training.why);
        for none in [None, Some("[]"), Some("\"null\"")] {
            let training = read(&[], none).unwrap();
            assert_eq!(
                (training.result, training.task),
                (TrainingResult::Failed, None),
                "{none:?}"
            );
        }
    }
}
