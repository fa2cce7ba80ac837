//! Texts about a training.

use contract::units::{number, quantity};
use document::alerts::TrainingResult;

use crate::clean::clean;
use crate::training::{Figure, Training};

/// Metrics that are only counts, which do not rank versions.
const SIZES: [&str; 1] = ["rows"];

pub(super) fn title(training: &Training) -> &'static str {
    match training.result {
        TrainingResult::Promoted => "new model is live",
        TrainingResult::Finished => "training finished, the live model stays",
        TrainingResult::Refused if training.version.is_some() => "new model was refused",
        TrainingResult::Refused => "training was refused",
        TrainingResult::Failed => "training failed",
    }
}

pub(super) fn lines(training: &Training) -> Vec<String> {
    let mut lines = Vec::new();
    let task = training.task.as_ref().map(|task| format!("{}: ", clean(task)));
    lines.push(format!("{}{}", task.unwrap_or_default(), clean(&training.why)));
    let rows = training.rows.map(|rows| format!(", trained on {rows} rows")).unwrap_or_default();
    if let Some(version) = &training.version {
        lines.push(format!("model {}{rows}", clean(version)));
    }
    if let Some(champion) = &training.champion {
        let word = match training.result {
            TrainingResult::Promoted => "before",
            TrainingResult::Finished | TrainingResult::Refused | TrainingResult::Failed => "live",
        };
        lines.push(format!("{word} {}", clean(champion)));
    }
    let mut part = "";
    for figure in training.figures.iter().filter(|figure| is_told(figure, &training.figures)) {
        let Some(line) = line(figure, &training.figures) else { continue };
        if part != figure.part {
            part = &figure.part;
            lines.push(format!("{}:", clean(part)));
        }
        lines.push(line);
    }
    lines
}

/// Returns whether a metric has its own line: sizes and bounds of other metrics have none.
fn is_told(figure: &Figure, all: &[Figure]) -> bool {
    let name = &figure.name;
    let bound = name.strip_suffix("_low").or_else(|| name.strip_suffix("_high"));
    let is_bound = bound.is_some_and(|of| find(all, &figure.part, of).is_some());
    !SIZES.contains(&name.as_str()) && !is_bound
}

fn find<'a>(all: &'a [Figure], part: &str, name: &str) -> Option<&'a Figure> {
    all.iter().find(|figure| figure.part == part && figure.name == name)
}

/// Returns a metric with its bounds and the champion's value; `None` if neither was computed.
fn line(figure: &Figure, all: &[Figure]) -> Option<String> {
    let shown = |value: Option<f64>| {
        let value = value.filter(|value| value.is_finite())?;
        Some(if figure.name.ends_with("_ratio") { quantity("ratio", value) } else { number(value) })
    };
    let bound = |ending: &str| {
        let name = format!("{}{ending}", figure.name);
        shown(find(all, &figure.part, &name).and_then(|bound| bound.version))
    };
    let bounds = bound("_low").zip(bound("_high"));
    let bounds = bounds.map(|(low, high)| format!(" ({low} to {high})")).unwrap_or_default();
    let name = clean(&figure.name).replace('_', " ");
    match (shown(figure.champion), shown(figure.version)) {
        (None, None) => None,
        (None, Some(new)) => Some(format!("- {name} {new}{bounds}")),
        (Some(old), None) => Some(format!("- {name} not measured, was {old}")),
        (Some(old), Some(new)) if old == new => Some(format!("- {name} {new}{bounds}, as before")),
        (Some(old), Some(new)) => Some(format!("- {name} {new}{bounds}, was {old}")),
    }
}
