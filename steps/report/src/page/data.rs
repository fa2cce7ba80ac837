//! The data: its range, its parts, its gaps, and its expectations.

use contract::validation::{Finding, Severity, Validation};
use maud::{Markup, html};

use super::Section;
use crate::contents::Contents;
use crate::runs::Run;
use crate::tables::{Cell, Table};
use crate::zone::Zone;
use crate::{drift, units};

pub(super) fn section(contents: &Contents, tables: &mut Vec<Table>) -> Option<Section> {
    if contents.runs.is_empty() {
        return None;
    }
    let zone = &contents.zone;
    let run = contents.runs.iter().rev().find(|run| run.is_training());
    let validation = run.and_then(|run| run.validation.as_ref());
    let expectations = validation.map(|validation| expectations(validation, zone));
    let parts = validation.map(|validation| parts(validation, zone));
    let drift = drift_table(contents);
    let body = html! {
        (facts(contents, run))
        @if let Some(parts) = &parts { (parts.html()) }
        @if let Some(validation) = validation { (verdict(validation)) }
        @else if run.is_some() { p { "The run ended before the data was validated." } }
        @if let Some(validation) = validation { (broken(validation, zone)) }
        @if let Some(table) = &expectations { @if !table.is_empty() {
            details.long { summary { "All expectations" } (table.html()) }
        } }
        (gaps(contents))
        (drifted(contents, &drift))
    };
    tables.extend((!drift.is_empty()).then_some(drift));
    tables.extend(parts.into_iter().chain(expectations).filter(|table| !table.is_empty()));
    Some(Section { id: "data", title: "The data", body })
}

fn facts(contents: &Contents, run: Option<&Run>) -> Markup {
    let (history, zone) = (&contents.features, &contents.zone);
    let collected = run.or(contents.runs.last()).and_then(|run| run.outcome("collect"));
    let count = |name: &str| collected.and_then(|outcome| outcome.counts.get(name)).copied();
    html! {
        dl.facts {
            @if let Some((first, last)) = history.range {
                dt { "Range" }
                dd { (zone.time(first)) " to " (zone.until(first, last)) " (" (units::span(last - first)) ")" }
                dt { "Windows" }
                dd { (units::count(history.rows)) " rows, one every " (units::span(history.step))
                    " for " (units::counted(history.entities.len().max(1) as u64, "entity")) }
                dt { "Features" }
                dd { (history.series.len()) }
            }
            @if let Some(points) = count("points") {
                dt { "Samples collected" }
                dd { (units::count(points)) " values, " (units::count(count("nan_values").unwrap_or(0)))
                    " of them not a number; " (units::count(count("gaps").unwrap_or(0))) " gaps" }
            }
            @if let Some(requests) = count("requests") {
                dt { "Requests" }
                dd { (units::count(requests)) ", " (units::count(count("retries").unwrap_or(0))) " retried" }
            }
            @if let Some(validation) = run.and_then(|run| run.validation.as_ref()) {
                dt { "Warm-up" }
                dd { (units::counted(validation.warm_up_rows, "row")) " left out, because the \
                    lookback of their features begins before the data" }
            }
        }
    }
}

fn parts(validation: &Validation, zone: &Zone) -> Table {
    let mut table = Table::new(
        "parts",
        "Parts of the data set, in order of time",
        &[("part", "Part"), ("rows", "#Rows"), ("first", "First window"), ("last", "Last")],
    );
    for part in &validation.parts {
        let time = |time: Option<contract::Timestamp>| {
            time.map_or_else(Cell::empty, |time| Cell::time(zone, time))
        };
        table.push(vec![
            Cell::text(&part.part),
            Cell::count(part.rows),
            time(part.first),
            time(part.last),
        ]);
    }
    table
}

fn verdict(validation: &Validation) -> Markup {
    let failed = validation.expectations.iter().filter(|finding| !finding.passed);
    let errors =
        failed.clone().filter(|finding| finding.severity == Severity::Error).count() as u64;
    let warnings = failed.count() as u64 - errors;
    let all = validation.expectations.len() as u64;
    html! {
        h3 { "Expectations" }
        p {
            @if validation.passed { span.good { "Accepted." } } @else { span.bad { "Refused." } }
            " " (units::counted(all, "expectation")) " checked: "
            @match (errors, warnings) {
                (0, 0) => { "all hold." },
                (0, _) => { "none is broken; " (units::counted(warnings, "warning")) "." },
                _ => { (errors) " broken, and " (units::counted(warnings, "warning")) "." },
            }
        }
    }
}

/// Summary of broken expectations: one row for all columns with the same result.
fn broken(validation: &Validation, zone: &Zone) -> Markup {
    let mut groups: Vec<(&Finding, Vec<&Finding>)> = Vec::new();
    let broken = validation.expectations.iter().filter(|finding| !finding.passed);
    for finding in broken {
        let same = |(first, _): &&mut (&Finding, Vec<&Finding>)| {
            (&first.expectation, first.severity, &first.expected, &first.found)
                == (&finding.expectation, finding.severity, &finding.expected, &finding.found)
        };
        match groups.iter_mut().find(same) {
            Some((_, group)) => group.push(finding),
            None => groups.push((finding, vec![finding])),
        }
    }
    groups.sort_by_key(|(first, _)| first.severity != Severity::Error);
    let mut table = Table::new(
        "broken",
        "Violated expectations, errors first",
        &[
            ("expectation", "Expectation"),
            ("severity", "Severity"),
            ("expected", "~Expected"),
            ("found", "~Found"),
            ("columns", "Features"),
            ("failing_times", "First times"),
        ],
    );
    for (first, group) in groups {
        table.push(vec![
            Cell::text(units::words(&first.expectation)),
            Cell::text(first.severity.name()),
            Cell::text(&first.expected),
            Cell::text(&first.found),
            Cell::text(few(group.iter().filter_map(|finding| finding.column.clone()), "\n")),
            Cell::text(few(first.failing_times.iter().map(|time| zone.time(*time)), "\n")),
        ]);
    }
    html! { @if !table.is_empty() { (table.html()) } }
}

