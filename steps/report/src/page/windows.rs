//! Windows that were not scored, or late.

use contract::Timestamp;
use contract::score::LateWindows;
use maud::{Markup, html};

use crate::contents::{Contents, Scored};
use crate::tables::{Cell, Table};
use crate::units;

/// Maximum number of ranges that are listed; the figure shows all.
const LISTED: usize = 20;

/// Returns the ticks in the range that caught up missed windows, with what they scored.
pub(super) fn late(scored: &Scored, contents: &Contents) -> Table {
    let mut table = Table::new(
        "late",
        "Windows that were scored more than a tick after they were due",
        &[
            ("first", "From"),
            ("last", "To"),
            ("windows", "#Windows"),
            ("at", "Scored at"),
            ("longest_wait_seconds", "#Waited up to"),
        ],
    );
    let (zone, (after, until)) = (&contents.zone, scored.range);
    let inside = |late: &&LateWindows| late.last > after && late.first <= until;
    for late in scored.late.iter().filter(inside) {
        let due = late.first + contents.document.scoring.delay;
        table.push(vec![
            Cell::time(zone, late.first),
            Cell::of(zone.until(late.first, late.last), late.last.to_string()),
            Cell::count(windows(scored, (late.first, late.last))),
            Cell::time(zone, late.at),
            Cell::span(Some(late.at - due)),
        ]);
    }
    table
}

fn windows(scored: &Scored, (first, last): (Timestamp, Timestamp)) -> u64 {
    (last - first).in_steps(scored.history.step()) as u64 + 1
}

/// Shows which windows are missing, which were late, and which could not be scored.
pub(super) fn html(scored: &Scored, late: &Table, contents: &Contents) -> Markup {
    html! {
        h3 { "Missing and late windows" }
        (missing(scored, contents))
        @if late.is_empty() { p { "No window was scored late, among the last hundred late ticks." } } @else { (late.html()) }
        (silent(scored))
    }
}

fn missing(scored: &Scored, contents: &Contents) -> Markup {
    let (missing, zone) = (&scored.history.missing, &contents.zone);
    let total: u64 = missing.iter().map(|stretch| windows(scored, *stretch)).sum();
    html! {
        @if let Some(began) = scored.began { p { "The first stored window is that of " (zone.time(began)) "." } }
        @if total == 0 { p { "Every window of the range was scored." } } @else {
            p { (units::counted(total, "window")) " of the range " @if total == 1 { "was" } @else { "were" } " not scored:" }
            ul {
                @for (from, to) in missing.iter().take(LISTED) {
                    li { (zone.time(*from)) @if from != to { " to " (zone.until(*from, *to)) } }
                }
                @if missing.len() > LISTED { li { "and " (missing.len() - LISTED) " more stretches" } }
            }
        }
    }
}

fn silent(scored: &Scored) -> Markup {
    let silent: u64 = scored.history.entities.iter().map(|entity| entity.no_data).sum();
    html! {
        @if silent > 0 {
            p { (units::counted(silent, "verdict")) " could not be given because too much of the data was missing." }
        }
    }
}
