//! Model versions: champion against challenger, and which one was live when.

use std::collections::BTreeSet;

use contract::deployment::{Deployment, Figures};
use maud::{Markup, html};

use super::Section;
use crate::compare::metrics;
use crate::contents::{Contents, Scored};
use crate::runs::{Run, with_intervals};
use crate::tables::{Cell, Table};
use crate::units;
use crate::zone::Zone;

pub(super) fn section(contents: &Contents, tables: &mut Vec<Table>) -> Option<Section> {
    let deployment = contents.runs.iter().rev().find_map(|run| run.deployment.as_ref());
    let comparison = deployment.map(comparison);
    let measured = measured(contents, deployment);
    let history = contents.scored.as_ref().map(|scored| history(scored, &contents.zone));
    let switches = contents.scored.as_ref().map(|scored| switches(scored, &contents.zone));
    if deployment.is_none() && history.as_ref().is_none_or(Table::is_empty) && measured.is_empty() {
        return None;
    }
    let body = html! {
        @if let Some(deployment) = deployment { (gate(deployment)) }
        @if let Some(table) = &comparison { @if !table.is_empty() { (table.html()) } }
        @else if !measured.is_empty() { (measured.html()) }
        @if let Some(switches) = &switches { (switches) }
        @if let Some(table) = &history { @if !table.is_empty() { (table.html()) } }
    };
    let all = comparison.into_iter().chain(history).filter(|table| !table.is_empty());
    tables.extend(all);
    Some(Section { id: "versions", title: "Model versions", body })
}

fn gate(deployment: &Deployment) -> Markup {
    let Deployment { version, alias, champion, why, .. } = deployment;
    html! {
        p {
            @match (deployment.promoted, deployment.live) {
                (true, _) => { span.good { "Promoted." } },
                (false, true) => { span.good { "Live." } },
                (false, false) => { span.bad { "Not promoted." } },
            }
            " Version " code { (version) }
            @if deployment.promoted { " took over the alias " code { (alias) } }
            @else if deployment.live { " has the alias " code { (alias) } }
            @else { " is registered, but the alias " code { (alias) } " does not change" }
            @if let Some(champion) = champion {
                @if deployment.promoted { " from " } @else { "; the champion is " }
                code { (champion) }
            }
            ": " (why.trim_end_matches('.')) "."
        }
        @if let Some(compared) = &deployment.comparison {
            p {
                "Compared: " (units::words(&compared.figure)) " on the "
                (compared.part) " part, where the challenger may be lower by "
                (units::number(compared.max_regression)) "."
            }
        }
    }
}

/// Makes the table of the metrics of challenger and champion.
fn comparison(deployment: &Deployment) -> Table {
    let mut table = Table::new(
        "comparison",
        "Metrics of the new version and the champion on the same rows; in brackets 95 % bootstrap \
         intervals",
        &[
            ("part", "Part"),
            ("figure", "Figure"),
            ("challenger", "#New"),
            ("champion", "#Champion"),
            ("difference", "#Difference"),
        ],
    );
    let parts: BTreeSet<&String> =
        deployment.figures.keys().chain(deployment.champion_figures.keys()).collect();
    // Validation before test, in the order of the data.
    let mut parts: Vec<&String> = parts.into_iter().collect();
    parts.sort_by_key(|part| part.as_str() != "validation");
    for part in parts {
        let of = |figures: &Figures| figures.get(part).map(with_intervals).unwrap_or_default();
        let (new, old) = (of(&deployment.figures), of(&deployment.champion_figures));
        let names: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
        for name in names {
            let (new, old) = (new.get(name).copied(), old.get(name).copied());
            let difference = new.zip(old).map(|(new, old)| new.value - old.value);
            let sign = |value: f64| if value > 0.0 { "+" } else { "" };
            table.push(vec![
                Cell::text(part),
                Cell::of(units::words(name), name.as_str()),
                metrics::cell(name, new),
                metrics::cell(name, old),
                difference.map_or_else(Cell::empty, |value| {
                    Cell::of(format!("{}{}", sign(value), units::number(value)), value)
                }),
            ]);
        }
    }
    if deployment.champion_figures.is_empty() {
        "Metrics of the new version; in brackets 95 % bootstrap intervals"
            .clone_into(&mut table.caption);
        return table.without("champion").without("difference");
    }
    table
}

/// Makes the table of the metrics of a bundle that was not deployed.
fn measured(contents: &Contents, deployment: Option<&Deployment>) -> Table {
    let mut table = Table::new(
        "figures",
        "Metrics of the bundle; in brackets 95 % bootstrap intervals",
        &[("part", "Part"), ("figure", "Figure"), ("value", "#Value")],
    );
    let run = contents.runs.iter().rev().find(|run| run.bundle.is_some());
    let measured = run.filter(|_| deployment.is_none()).map(Run::figures).unwrap_or_default();
    for (part, all) in measured {
        for (name, value) in all {
            let named = Cell::of(units::words(&name), name.as_str());
            table.push(vec![Cell::text(&part), named, metrics::cell(&name, Some(value))]);
        }
    }
    table
}

fn switches(scored: &Scored, zone: &Zone) -> Markup {
    let versions = &scored.history.versions;
    html! {
        @if let [(_, only)] = versions.as_slice() {
            p { "All windows of the range were scored by version " code { (only) } "." }
        } @else if !versions.is_empty() {
            h3 { "Which version scored" }
            ul { @for (since, version) in versions {
                li { "from " (zone.time(*since)) " on: " code { (version) } }
            } }
        }
    }
}

fn history(scored: &Scored, zone: &Zone) -> Table {
    let mut table = Table::new(
        "versions",
        "History of the alias, newest last",
        &[
            ("since", "Since"),
            ("version", "Version"),
            ("by", "By"),
            ("why", "~Why"),
            ("previous", "Before it"),
        ],
    );
    for record in &scored.aliases {
        table.push(vec![
            Cell::time(zone, record.since),
            Cell::code(&record.version),
            Cell::text(&record.by),
            Cell::text(&record.why),
            record.previous.as_ref().map_or_else(Cell::empty, Cell::code),
        ]);
    }
    table
}
