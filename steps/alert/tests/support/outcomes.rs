//! Outcomes as the tasks of a training write them.

use std::path::{Path, PathBuf};

use contract::{Outcome, StepError, outcome, write_json};

/// Writes the outcomes of `validate` and `deploy`, and returns their paths; `collect` never ran.
pub(crate) fn training(
    folder: &Path,
    deployment: Option<&serde_json::Value>,
    refusal: Option<(&str, &StepError)>,
) -> Vec<PathBuf> {
    let mut validate = Outcome::start("validate");
    validate.count("train_rows", 8640);
    let mut deploy = Outcome::start("deploy");
    if let Some(deployment) = deployment {
        deploy.detail("deployment", deployment).unwrap();
    }
    for outcome in [&mut validate, &mut deploy] {
        if let Some((_, error)) = refusal.filter(|(step, _)| *step == outcome.step) {
            outcome.status = outcome::Status::Refused;
            outcome.exit_code = 3;
            outcome.error = Some(error.clone());
        }
    }
    let mut paths = vec![folder.join("collect.json")];
    for outcome in [validate, deploy] {
        let path = folder.join(format!("{}.json", outcome.step));
        if outcome.step == "validate" || deployment.is_some() {
            write_json(&path, &outcome).unwrap();
        } else {
            contract::artifact::remove(&path).unwrap();
        }
        paths.push(path);
    }
    paths
}

/// Returns the output of `deploy` for a version that was compared with another one.
pub(crate) fn deployment(promoted: bool) -> serde_json::Value {
    let (version, champion) = ("20261121T080000Z-0123456789ab", "20261114T080000Z-ba9876543210");
    let (new, old) = if promoted { (0.9312, 0.8725) } else { (0.8125, 0.8725) };
    let why = if promoted {
        format!("its average precision on test is {new:.4}, the champion's {old:.4}")
    } else {
        format!(
            "its average precision on test is {new:.4}, more than 0.02 below the champion's {old:.4}"
        )
    };
    serde_json::json!({
        "format": 1, "pipeline": "cluster", "version": version, "alias": "live",
        "promoted": promoted, "live": promoted, "since": "2026-11-21T08:00:00Z", "why": why,
        "champion": champion,
        "comparison": {"part": "test", "figure": "average_precision", "challenger": new,
            "champion": old, "max_regression": 0.02},
        "figures": {
            "test": {"average_precision": new, "false_alarm_ratio": 0.0125,
                "false_alarm_ratio_low": 0.0079, "false_alarm_ratio_high": 0.0197, "rows": 1440.0},
            "validation": {"false_alarm_ratio": 0.02, "rows": 1440.0}},
        "champion_figures": {
            "test": {"average_precision": old, "false_alarm_ratio": 0.0125, "rows": 1440.0},
            "validation": {"false_alarm_ratio": 0.03, "rows": 1440.0}},
    })
}
