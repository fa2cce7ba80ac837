//! Why a measurement gave no rows, found out by asking.

use contract::{Span, Timestamp};
use document::sources::InfluxdbSource;

use super::Measurement;
use super::question::{identifier, source};
use super::reply::{Cell, Series};
use super::server::Server;
use crate::range::Due;

/// Names that a sentence lists at most.
const LISTED: usize = 12;

/// Says why a measurement has no row in a range.
pub(super) fn silent(
    server: &Server,
    settings: &InfluxdbSource,
    measurement: &Measurement<'_>,
    due: Due,
) -> String {
    let (name, database) = (measurement.name, &settings.database);
    let Ok(known) = server.list("SHOW MEASUREMENTS") else {
        return format!("the measurement `{name}` has no row in the range");
    };
    let known = texts(&known, "name");
    if !known.iter().any(|known| known == name) {
        let has = listed(&known, "it has no measurement at all", "it has");
        return format!("the database `{database}` has no measurement `{name}`; {has}");
    }
    let from = source(settings, name);
    let fields =
        server.list(&format!("SHOW FIELD KEYS FROM {}", identifier(name))).unwrap_or_default();
    let fields = texts(&fields, "fieldKey");
    let wanted = measurement.columns.iter().map(|(_, column)| column.field.as_str());
    let absent: Vec<&str> = wanted.filter(|it| !fields.iter().any(|field| field == it)).collect();
    if !fields.is_empty() && absent.len() == measurement.columns.len() {
        let has = listed(&fields, "it has none", "it has");
        return format!("the measurement `{name}` has no field `{}`; {has}", absent.join("`, `"));
    }
    let field = measurement.columns.first().map_or("", |(_, column)| column.field.as_str());
    let select = format!("SELECT {} FROM {from}", identifier(field));
    let end = |order: &str| {
        let series = server.list(&format!("{select} ORDER BY time {order} LIMIT 1")).ok()?;
        time(&series)
    };
    let (after, until) = (due.after, due.end);
    match (end("ASC"), end("DESC")) {
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

/// Returns the retention policy that is read, and how long it keeps rows; 0 is for ever. Nothing where
/// the server does not say.
pub(super) fn retention(server: &Server, settings: &InfluxdbSource) -> Option<(String, Span)> {
    let query = format!("SHOW RETENTION POLICIES ON {}", identifier(&settings.database));
    let series = server.list(&query).ok()?;
    let series = series.first()?;
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
