//! The runs themselves: their tasks, and the model card.

use contract::bundle::BundleManifest;
use contract::outcome::Status;
use contract::rules::{Combine, Threshold};
use maud::{Markup, html};
use serde_json::Value;

use super::Section;
use crate::contents::Contents;
use crate::runs::{Run, Task};
use crate::tables::{Cell, Table};
use crate::zone::Zone;
use crate::{document_fields, units};

pub(super) fn tasks(contents: &Contents, tables: &mut Vec<Table>) -> Option<Section> {
    if contents.runs.is_empty() {
        return None;
    }
    let table = task_table(&contents.runs);
    let changed = changed(contents);
    let body = html! {
        @for run in &contents.runs { (summary(run, &contents.zone)) }
        (changes(contents, &changed))
        (table.html())
        @for run in &contents.runs { (warnings(run)) }
    };
    tables.push(table);
    tables.extend((!changed.is_empty()).then_some(changed));
    Some(Section { id: "run", title: "The run", body })
}

fn summary(run: &Run, zone: &Zone) -> Markup {
    let versions: std::collections::BTreeSet<&str> =
        run.tasks.iter().filter_map(|task| Some(task.outcome.as_ref()?.version.as_str())).collect();
    let versions: Vec<&str> = versions.into_iter().collect();
    html! {
        h3 { "Run " (run.record.run) }
        dl.facts {
            dt { "Pipeline" } dd { (run.record.pipeline) }
            dt { "Ended" } dd { (units::status(run.record.status)) ", after " (units::seconds(run.record.seconds)) " in all" }
            dt { "Its present" } dd { (zone.time(run.record.now)) }
            @if !run.record.document_sha256.is_empty() {
                dt { "Document" } dd { code { (units::short(&run.record.document_sha256)) } }
            }
            @if !versions.is_empty() { dt { "Lynceus" } dd { (versions.join(", ")) } }
        }
    }
}

/// Makes the table of the document's fields that differ from the previous run.
fn changed(contents: &Contents) -> Table {
    let mut table = Table::new(
        "changes",
        "Differences of the document from the previous run",
        &[("field", "Field"), ("before", "~Before"), ("now", "~Now")],
    );
    let last = contents.runs.iter().rev().find(|run| run.is_training());
    let Some((before, last)) = contents.previous.as_ref().zip(last) else { return table };
    for (field, said) in
        document_fields::differences(&[document_fields::of(before), document_fields::of(last)])
    {
        let said = said.into_iter().map(|said| said.map_or_else(Cell::empty, Cell::text));
        table.push(std::iter::once(Cell::code(field)).chain(said).collect());
    }
    table
}

fn changes(contents: &Contents, changed: &Table) -> Markup {
    html! {
        @match &contents.previous {
            None => { p { "There is no previous run to compare the document with." } },
            Some(before) if changed.is_empty() => {
                p { "Its document equals that of the previous run, " code { (before.record.run) } "." }
            },
            Some(before) => {
                p { "The previous run was " code { (before.record.run) } "." }
                (changed.html())
            },
        }
    }
}

/// Makes the table of the tasks of all runs.
pub(super) fn task_table(runs: &[Run]) -> Table {
    let mut table = Table::new(
        "tasks",
        "Tasks: why each ran or was reused from an earlier run, with its time and memory (for a \
         reused task those of the earlier run)",
        &[
            ("task", "Task"),
            ("state", "State"),
            ("seconds", "#Time"),
            ("peak_memory_bytes", "#Memory"),
            ("attempts", "#Attempts"),
            ("counts", "~What it counted"),
            ("why", "~Why"),
        ],
    );
    for run in runs {
        for task in &run.tasks {
            table.push(task_row(task));
        }
    }
    table
}

fn task_row(task: &Task) -> Vec<Cell> {
    let Task { record, outcome } = task;
    let counts = outcome.iter().flat_map(|outcome| &outcome.counts);
    let counts: Vec<String> = counts
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{} {}", units::words(name), units::count(*count)))
        .collect();
    let error = outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
    let why = error.map_or_else(|| record.why.clone(), ToString::to_string).replace('\n', "; ");
    let is_refused = outcome.as_ref().is_some_and(|outcome| outcome.status == Status::Refused);
    let state = if is_refused { "refused" } else { units::task_state(record.state) };
    vec![
        Cell::text(&record.name),
        Cell::text(state),
        task.seconds().map_or_else(Cell::empty, Cell::seconds),
        task.peak_memory_bytes().map_or_else(Cell::empty, Cell::bytes),
        Cell::count(u64::from(record.attempts)),
        Cell::text(counts.join(", ")),
        Cell::text(why),
    ]
}

