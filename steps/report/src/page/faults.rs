//! Faults: the verdict over time, the labelled faults, the alarms.

use std::collections::BTreeMap;

use contract::score::{Cause, entity_words};
use contract::{StepError, Timestamp};
use maud::{Markup, html};

use super::{Section, drift, figure, key, messages, windows};
use crate::alarms::{Alarm, Found};
use crate::contents::{Contents, Rescored, Scored};
use crate::figures::{self, Backdrop, MOST_ROWS};
use crate::scores::{Basis, ScoreHistory};
use crate::tables::{Cell, Table};
use crate::units::{self, Unit};
use crate::zone::Zone;

/// Up to this number of alarms are shown without unfolding.
const MOST_OPEN: usize = 20;

pub(super) fn section(
    contents: &Contents,
    tables: &mut Vec<Table>,
) -> Result<Option<Section>, StepError> {
    let Some(scored) = &contents.scored else { return own_data(contents, tables) };
    let Scored { history, range, .. } = scored;
    let zone = &contents.zone;
    let body = if history.windows == 0 {
        html! {
            p { "No window between " (zone.time(range.0)) " and " (zone.time(range.1))
                " was scored." }
        }
    } else {
        let faults = faults(history, zone);
        let mut alarms = alarms(history, zone);
        let (drift, day) = (drift::table(history, zone), drift::day(history));
        if history.is_whole() {
            alarms = alarms.without("entity");
        }
        if !history.alarms().iter().any(|alarm| alarm.urgent) {
            alarms = alarms.without("urgent");
        }
        if history.members.len() < 2 {
            alarms = alarms.without("voted");
        }
        let entities = entities(history);
        let (messages, late) = (messages::table(contents), windows::late(scored, contents));
        let body = html! {
            (timeline(contents, history, *range)?)
            @if !faults.is_empty() { (faults.html()) }
            @if history.entities.len() > 1 { (map(contents, history, *range)?) }
            @if alarms.is_empty() { p { "No window was anomalous." } }
            @else if history.alarms().len() <= MOST_OPEN { (alarms.html()) }
            @else { details { summary { "All " (units::counted(history.alarms().len() as u64, "alarm")) } (alarms.html()) } }
            @if history.entities.len() > 1 { (entities.html()) }
            (drift::html(history, &drift, &day, zone))
            (windows::html(scored, &late, contents))
            (messages::html(&messages))
        };
        let all = [faults, alarms, entities, drift, day, late, messages];
        tables.extend(all.into_iter().filter(|table| !table.is_empty()));
        body
    };
    Ok(Some(Section { id: "alarms", title: "Violations and their times", body }))
}

/// Shows the verdicts of a training run's models on the labelled faults in its own data.
fn own_data(contents: &Contents, tables: &mut Vec<Table>) -> Result<Option<Section>, StepError> {
    let Some(Rescored { history, .. }) = &contents.rescored else { return Ok(None) };
    let range = history.range.map(|(first, last)| (first - history.step(), last));
    let Some(range) = range.filter(|_| !history.scenarios.is_empty()) else { return Ok(None) };
    let faults = faults(history, &contents.zone);
    let body = html! {
        p { "Verdicts of the new models on the faults in their own data set, a part of which was \
             used for training." }
        (timeline(contents, history, range)?)
        (faults.html())
    };
    tables.push(faults);
    Ok(Some(Section { id: "alarms", title: "Violated expectations and their times", body }))
}

fn timeline(
    contents: &Contents,
    history: &ScoreHistory,
    range: (Timestamp, Timestamp),
) -> Result<Markup, StepError> {
    let backdrop = Backdrop::of(contents, history, range);
    let (title, what, threshold) = match history.verdict.basis {
        Basis::Combined => {
            ("Combined score", "the models' mean score in usual deviations", "its threshold")
        }
        Basis::Votes => (
            "Votes",
            "the weights of the models that called a window anomalous",
            "the votes that an alarm needs",
        ),
        Basis::Only => ("Score", "the model's own score", "its threshold"),
    };
    let many = if history.entities.len() > 1 { ", of the entity with the highest one" } else { "" };
    let alternative = alternative(history, &contents.zone);
    let mut entries = vec![("s0", "score"), ("threshold", threshold), ("alarm", "alarm")];
    if !history.scenarios.is_empty() {
        entries.push(("fault", "labelled fault, by its number"));
    }
    if !history.missing.is_empty() {
        entries.push(("missing", "not scored"));
    }
    if history.versions.len() > 1 {
        entries.push(("switch", "another model version"));
    }
    let words = format!("{what}{many}, in windows of {}.", units::span(contents.document.step));
    let drawing = figures::verdict(history, &backdrop, &alternative)?;
    Ok(html! { (figure(&html! { (title) ":" }, &words, &drawing)) (key(&entries)) })
}

