//! Finds out by queries why a measurement has no rows.

use contract::{Span, Timestamp};
use document::sources::influxdb::{InfluxLanguage, InfluxdbSource};

use super::Measurement;
use super::question;
use super::reply::{Cell, Series};
use super::server::{Failure, Server};
use crate::range::Due;

/// Maximum number of names that a sentence lists.
const LISTED: usize = 12;

/// Returns the reason why a measurement has no row in a range.
pub(super) fn silent(
    server: &Server,
    settings: &InfluxdbSource,
    measurement: &Measurement<'_>,
    due: Due,
) -> String {
    let (name, database) = (measurement.name, &settings.database);
    let (asked, column) = question::measurements(settings);
    let Ok(known) = server.list(&asked) else {
        return format!("the measurement `{name}` has no row in the range");
    };
    let known = texts(&known, column);
    if !known.iter().any(|known| known == name) {
        let has = listed(&known, "it has no measurement at all", "it has");
        return format!("the database `{database}` has no measurement `{name}`; {has}");
    }
    let fields = fields(server, settings, name).unwrap_or_default();
    let wanted = measurement.columns.iter().map(|(_, column)| column.field.as_str());
    let absent: Vec<&str> = wanted.filter(|it| !fields.iter().any(|field| field == it)).collect();
    if !fields.is_empty() && absent.len() == measurement.columns.len() {
        let has = listed(&fields, "it has none", "it has");
        return format!("the measurement `{name}` has no field `{}`; {has}", absent.join("`, `"));
    }
    let field = measurement.columns.first().map_or("", |(_, column)| column.field.as_str());
    let end = |is_newest: bool| {
        time(&server.list(&question::end(settings, name, field, is_newest)).ok()?)
    };
    let (after, until) = (due.after, due.end);
    match (end(false), end(true)) {
        (_, Some(newest)) if newest <= after => format!(
            "the newest row of `{name}` is of `{newest}`, {} before `{until}`: is its collector running, and is its clock right?",
            until - newest
        ),
        (Some(oldest), _) if oldest > until => format!(
            "the oldest row of `{name}` is of `{oldest}`, {} after `{until}`: is a clock wrong?",
            oldest - until
        ),
        (Some(oldest), Some(newest)) => format!(
            "the measurement `{name}` has rows from `{oldest}` to `{newest}`, and none between `{after}` and `{until}`"
        ),
        (None, _) | (_, None) => format!("the measurement `{name}` has no row with `{field}`"),
    }
}

/// Returns the fields of a measurement, in SQL its tags, too.
pub(super) fn fields(
    server: &Server,
    settings: &InfluxdbSource,
    name: &str,
) -> Result<Vec<String>, Failure> {
    let (asked, column) = question::fields(settings, name);
    Ok(texts(&server.list(&asked)?, column))
}

/// Returns the retention policy that is read, and how long it keeps rows; 0 means forever. `None`
/// if the server does not report it.
pub(super) fn retention(server: &Server, settings: &InfluxdbSource) -> Option<(String, Span)> {
    let series = server.list(&question::retention(settings)?).ok()?;
    let series = series.first()?;
    if settings.language == InfluxLanguage::Flux {
        let at = series.columns.iter().position(|column| column == "retentionPeriod")?;
        let Some(Cell::Number(ns)) = series.values.first()?.get(at)? else { return None };
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds, as 2.x keeps them")]
        let kept = Span::from_seconds((*ns / 1e9) as i64);
        return Some((settings.database.clone(), kept));
    }
    let at = |name: &str| series.columns.iter().position(|column| column == name);
    let (name, duration, default) = (at("name")?, at("duration")?, at("default")?);
    let text = |row: &[Option<Cell>], at: usize| {
        row.get(at)?.as_ref().and_then(Cell::text).map(str::to_owned)
    };
    let is_meant = |row: &&Vec<Option<Cell>>| match &settings.retention_policy {
        Some(policy) => text(row, name).as_ref() == Some(policy),
        None => row.get(default) == Some(&Some(Cell::Flag(true))),
    };
    let row = series.values.iter().find(is_meant)?;
    Some((text(row, name)?, text(row, duration)?.parse().ok()?))
}

/// Returns the texts of a column.
fn texts(series: &[Series], column: &str) -> Vec<String> {
    let of = |series: &Series| -> Vec<String> {
        let Some(at) = series.columns.iter().position(|name| name == column) else {
            return Vec::new();
        };
        let cells = series.values.iter().filter_map(|row| row.get(at)?.as_ref());
        cells.filter_map(Cell::text).map(str::to_owned).collect()
    };
    series.iter().flat_map(of).collect()
}

fn listed(names: &[String], none: &str, some: &str) -> String {
    let more = if names.len() > LISTED { ", ..." } else { "" };
    match names {
        [] => none.to_owned(),
        _ => format!("{some} {}{more}", names[..names.len().min(LISTED)].join(", ")),
    }
}

/// Returns the time of the first row.
fn time(series: &[Series]) -> Option<Timestamp> {
    match series.first()?.values.first()?.first()? {
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age")]
        Some(Cell::Number(ms)) => Some(Timestamp::from_ms(*ms as i64)),
        Some(Cell::Flag(_) | Cell::Text(_)) | None => None,
    }
}
