//! The words of a message: short lines that read well in a terminal and on a phone.

use contract::score::Cause;
use contract::{Span, Timestamp};

use crate::machine::Kind;
use crate::message::{Alert, Message, Status};

/// Entities that a message names; the others are counted.
const NAMED: usize = 5;

/// Alerts of the same kind that changed the same way.
struct Group<'a> {
    alerts: Vec<&'a Alert>,
}

/// Returns one line that says what changed and where.
pub(crate) fn title(message: &Message) -> String {
    let groups = groups(&message.alerts);
    let pipeline = clean(&message.pipeline);
    if let [Group { alerts }] = groups.as_slice()
        && let [alert] = alerts.as_slice()
        && alert.entity.is_empty()
    {
        return format!("{pipeline} {}", verb(alert, true));
    }
    let words: Vec<_> = groups.iter().map(Group::title).collect();
    format!("{pipeline}: {}", words.join(", "))
}

/// Returns the title and what is known of each change.
pub(crate) fn body(message: &Message) -> String {
    let mut lines = vec![title(message)];
    let groups = groups(&message.alerts);
    for group in &groups {
        let lonely = groups.len() == 1 && group.alerts.len() == 1;
        for alert in group.alerts.iter().take(NAMED) {
            if !lonely {
                lines.push(format!("- {}: {}", place(alert), clock(alert, true)));
                lines
                    .extend(alert.causes.iter().take(1).map(|cause| format!("  {}", words(cause))));
                continue;
            }
            lines.push(clock(alert, false));
            lines.extend(alert.causes.iter().map(|cause| format!("- {}", words(cause))));
        }
        if group.alerts.len() > NAMED {
            lines.push(format!("- and {} more", group.alerts.len() - NAMED));
        }
    }
    if message.from != message.time {
        lines.push(format!("summary of {} to {}", shown(message.from), shown(message.time)));
    }
    lines.push(format!("model {}", clean(&message.version)));
    lines.join("\n")
}

fn groups(alerts: &[Alert]) -> Vec<Group<'_>> {
    let same = |one: &Alert, other: &Alert| {
        (one.status, one.kind, one.gone) == (other.status, other.kind, other.gone)
    };
    let mut groups: Vec<Group<'_>> = Vec::new();
    for alert in alerts {
        match groups.iter_mut().find(|group| same(group.alerts[0], alert)) {
            Some(group) => group.alerts.push(alert),
            None => groups.push(Group { alerts: vec![alert] }),
        }
    }
    groups
}

impl Group<'_> {
    fn title(&self) -> String {
        match self.alerts.as_slice() {
            [alert] => format!("{} {}", place(alert), verb(alert, true)),
            alerts => format!("{} {}", alerts.len(), verb(alerts[0], false)),
        }
    }
}

fn place(alert: &Alert) -> String {
    if alert.entity.is_empty() { "all of it".to_owned() } else { clean(&alert.entity) }
}

fn verb(alert: &Alert, one: bool) -> &'static str {
    match (alert.gone, alert.status, alert.kind, one) {
        (true, _, _, true) => "is no longer reported",
        (true, _, _, false) => "are no longer reported",
        (_, Status::Firing, Kind::Anomaly, true) => "is anomalous",
        (_, Status::Firing, Kind::Anomaly, false) => "are anomalous",
        (_, Status::Firing, Kind::NoData, true) => "sends no data",
        (_, Status::Firing, Kind::NoData, false) => "send no data",
        (_, Status::Resolved, Kind::Anomaly, true) => "is normal again",
        (_, Status::Resolved, Kind::Anomaly, false) => "are normal again",
        (_, Status::Resolved, Kind::NoData, true) => "sends data again",
        (_, Status::Resolved, Kind::NoData, false) => "send data again",
    }
}