/// Draws the verdict over time as a separate figure.
pub(super) fn picture(contents: &Contents) -> Result<String, StepError> {
    let Some(Scored { history, range, .. }) = &contents.scored else { return Ok(String::new()) };
    let backdrop = Backdrop::of(contents, history, *range);
    figures::verdict_alone(history, &backdrop, &alternative(history, &contents.zone))
}

fn alternative(history: &ScoreHistory, zone: &Zone) -> String {
    let alarms = history.alarms();
    let mut text = format!(
        "Score over time with its threshold, alarms and faults. {}",
        units::counted(alarms.len() as u64, "alarm")
    );
    for alarm in alarms.iter().take(10) {
        text.push_str(&format!(
            "; {} to {}",
            zone.time(alarm.start),
            zone.until(alarm.start, alarm.end)
        ));
    }
    text.push_str(". The tables below have the same data.");
    text
}

fn map(
    contents: &Contents,
    history: &ScoreHistory,
    range: (Timestamp, Timestamp),
) -> Result<Markup, StepError> {
    let troubled = history.entities.iter().filter(|e| e.anomalous + e.no_data > 0).count();
    if troubled == 0 {
        return Ok(html! {});
    }
    let backdrop = Backdrop::of(contents, history, range);
    let words = format!(
        "{} of {} were anomalous or without data at some time{}.",
        troubled,
        history.entities.len(),
        if troubled > MOST_ROWS { ", the most anomalous are shown" } else { "" }
    );
    let alternative = format!("Alarms over time, one row per entity. {words}");
    let drawing = figures::alarm_map(history, &backdrop, &alternative)?;
    let entries = [("alarm", "alarm"), ("missing", "no data"), ("fault", "labelled fault")];
    Ok(html! { (figure(&html! { "Who:" }, &words, &drawing)) (key(&entries)) })
}

fn faults(history: &ScoreHistory, zone: &Zone) -> Table {
    let day = Day::of(history, zone);
    let mut table = Table::new(
        "faults",
        format!(
            "Labelled faults{day}: whether each was found, how long after its start the first \
             window was anomalous, and the features that explain it"
        ),
        &[
            ("number", "#No."),
            ("label", "Fault"),
            ("found", "Found"),
            ("delay_seconds", "#Delay"),
            ("start", "Start"),
            ("end", "End"),
            ("anomalous_share", "#Anomalous"),
            ("looked_like", "Looked like"),
            ("target", "~Target"),
            ("causes", "~Explained by"),
        ],
    );
    for found in &history.scenarios {
        let Found { scenario, rows, anomalous, first, causes, called, .. } = found;
        let word = match (first, rows) {
            (Some(_), _) => "yes",
            (None, 0) => "not scored",
            (None, _) => "no",
        };
        let share = (*rows > 0).then(|| *anomalous as f64 / *rows as f64);
        table.push(vec![
            Cell::count(scenario.number as u64),
            Cell::of(units::words(&scenario.label), scenario.label.as_str()),
            // A fault that was not scored was neither found nor missed.
            match (first, rows) {
                (None, 0) => Cell::of(word, serde_json::Value::Null),
                _ => Cell::of(word, first.is_some()),
            },
            Cell::span(found.delay()),
            day.time(scenario.start),
            Cell::of(zone.until(scenario.start, scenario.end), scenario.end.to_string()),
            Cell::share(share),
            looked_like(called),
            Cell::text(&scenario.target),
            names(causes),
        ]);
    }
    if history.scenarios.iter().all(|found| found.called.is_empty()) {
        return table.without("looked_like");
    }
    table
}

/// The day of a range within one day, which is not repeated in every row; `None` for longer ranges.
struct Day<'a>(Option<String>, &'a Zone);

impl<'a> Day<'a> {
    fn of(history: &ScoreHistory, zone: &'a Zone) -> Self {
        let (first, last) = history.range.unwrap_or((Timestamp::from_ms(0), Timestamp::from_ms(0)));
        let (first, last) = (zone.date(first), zone.date(last));
        Self((first == last).then_some(first), zone)
    }

    fn time(&self, time: Timestamp) -> Cell {
        let zone = self.1;
        match &self.0 {
            Some(day) if zone.date(time) == *day => Cell::of(zone.clock(time), time.to_string()),
            _ => Cell::time(zone, time),
        }
    }
}

