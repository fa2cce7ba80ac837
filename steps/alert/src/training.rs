//! How a training ended, taken from the outcomes of its tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use contract::outcome::{Outcome, Status};
use contract::{StepError, Timestamp, read_json};
use document::alerts::TrainingResult;
use serde::{Deserialize, Serialize};

/// How a training ended, and its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// How it ended.
    pub result: TrainingResult,
    /// The version it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The task that ended it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Why it ended so.
    pub why: String,
    /// The version that was live before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<String>,
    /// Rows it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Figures by part of the data set and name, with the champion's on the same rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
}

/// One figure of a version and of the champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Part of the data set.
    pub part: String,
    /// What was measured.
    pub name: String,
    /// The version's.
    pub version: Option<f64>,
    /// The champion's on the same rows.
    pub champion: Option<f64>,
}

/// What the outcome of `deploy` says in its details; the fields that are reported.
#[derive(Debug, Deserialize)]
struct Deployment {
    version: String,
    promoted: bool,
    live: bool,
    since: Option<Timestamp>,
    why: String,
    champion: Option<String>,
    #[serde(default)]
    figures: Figures,
    #[serde(default)]
    champion_figures: Figures,
}

type Figures = BTreeMap<String, BTreeMap<String, f64>>;

impl Training {
    /// Reads the outcomes of a training's tasks, in their order; one that is absent belongs to a
    /// task that never ran.
    pub fn read(outcomes: &[PathBuf]) -> Result<Self, StepError> {
        let mut deployment = None;
        let (mut early, mut rows) = (None, None);
        // Argo lays an empty folder where an optional artifact is absent.
        for path in outcomes.iter().filter(|path| path.is_file()) {
            let outcome: Outcome = read_json(path)?;
            rows = rows.or(outcome.counts.get("train_rows").copied());
            if let Some(details) = outcome.details.get("deployment") {
                deployment = serde_json::from_value(details.clone()).map(Some).map_err(|e| {
                    StepError::refused(format!("`{}`: `deployment`: {e}", path.display()))
                        .hint("another version wrote it: run the training again")
                })?;
            }
            if outcome.status != Status::Done {
                early = early.or(Some(outcome));
            }
        }
        let mut training = deployment.map_or_else(Self::failed, Self::of);
        training.rows = rows;
        if let Some(outcome) = early {
            let refused = outcome.status == Status::Refused;
            training.result =
                if refused { TrainingResult::Refused } else { TrainingResult::Failed };
            training.task = Some(outcome.step);
            training.why =
                outcome.error.map_or_else(|| training.why.clone(), |error| error.message);
        }
        Ok(training)
    }

    /// A training without a known end.
    fn failed() -> Self {
        Self {
            result: TrainingResult::Failed,
            version: None,
            task: None,
            why: "a task ended without an error message".to_owned(),
            champion: None,
            rows: None,
            figures: Vec::new(),
        }
    }

    fn of(deployment: Deployment) -> Self {
        // A version that is live already was compared with none.
        let again = deployment.live && !deployment.promoted && deployment.since.is_some();
        Self {
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

    /// Returns the result's one word.
    pub(crate) fn word(&self) -> &'static str {
        match self.result {
            TrainingResult::Promoted => "promoted",
            TrainingResult::Finished => "finished",
            TrainingResult::Refused => "refused",
            TrainingResult::Failed => "failed",
        }
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
