//! The second stage: which kind of fault an alarm was taken for.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use serde_json::Value;

use super::Section;
use crate::gather::Contents;
use crate::tables::{Cell, Table};
use crate::units;

/// Rows by label, and then by what they were called.
type Confusion = BTreeMap<String, BTreeMap<String, u64>>;

/// Shows what `select` counted of each part of the data set; nothing without a second stage.
pub(super) fn section(contents: &Contents, tables: &mut Vec<Table>) -> Option<Section> {
    let run = contents.runs.iter().rev().find(|run| run.is_training())?;
    let details = &run.outcome("select")?.details;
    let of_part = |part: &str| -> Option<Confusion> {
        let value: &Value = details.get(&format!("{part}.diagnosis"))?;
        serde_json::from_value(value.clone()).ok()
    };
    let mut table = Table::new(
        "diagnosis",
        "Alarmed rows of labelled faults, and what the second stage took them for",
        &[
            ("part", "Part"),
            ("label", "Was"),
            ("called", "Called"),
            ("rows", "#Rows"),
            ("right", "Right"),
        ],
    );
    let mut said: Vec<Markup> = Vec::new();
    for part in ["validation", "test"] {
        let Some(confusion) = of_part(part) else { continue };
        let kinds: BTreeSet<&String> = confusion.values().flat_map(BTreeMap::keys).collect();
        let rows: u64 = confusion.values().flat_map(BTreeMap::values).sum();
        said.push(html! {
            "On the " (part) " part it named " (units::counted(rows, "alarmed row")) ", "
            (units::counted(kinds.len() as u64, "kind")) "."
        });
        for (label, called) in &confusion {
            for (kind, rows) in called {
                table.push(vec![
                    Cell::text(part),
                    Cell::of(units::words(label), label.as_str()),
                    Cell::of(units::words(kind), kind.as_str()),
                    Cell::count(*rows),
                    Cell::of(if kind == label { "yes" } else { "no" }, kind == label),
                ]);
            }
        }
    }
    if said.is_empty() {
        return None;
    }
    let body = html! {
        @for sentence in said { p { (sentence) } }
        @if !table.is_empty() { (table.html()) }
    };
    tables.extend((!table.is_empty()).then_some(table));
    Some(Section { id: "diagnosis", title: "Which fault it was taken for", body })
}
