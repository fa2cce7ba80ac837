//! The second stage: the diagnosed kinds of faults of alarms.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use models::diagnosed::Confusion;
use models::diagnosis::UNKNOWN;
use serde_json::Value;

use super::Section;
use crate::contents::Contents;
use crate::tables::{Cell, Table};
use crate::units;

/// Shows the counts of `select` for each part of the data set; `None` without a second stage.
pub(super) fn section(contents: &Contents, tables: &mut Vec<Table>) -> Option<Section> {
    let run = contents.runs.iter().rev().find(|run| run.is_training())?;
    let details = &run.outcome("select")?.details;
    let of_part = |part: &str| -> Option<Confusion> {
        let value: &Value = details.get(&format!("{part}.diagnosis"))?;
        serde_json::from_value(value.clone()).ok()
    };
    let mut table = Table::new(
        "diagnosis",
        "Alarmed rows of labelled faults, and the kind that the second stage predicted",
        &[
            ("part", "Part"),
            ("label", "Was"),
            ("called", "Called"),
            ("rows", "#Rows"),
            ("right", "Right"),
        ],
    );
    let known = run.bundle.as_ref().and_then(|bundle| bundle.diagnosis.as_ref());
    // For a kind that was not learned, the correct prediction is unknown.
    let right = |label: &str, called: &str| match known {
        Some(known) if !known.kinds.iter().any(|kind| kind == label) => called == UNKNOWN,
        _ => called == label,
    };
    let mut shown: Vec<Markup> = Vec::new();
    for part in ["validation", "test"] {
        let Some(confusion) = of_part(part) else { continue };
        shown.push(matrix(part, &confusion, right));
        for (label, called) in &confusion {
            for (kind, rows) in called {
                let right = right(label, kind);
                table.push(vec![
                    Cell::text(part),
                    Cell::of(units::words(label), label.as_str()),
                    Cell::of(units::words(kind), kind.as_str()),
                    Cell::count(*rows),
                    Cell::of(if right { "yes" } else { "no" }, right),
                ]);
            }
        }
    }
    if shown.is_empty() {
        return None;
    }
    tables.extend((!table.is_empty()).then_some(table));
    let body = html! { @for matrix in shown { (matrix) } };
    Some(Section { id: "diagnosis", title: "Predicted kind of fault", body })
}

/// Makes the confusion matrix of alarmed rows: true and predicted kind.
fn matrix(part: &str, confusion: &Confusion, right: impl Fn(&str, &str) -> bool) -> Markup {
    let kinds: BTreeSet<&String> = confusion.values().flat_map(BTreeMap::keys).collect();
    let rows: u64 = confusion.values().flat_map(BTreeMap::values).sum();
    let each =
        confusion.iter().flat_map(|(label, called)| called.iter().map(move |it| (label, it)));
    let named: u64 = each.filter(|(label, (kind, _))| right(label, kind)).map(|(_, it)| it.1).sum();
    let id = format!("table-diagnosis-{part}");
    html! {
        p {
            "On the " (part) " part it named " (units::counted(rows, "alarmed row"))
            @if rows > 0 { ", " (units::percent(named as f64 / rows as f64)) " of them rightly" } "."
        }
        @if rows > 0 {
            div.scroll role="group" tabindex="0" aria-labelledby=(id) { table {
                caption id=(id) { span { "True and predicted kinds of alarmed rows; correct ones are bold" } }
                thead { tr {
                    th scope="col" { "Was" }
                    @for kind in &kinds { th.num scope="col" { (units::words(kind)) } }
                } }
                tbody { @for (label, called) in confusion { tr {
                    th scope="row" { (units::words(label)) }
                    @for kind in &kinds { td.num { (count(called.get(*kind), right(label, kind))) } }
                } } }
            } }
        }
    }
}

fn count(rows: Option<&u64>, right: bool) -> Markup {
    let rows = rows.copied().unwrap_or(0);
    html! { @match (rows, right) {
        (0, _) => { "–" },
        (_, true) => { strong { (units::count(rows)) } },
        _ => { (units::count(rows)) },
    } }
}