impl std::fmt::Display for Day<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |day| write!(f, " on {day}"))
    }
}

/// Names causes with their shares.
fn names(causes: &[Cause]) -> Cell {
    let one = |cause: &Cause| format!("{} {}", cause.feature, units::percent(cause.share));
    listed(causes, one)
}

fn alarms(history: &ScoreHistory, zone: &Zone) -> Table {
    let day = Day::of(history, zone);
    let mut table = Table::new(
        "alarms",
        format!(
            "Alarms{day}: sequences of anomalous windows, with the features that explain them and \
             their usual ranges"
        ),
        &[
            ("start", "Start"),
            ("end", "End"),
            ("entity", "~Who"),
            ("anomalous_windows", "#Windows"),
            ("fault", "Fault"),
            ("looked_like", "Looked like"),
            ("urgent", "Urgent"),
            ("voted", "~Models"),
            ("causes", "~Explained by"),
        ],
    );
    for alarm in history.alarms() {
        let voted: Vec<String> = alarm.voted.iter().map(|kind| units::words(kind)).collect();
        table.push(vec![
            day.time(alarm.start),
            Cell::of(zone.until(alarm.start, alarm.end), alarm.end.to_string()),
            Cell::of(entity_words(&alarm.entity), alarm.entity.as_str()),
            Cell::count(alarm.windows),
            fault(history, alarm),
            looked_like(&alarm.called),
            Cell::of(if alarm.urgent { "yes" } else { "no" }, alarm.urgent),
            Cell::of(voted.join(", "), voted.join(" ")),
            explained(&alarm.causes),
        ]);
    }
    if history.alarms().iter().all(|alarm| alarm.called.is_empty()) {
        return table.without("looked_like");
    }
    table
}

/// Returns the kind that was diagnosed in most windows, and the number of windows with other kinds.
fn looked_like(called: &BTreeMap<String, u64>) -> Cell {
    let all: u64 = called.values().sum();
    let most = called.iter().rev().max_by_key(|(_, windows)| **windows);
    let Some((kind, windows)) = most else { return Cell::empty() };
    let share = if *windows == all { String::new() } else { format!(" ({windows} of {all})") };
    Cell::of(format!("{}{share}", units::words(kind)), kind.as_str())
}

fn fault(history: &ScoreHistory, alarm: &Alarm) -> Cell {
    let number = alarm.scenario.and_then(|index| history.scenarios.get(index));
    match number.map(|found| found.scenario.number) {
        Some(number) => Cell::of(number.to_string(), number),
        None if alarm.excluded => Cell::of("guard band", serde_json::Value::Null),
        None if history.scenarios.is_empty() => Cell::empty(),
        None => Cell::of("none", serde_json::Value::Null),
    }
}

/// Names causes with their value and usual range.
fn explained(causes: &[Cause]) -> Cell {
    listed(causes, |cause| {
        let largest = cause.value.unwrap_or(0.0).abs().max(cause.usual_high.abs());
        let unit = Unit::of(&cause.unit, largest);
        let is = cause.value.map_or_else(|| "missing".to_owned(), |value| unit.write(value));
        let [low, high] =
            [cause.usual_low, cause.usual_high].map(|value| units::number(value / unit.size));
        format!("{} {is}, usually {low} to {high}", cause.feature)
    })
}

fn listed(causes: &[Cause], one: impl Fn(&Cause) -> String) -> Cell {
    let lines: Vec<String> = causes.iter().map(one).collect();
    let names: Vec<&str> = causes.iter().map(|cause| cause.feature.as_str()).collect();
    if lines.is_empty() { Cell::empty() } else { Cell::of(lines.join("\n"), names.join(" ")) }
}

fn entities(history: &ScoreHistory) -> Table {
    let mut table = Table::new(
        "entities",
        "Verdicts by entity, the most anomalous first",
        &[
            ("entity", "~Who"),
            ("normal_windows", "#Normal"),
            ("anomalous_windows", "#Anomalous"),
            ("no_data_windows", "#No data"),
            ("alarms", "#Alarms"),
        ],
    );
    let mut entities: Vec<_> = history.entities.iter().collect();
    entities.sort_by(|a, b| b.anomalous.cmp(&a.anomalous).then_with(|| a.name.cmp(&b.name)));
    for found in entities {
        table.push(vec![
            Cell::of(entity_words(&found.name), found.name.as_str()),
            Cell::count(found.normal),
            Cell::count(found.anomalous),
            Cell::count(found.no_data),
            Cell::count(found.alarms.len() as u64),
        ]);
    }
    table
}