/// Returns since when, or from when to when; in a summary also how often.
fn clock(alert: &Alert, short: bool) -> String {
    let since = shown(alert.since);
    let mut parts = vec![match (alert.ended, alert.kind) {
        (None, _) => format!("since {since}"),
        (Some(ended), kind) => {
            let what = match kind {
                _ if short => "",
                Kind::Anomaly => "anomalous ",
                Kind::NoData => "without data ",
            };
            format!("{what}from {since} to {} ({})", shown(ended), ended - alert.since)
        }
    }];
    if alert.changes > 1 {
        parts.push(format!("{} changes", alert.changes));
    }
    let missing = alert.kind == Kind::NoData && alert.ended.is_none();
    if let Some(there) = alert.completeness.filter(|_| missing) {
        parts.push(format!("{} of its features are there", quantity(there, "ratio")));
    }
    parts.join(", ")
}

fn words(cause: &Cause) -> String {
    let value = cause.value.map_or("missing".to_owned(), |value| quantity(value, &cause.unit));
    let low = quantity(cause.usual_low, &cause.unit);
    let high = quantity(cause.usual_high, &cause.unit);
    let usual = if low == high { low } else { format!("{low} to {high}") };
    format!("{} {value}, usually {usual}", clean(&cause.feature))
}

/// Returns a time to the minute where it is a whole one.
fn shown(time: Timestamp) -> String {
    let text = time.to_string();
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    let clock = clock.trim_end_matches('Z');
    format!("{date} {} UTC", clock.strip_suffix(":00").unwrap_or(clock))
}

/// Returns a number with its unit, to three significant digits.
fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "ratio" => format!("{} %", digits(value * 100.0)),
        "bytes" => bytes(value),
        "bytes_per_second" => format!("{}/s", bytes(value)),
        "per_second" => format!("{}/s", digits(value)),
        "seconds" => seconds(value),
        "" => digits(value),
        unit => format!("{} {}", digits(value), clean(unit)),
    }
}

fn bytes(value: f64) -> String {
    let (mut value, mut unit) = (value, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value.abs() < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    format!("{} {unit}", digits(value))
}

fn seconds(value: f64) -> String {
    match value.abs() {
        size if (120.0..1e12).contains(&size) => {
            // Whole seconds within 12 digits fit.
            #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
            let whole = value.round() as i64;
            Span::from_seconds(whole).to_string()
        }
        size if size >= 1.0 || size == 0.0 => format!("{} s", digits(value)),
        size if size >= 1e-3 => format!("{} ms", digits(value * 1e3)),
        _ => format!("{} \u{b5}s", digits(value * 1e6)),
    }
}

/// Returns a number to three significant digits, or whole where it is large.
fn digits(value: f64) -> String {
    let size = value.abs();
    if size >= 1e9 || (size < 1e-4 && size > 0.0) {
        return format!("{value:.2e}");
    }
    let places = match size {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.01 => 4,
        _ => 6,
    };
    let text = format!("{value:.places$}");
    let text = if places > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Returns text that came from outside without what would move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        for (value, unit, text) in [
            (0.9812, "ratio", "98.1 %"),
            (0.0, "ratio", "0 %"),
            (8_482_560_000.0, "bytes", "7.9 GiB"),
            (512.0, "bytes", "512 B"),
            (1536.0, "bytes_per_second", "1.5 KiB/s"),
            (12.345, "per_second", "12.3/s"),
            (0.0042, "seconds", "4.2 ms"),
            (3.0e-6, "seconds", "3 \u{b5}s"),
            (320.4, "seconds", "5m20s"),
            (-0.000_001, "", "-1.00e-6"),
            (123_456.7, "", "123457"),
            (1.5e12, "", "1.50e12"),
            (2.5, "cores", "2.5 cores"),
            (f64::INFINITY, "", "inf"),
            (f64::NAN, "seconds", "NaN \u{b5}s"),
        ] {
            assert_eq!(quantity(value, unit), text);
        }
    }

    #[test]
    fn a_time_is_told_to_the_minute() {
        let shown = |text: &str| super::shown(text.parse().unwrap());
        assert_eq!(shown("2026-11-21T08:36:00Z"), "2026-11-21 08:36 UTC");
        assert_eq!(shown("2026-11-21T08:36:07Z"), "2026-11-21 08:36:07 UTC");
    }

    #[test]
    fn a_name_cannot_write_elsewhere_on_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
