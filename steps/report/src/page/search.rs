//! Trials of searches for parameters.

use contract::trial::Trial;
use maud::{Markup, html};

use super::Section;
use crate::contents::Contents;
use crate::tables::{Cell, Table};
use crate::units;

pub(super) fn section(contents: &Contents, tables: &mut Vec<Table>) -> Option<Section> {
    let run = contents.runs.iter().rev().find(|run| run.is_training())?;
    let mut table = Table::new(
        "trials",
        "Metric of each trial on the validation part, the best of each model first",
        &[
            ("model", "Model"),
            ("trial", "#Trial"),
            ("metric", "Ranked by"),
            ("value", "#Reached"),
            ("seconds", "#Time"),
            ("kept", "Kept"),
            ("parameters", "~Parameters"),
        ],
    );
    let mut said: Vec<Markup> = Vec::new();
    for (task, trials) in &run.trials {
        let model = task.strip_prefix("train-").unwrap_or(task);
        said.push(sentence(model, trials));
        let mut order: Vec<&Trial> = trials.iter().collect();
        let reached = |trial: &Trial| trial.value.unwrap_or(f64::NEG_INFINITY);
        order.sort_by(|a, b| {
            b.kept.cmp(&a.kept).then(reached(b).total_cmp(&reached(a))).then(a.trial.cmp(&b.trial))
        });
        for trial in order {
            table.push(row(model, trial));
        }
    }
    if table.is_empty() {
        return None;
    }
    if run.trials.values().flatten().all(|trial| trial.seconds.is_none()) {
        table = table.without("seconds");
    }
    let body = html! { @for sentence in said { p { (sentence) } } (table.html()) };
    tables.push(table);
    Some(Section { id: "search", title: "The search", body })
}

fn sentence(model: &str, trials: &[Trial]) -> Markup {
    let kept = trials.iter().find(|trial| trial.kept);
    let seconds: f64 = trials.iter().filter_map(|trial| trial.seconds).sum();
    html! {
        strong { (units::words(model)) } ": " (units::counted(trials.len() as u64, "trial"))
        @if seconds > 0.0 { " in " (units::seconds(seconds)) }
        @if let Some(kept) = kept {
            "; number " (kept.trial) " was kept"
            @if let Some(value) = kept.value { ", with " (units::words(&kept.metric)) " " (units::number(value)) }
        }
        "."
    }
}

fn row(model: &str, trial: &Trial) -> Vec<Cell> {
    vec![
        Cell::of(units::words(model), model),
        Cell::count(trial.trial),
        Cell::of(units::words(&trial.metric), trial.metric.as_str()),
        Cell::number(trial.value),
        trial.seconds.map_or_else(Cell::empty, Cell::seconds),
        Cell::of(if trial.kept { "yes" } else { "no" }, trial.kept),
        Cell::of(super::runs::parameters(&trial.parameters), trial.parameters.clone()),
    ]
}