/// Joins the first few texts, and adds how many more there are.
fn few(texts: impl Iterator<Item = String>, between: &str) -> String {
    let mut texts: Vec<String> = texts.collect();
    match texts.len() {
        0 => "–".to_owned(),
        1..=4 => texts.join(between),
        all => {
            texts.truncate(3);
            format!("{}{between}and {} more", texts.join(between), all - 3)
        }
    }
}

/// Broken expectations first, then those that hold.
fn expectations(validation: &Validation, zone: &Zone) -> Table {
    let mut table = Table::new(
        "expectations",
        "Expectations of the features, what was found, and the times of violations",
        &[
            ("expectation", "Expectation"),
            ("column", "Feature"),
            ("holds", "Holds"),
            ("severity", "Severity"),
            ("expected", "~Expected"),
            ("found", "~Found"),
            ("failing_rows", "#Rows"),
            ("failing_times", "Times"),
        ],
    );
    let mut findings: Vec<_> = validation.expectations.iter().collect();
    findings.sort_by_key(|finding| (finding.passed, finding.severity != Severity::Error));
    for finding in findings {
        let shown = few(finding.failing_times.iter().map(|time| zone.time(*time)), "\n");
        let exact: Vec<String> = finding.failing_times.iter().map(ToString::to_string).collect();
        table.push(vec![
            Cell::text(units::words(&finding.expectation)),
            finding.column.as_ref().map_or_else(Cell::empty, Cell::code),
            Cell::of(if finding.passed { "yes" } else { "no" }, finding.passed),
            Cell::text(finding.severity.name()),
            Cell::text(&finding.expected),
            Cell::text(&finding.found),
            Cell::count(finding.failing_rows),
            Cell::of(shown, exact.join(" ")),
        ]);
    }
    table
}

fn gaps(contents: &Contents) -> Markup {
    let (gaps, zone) = (&contents.features.gaps, &contents.zone);
    html! {
        @if !gaps.is_empty() {
            h3 { "Gaps in time" }
            p { "No entity has rows from" }
            ul {
                @for (from, to) in gaps.iter().take(20) {
                    li { (zone.time(*from)) " to " (zone.until(*from, *to)) " (" (units::span(*to - *from)) ")" }
                }
                @if gaps.len() > 20 { li { "and " (gaps.len() - 20) " more" } }
            }
        }
    }
}

/// Makes the table that compares the features of the new model's data with those of the previous
/// model's.
fn drift_table(contents: &Contents) -> Table {
    let mut table = Table::new(
        "data_drift",
        "Data of each feature compared with the previous run, largest differences first; a \
         stability index above 0.1 means that a feature has moved, above 0.25 that it has moved far",
        &[
            ("feature", "Feature"),
            ("stability_index", "#Stability index"),
            ("median_before", "#Median before"),
            ("median", "#Median now"),
            ("gap_ratio_before", "#Gaps before"),
            ("gap_ratio", "#Gaps now"),
        ],
    );
    let unit = |name: &str| {
        let series = contents.features.series.iter().find(|series| series.column.name == name);
        series.map_or("", |series| series.column.unit.as_str())
    };
    for moved in &contents.drift {
        let median = |value: Option<f64>| {
            value.map_or_else(Cell::empty, |value| Cell::quantity(unit(&moved.feature), value))
        };
        table.push(vec![
            Cell::code(&moved.feature),
            Cell::number(moved.stability_index),
            median(moved.medians.map(|medians| medians.0)),
            median(moved.medians.map(|medians| medians.1)),
            Cell::share(Some(moved.gaps.0)),
            Cell::share(Some(moved.gaps.1)),
        ]);
    }
    table
}

fn drifted(contents: &Contents, table: &Table) -> Markup {
    let Some(before) = &contents.previous else { return html! {} };
    let far = |moved: &&drift::Moved| moved.stability_index.is_some_and(|index| index > drift::FAR);
    let far = contents.drift.iter().filter(far).count();
    let version = before.deployment.as_ref().map(|deployment| deployment.version.as_str());
    let last = contents.runs.iter().rev().find_map(|run| run.deployment.as_ref());
    let champion = last.and_then(|deployment| deployment.champion.as_deref());
    html! {
        h3 { "Drift from the previous model" }
        @if table.is_empty() {
            p { "The previous run has no model to compare the data with." }
        } @else {
            p {
                @if version.is_some() && version == champion { "Compared with the data of the live model, " }
                @else { "Compared with the data of the previous run, " }
                code { (version.unwrap_or(&before.record.run)) } ", "
                @match far {
                    0 => { "no feature has moved far." },
                    1 => { "one feature has moved far." },
                    more => { (more) " features have moved far." },
                }
            }
            details { summary { "All features" } (table.html()) }
        }
    }
}
