//! Events that an alarm found, and the delays.

use std::collections::BTreeMap;

use contract::{Span, Timestamp};
use frames::FeatureTable;

use super::Truth;

/// An event: a scenario, or without a log a run of anomalous rows of one entity.
struct Event {
    /// Times of its first and last row that counts.
    first: Timestamp,
    last: Timestamp,
    rows: Vec<usize>,
}

/// Returns for each event the seconds from its start to the first alarm in it; `None` if no alarm
/// found it.
///
/// The rows around a scenario's start and end are excluded from the metrics. For events their
/// alarms count, and the start and the end are assumed in the middle of the guard bands. Without a
/// guard band an event begins one step before its first row.
pub(super) fn delays(
    part: &FeatureTable,
    truth: &Truth,
    is_alarm: impl Fn(usize) -> bool,
) -> Vec<Option<f64>> {
    let mut events = of_rows(part, truth);
    let times = &part.table.times;
    // The first and last row of the bands before and after each event.
    let mut bands: BTreeMap<&str, (Option<Timestamp>, Option<Timestamp>)> = BTreeMap::new();
    if let Some(labels) = &part.labels {
        for row in (0..part.rows()).filter(|row| labels.excluded[*row]) {
            let name = labels.scenario[row].as_str();
            let Some(event) = events.get_mut(name) else { continue };
            let (before, after) = bands.entry(name).or_default();
            if times[row] < event.first {
                *before = Some(before.map_or(times[row], |first| first.min(times[row])));
            } else {
                *after = Some(after.map_or(times[row], |last| last.max(times[row])));
            }
            event.rows.push(row);
        }
    }
    let step = part.contract.step;
    let delay = |(name, event): (&String, &Event)| {
        let (before, after) = bands.get(name.as_str()).copied().unwrap_or_default();
        let start = before.map_or(event.first, |before| middle(before, event.first)) - step;
        let end = after.map_or(event.last, |after| middle(event.last, after));
        let inside = event.rows.iter().filter(|row| times[**row] > start && times[**row] <= end);
        let found = inside.filter(|row| is_alarm(**row)).map(|row| times[*row]).min();
        found.map(|time| (time - start).seconds())
    };
    events.iter().map(delay).collect()
}

fn of_rows(part: &FeatureTable, truth: &Truth) -> BTreeMap<String, Event> {
    let mut events: BTreeMap<String, Event> = BTreeMap::new();
    let mut runs: BTreeMap<u32, (bool, u64)> = BTreeMap::new();
    for (&row, &anomalous) in truth.rows.iter().zip(&truth.anomalous) {
        let (inside, number) = runs.entry(part.table.entity[row]).or_default();
        if anomalous && !*inside {
            *number += 1;
        }
        *inside = anomalous;
        if !anomalous {
            continue;
        }
        let scenario = part.labels.as_ref().map_or("", |labels| labels.scenario[row].as_str());
        let name = match scenario {
            "" => format!("{} run {number}", part.table.entity_of(row)),
            scenario => scenario.to_owned(),
        };
        let time = part.table.times[row];
        let event = events.entry(name).or_insert(Event { first: time, last: time, rows: vec![] });
        (event.first, event.last) = (event.first.min(time), event.last.max(time));
        event.rows.push(row);
    }
    events
}

fn middle(first: Timestamp, last: Timestamp) -> Timestamp {
    first + Span::from_ms((last - first).ms() / 2)
}