fn warnings(run: &Run) -> Markup {
    // Warnings of `validate` are shown in the section about the data, if its report exists.
    let told = |task: &&Task| task.record.name != "validate" || run.validation.is_none();
    let warnings = run.tasks.iter().filter(told).flat_map(|task| {
        let warnings = task.outcome.iter().flat_map(|outcome| &outcome.warnings);
        warnings.map(|warning| (task.record.name.as_str(), warning.as_str()))
    });
    let warnings: Vec<(&str, &str)> = warnings.collect();
    html! {
        @if !warnings.is_empty() {
            h3 { "Warnings of run " (run.record.run) }
            ul { @for (task, warning) in warnings { li { strong { (task) } ": " (warning) } } }
        }
    }
}

pub(super) fn model_card(contents: &Contents) -> Option<Section> {
    let of_run = contents.runs.iter().rev().find_map(|run| run.bundle.as_ref());
    let last = contents.scored.as_ref().and_then(|scored| {
        let (_, version) = scored.history.versions.last()?;
        scored.manifests.get(version)
    });
    let bundle = last.or(of_run)?;
    let document = &contents.document;
    let watched = match document.description.as_str() {
        "" => document.name.as_str(),
        description => description,
    };
    let (provenance, zone) = (&bundle.provenance, &contents.zone);
    let body = html! {
        dl.facts {
            dt { "Purpose" }
            dd { "Predicting for each window of " (units::span(bundle.contract.step)) " whether \
                this behaves as usual: " (watched) "." }
            dt { "Training data" }
            dd {
                (units::counted(provenance.train_rows, "row")) " from " (zone.time(provenance.train_start))
                " to " (zone.until(provenance.train_start, provenance.train_end)) ", "
                (bundle.contract.columns.len()) " features, data set " code { (units::short(&provenance.dataset_sha256)) }
            }
            dt { "Models" }
            dd { @for member in &bundle.members {
                div { (units::words(&member.kind)) " (weight " (bundle.vote.weight(&member.kind)) ", seed " (member.seed) "): " (parameters(&member.parameters)) }
            } }
            dt { "When it alarms" } dd { (vote(bundle)) }
            dt { "Made with" } dd { "Lynceus " (provenance.version) }
            dt { "Limitations" }
            dd {
                "The model knows only the normal behaviour in its training data. An intended \
                 change, "
                "such as a new release or more load, is as anomalous as a fault until the model is "
                "trained again, and a fault during the whole training is normal. The model names "
                "features that moved, not their cause. It accepts only features of the same "
                "document."
                @if !bundle.metrics.values().any(|figures| figures.contains_key("recall")) {
                    " There were no labelled faults in its own data set, so the share of faults \
                     that it finds "
                    "is unknown."
                }
            }
        }
    };
    Some(Section { id: "card", title: "Model card", body })
}

pub(super) fn parameters(value: &Value) -> String {
    let Value::Object(fields) = value else { return value.to_string() };
    let one = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => units::words(text),
            other => other.to_string(),
        };
        format!("{} {value}", units::words(name))
    };
    fields.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn vote(bundle: &BundleManifest) -> String {
    let vote = &bundle.vote;
    let threshold = match &vote.threshold {
        Threshold::Quantile(threshold) => {
            format!("a threshold above {} of the validation rows", units::percent(threshold.share))
        }
        Threshold::Trailing(threshold) => format!(
            "a threshold that follows the last {}: {} usual deviations above their median, and at \
             least above {} of the validation rows",
            units::span(threshold.history),
            units::number(threshold.times),
            units::percent(threshold.share)
        ),
        Threshold::FalseAlarms(threshold) => format!(
            "a threshold above the usual level of the last {} that is expected to be exceeded {} \
             times a day",
            units::span(threshold.history),
            units::number(threshold.per_day)
        ),
    };
    match vote.combine {
        Combine::Votes => format!(
            "When the weights of the models above their thresholds add up to {} or more; each has {threshold}.",
            vote.alarm_at
        ),
        Combine::Mean => {
            let smoothing = match vote.smoothing.ms() {
                0 => String::new(),
                _ => format!(", averaged over {},", units::span(vote.smoothing)),
            };
            format!("When the weighted mean of the models' scores{smoothing} exceeds {threshold}.")
        }
    }
}
