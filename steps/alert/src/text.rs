//! The words of a message: short lines that read well in a terminal and on a phone.

use contract::classify::EntityClass;
use contract::score::{Cause, Diagnosed, NewLevel, entity_words};
use contract::units::{self, number, percent, quantity};
use contract::{Span, Timestamp};
use jiff::tz::TimeZone;

use crate::clean::clean;
use crate::message::{Alert, Link, Message, Status};
use crate::state_machine::{Kind, Reason};

mod peers;
mod training;

/// Maximum number of entities that a message names; the others are counted.
const NAMED: usize = 5;
/// Maximum number of drifting features that a message names.
const DRIFTING: usize = 5;

/// Alerts of the same kind that changed the same way.
struct Group<'a> {
    alerts: Vec<&'a Alert>,
}

/// Returns one line about the change and the entities it concerns.
pub(crate) fn title(message: &Message) -> String {
    let pipeline = clean(&message.pipeline);
    if let Some(training) = &message.training {
        return format!("{pipeline}: {}", training::title(training));
    }
    if let Some(channel) = &message.channel {
        let verb = match (&channel.refused, &channel.why) {
            (Some(_), _) => "refused a message",
            (None, Some(_)) => "cannot be reached",
            (None, None) => "can be reached again",
        };
        return format!("{pipeline}: channel {} {verb}", clean(&channel.name));
    }
    let groups = groups(&message.alerts);
    let urgent = if message.urgent { "URGENT " } else { "" };
    if let [Group { alerts }] = groups.as_slice()
        && let [alert] = alerts.as_slice()
        && alert.entity.is_empty()
    {
        return format!("{urgent}{pipeline} {}", verb(alert, true));
    }
    let words: Vec<_> = groups.iter().map(Group::title).collect();
    format!("{urgent}{pipeline}: {}", words.join(", "))
}

/// Returns one line about one alert.
pub(crate) fn of_alert(pipeline: &str, alert: &Alert) -> String {
    let pipeline = clean(pipeline);
    match alert.entity.as_str() {
        "" => format!("{pipeline} {}", verb(alert, true)),
        _ => format!("{pipeline}: {} {}", place(alert), verb(alert, true)),
    }
}

/// Returns the title and the details of each change, with times in a zone and in UTC.
pub(crate) fn body(message: &Message, zone: &TimeZone) -> String {
    let mut lines = vec![title(message)];
    if let Some(training) = &message.training {
        lines.extend(training::lines(training));
    } else if let Some(channel) = &message.channel {
        let when = if channel.refused.is_some() { "at" } else { "since" };
        lines.push(format!("{when} {}", shown(channel.since, zone)));
        lines.extend(channel.why.as_ref().map(|why| clean(why)));
        lines.extend(channel.refused.as_ref().map(|title| format!("not sent: {}", clean(title))));
    } else {
        lines.extend(alert_lines(message, zone));
    }
    lines.extend(message.links.iter().map(|Link { name, url }| format!("{}: {url}", clean(name))));
    lines.join("\n")
}

fn alert_lines(message: &Message, zone: &TimeZone) -> Vec<String> {
    let mut lines = Vec::new();
    let groups = groups(&message.alerts);
    for group in &groups {
        let lonely = groups.len() == 1 && group.alerts.len() == 1;
        for alert in group.alerts.iter().take(NAMED) {
            if lonely {
                lines.push(clock(alert, false, zone));
                lines.extend(unseen(alert));
                lines.extend(score(alert));
                lines.extend(alert.diagnosis.as_ref().map(diagnosis));
                lines.extend(alert.class.as_ref().map(class));
                lines.extend(alert.causes.iter().map(|cause| format!("- {}", words(cause))));
                lines.extend(drifting(alert));
                lines.extend(alert.new_level.as_ref().map(|new| new_level(new, zone)));
                lines.extend(alert.why.as_ref().map(|why| clean(why)));
            } else {
                lines.push(format!("- {}: {}", place(alert), clock(alert, true, zone)));
                lines
                    .extend(alert.causes.iter().take(1).map(|cause| format!("  {}", words(cause))));
                lines.extend(alert.why.as_ref().map(|why| format!("  {}", clean(why))));
            }
        }
        if group.alerts.len() > NAMED {
            lines.push(format!("- and {} more", group.alerts.len() - NAMED));
        }
    }
    if message.from != message.time {
        let from = shown(message.from, zone);
        let to = shown_after(message.from, message.time, zone);
        lines.push(format!("summary of {from} to {to}"));
    }
    if !message.version.is_empty() {
        lines.push(format!("model {}", clean(&message.version)));
    }
    lines
}

fn groups(alerts: &[Alert]) -> Vec<Group<'_>> {
    let same = |one: &Alert, other: &Alert| {
        (one.status, one.kind, one.reason, one.gone)
            == (other.status, other.kind, other.reason, other.gone)
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
    clean(entity_words(&alert.entity))
}

fn verb(alert: &Alert, one: bool) -> String {
    let (is, s) = if one { ("is", "s") } else { ("are", "") };
    let state = match alert.kind {
        _ if alert.gone => format!("{is} no longer reported"),
        Kind::Anomaly if alert.status == Status::Resolved => format!("{is} normal again"),
        Kind::NoData if alert.status == Status::Resolved => format!("send{s} data again"),
        Kind::Drift if alert.status == Status::Resolved => format!("no longer drift{s}"),
        Kind::FeatureMissing if alert.status == Status::Resolved => {
            format!("{} values of all features again", if one { "has" } else { "have" })
        }
        Kind::Mismatch if alert.status == Status::Resolved => {
            format!("no longer differ{s} from what {} declared", if one { "it" } else { "they" })
        }
        Kind::Anomaly if alert.reason == Reason::Lasts => format!("{is} still anomalous"),
        Kind::Anomaly if one && peers::are_reason(&alert.causes) => {
            format!("{is} unlike its peers")
        }
        Kind::Anomaly => format!("{is} anomalous"),
        Kind::NoData if alert.reason == Reason::Lasts => format!("still send{s} no data"),
        Kind::NoData => format!("send{s} no data"),
        Kind::Drift if alert.reason == Reason::Lasts => format!("still drift{s}"),
        Kind::Drift => format!("drift{s} from what the model was trained on"),
        Kind::ScoringStopped if alert.status == Status::Resolved => format!("{is} scored again"),
        Kind::ScoringStopped if alert.reason == Reason::Lasts => format!("{is} still not scored"),
        Kind::ScoringStopped => format!("{is} no longer scored"),
        Kind::Mismatch => mismatch(alert, one),
        Kind::FeatureMissing => lacks(alert, one),
    };
    let also = match alert.also.as_slice() {
        [] => String::new(),
        features if one => {
            let names: Vec<_> = features.iter().map(|name| clean(name)).collect();
            format!(", now also: {}", names.join(", "))
        }
        _ => ", now also for other reasons".to_owned(),
    };
    match alert.reason {
        Reason::Worsens => format!("{state}, now urgent{also}"),
        Reason::Begins | Reason::Widens | Reason::Proposes | Reason::Lasts | Reason::Ends => {
            format!("{state}{also}")
        }
    }
}

/// Returns which features have no value.
fn lacks(alert: &Alert, one: bool) -> String {
    let still = match alert.reason {
        Reason::Lasts | Reason::Proposes => "still ",
        Reason::Begins | Reason::Worsens | Reason::Widens | Reason::Ends => "",
    };
    match listed(&alert.missing) {
        Some(names) if one => format!("{still}has no value of {names}"),
        _ if one => format!("{still}has features without a value"),
        _ => format!("{still}have features without a value"),
    }
}

/// Returns the first names, and how many more there are; `None` if there are no names.
fn listed(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| first_names(names))
}

/// Returns the class that an entity declares and the class it behaves like.
fn mismatch(alert: &Alert, one: bool) -> String {
    let Some(class) = alert.class.as_ref().filter(|_| one) else {
        return "differ from their declared class".to_owned();
    };
    let declared = clean(class.declared.as_deref().unwrap_or_default());
    match &class.class {
        Some(name) => format!("declares {declared} and behaves like {}", clean(name)),
        None => format!("declares {declared} and behaves like no known class"),
    }
}

/// Returns the confidence of the class, and how long the entity was observed.
fn class(class: &EntityClass) -> String {
    let probability = percent(class.probability);
    let nearest = match &class.class {
        Some(_) => format!("probability {probability}"),
        None => format!("nearest {} ({probability})", clean(&class.nearest)),
    };
    format!("{nearest}, after {} windows", class.windows)
}

/// Returns the start, or start and end; in a summary also the number of changes.
fn clock(alert: &Alert, short: bool, zone: &TimeZone) -> String {
    let since = shown(alert.since, zone);
    let mut parts = vec![match (alert.ended, alert.kind) {
        (None, _) => format!("since {since}"),
        (Some(ended), kind) => {
            let what = match kind {
                _ if short => "",
                Kind::Anomaly => "anomalous ",
                Kind::NoData => "without data ",
                Kind::Drift => "drifting ",
                Kind::ScoringStopped => "not scored ",
                Kind::Mismatch => "different ",
                Kind::FeatureMissing => "without them ",
            };
            let to = shown_after(alert.since, ended, zone);
            format!("{what}from {since} to {to} ({})", ended - alert.since)
        }
    }];
    if alert.changes > 1 {
        parts.push(format!("{} changes", alert.changes));
    }
    let missing = alert.kind == Kind::NoData && alert.ended.is_none();
    if let Some(there) = alert.completeness.filter(|_| missing) {
        parts.push(format!("{} of its features have values", percent(there)));
    }
    parts.join(", ")
}

/// Returns the diagnosed kind of fault of an alarm, and its confidence.
fn diagnosis(found: &Diagnosed) -> String {
    let probability = percent(found.probability);
    if found.kind == found.nearest {
        format!("looks like {} ({probability})", clean(&found.kind))
    } else {
        format!(
            "unlike every known kind of fault, nearest {} ({probability})",
            clean(&found.nearest)
        )
    }
}

/// Returns how far the score is above its threshold; `None` if no model scored it.
fn score(alert: &Alert) -> Option<String> {
    let line = |name: &str, score: f64, threshold: f64| {
        let times = score / threshold;
        let times = if times.is_finite() && times >= 1.0 {
            format!(" ({} times)", number(times))
        } else {
            String::new()
        };
        format!("{name} {}, alarm above {}{times}", number(score), number(threshold))
    };
    if alert.status == Status::Resolved {
        return None;
    }
    if let Some(combined) = alert.combined {
        return Some(line("score", combined.score, combined.threshold));
    }
    let voters: Vec<_> = alert.members.iter().filter(|member| member.vote).collect();
    match voters.as_slice() {
        [] => None,
        [member] => Some(line(&clean(&member.kind), member.decision, member.threshold)),
        voters => {
            let kinds: Vec<_> = voters.iter().map(|member| clean(&member.kind)).collect();
            Some(format!("{} of {} models: {}", kinds.len(), alert.members.len(), kinds.join(", ")))
        }
    }
}

/// Returns the features by which an entity is not scored, if the alert is not about them.
fn unseen(alert: &Alert) -> Option<String> {
    match alert.kind {
        Kind::FeatureMissing if alert.status == Status::Firing => {
            Some("it is scored by its other features".to_owned())
        }
        Kind::Anomaly => {
            listed(&alert.missing).map(|names| format!("scored without {names}: no value"))
        }
        Kind::FeatureMissing
        | Kind::NoData
        | Kind::Drift
        | Kind::ScoringStopped
        | Kind::Mismatch => None,
    }
}

fn drifting(alert: &Alert) -> Option<String> {
    (!alert.drifting.is_empty()).then(|| format!("- {}", first_names(&alert.drifting)))
}

/// Returns which features are on a new usual level, and since when.
fn new_level(new: &NewLevel, zone: &TimeZone) -> String {
    format!("new level since {}: {}", shown(new.since, zone), first_names(&new.features))
}

fn first_names(features: &[String]) -> String {
    let names: Vec<_> = features.iter().take(DRIFTING).map(|name| clean(name)).collect();
    let more = features.len().saturating_sub(DRIFTING);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Returns a feature with its value, its usual range, and its distance from that range in multiples
/// of the range.
pub(crate) fn words(cause: &Cause) -> String {
    let (value, usual) = value_and_usual(cause);
    let width = cause.usual_high - cause.usual_low;
    let beyond = cause.value.map_or(0.0, |value| {
        let above = (value - cause.usual_high) / width;
        above.max((cause.usual_low - value) / width)
    });
    let how_far = match cause.value {
        Some(value) if beyond.is_finite() && beyond >= 1.0 => {
            let side = if value > cause.usual_high { "above" } else { "below" };
            format!(" ({side} by {} times that range)", number(beyond))
        }
        _ => String::new(),
    };
    let (name, from) = peers::named(&cause.feature);
    format!("{} {value}{from}, usually {usual}{how_far}", clean(name))
}

/// Returns a cause's value and its usual range, with the unit.
pub(crate) fn value_and_usual(cause: &Cause) -> (String, String) {
    let written = |value| quantity(&clean(&cause.unit), value);
    let value = cause.value.map_or("missing".to_owned(), written);
    let (low, high) = (written(cause.usual_low), written(cause.usual_high));
    (value, if low == high { low } else { format!("{low} to {high}") })
}

/// Returns a duration to the second.
pub(crate) fn length(span: Span) -> String {
    units::span(Span::from_ms(span.ms() - span.ms() % 1000))
}

/// Returns a time in the zone, followed by UTC; without seconds if it is a whole minute.
pub(crate) fn shown(time: Timestamp, zone: &TimeZone) -> String {
    let (date, clock, name) = parts(time, zone);
    if name == "UTC" {
        return format!("{date} {clock} UTC");
    }
    let (utc_date, utc_clock, _) = parts(time, &TimeZone::UTC);
    let utc = if utc_date == date { utc_clock } else { format!("{utc_date} {utc_clock}") };
    format!("{date} {clock} {name} ({utc} UTC)")
}

/// Returns a time like [`shown`], without the date if it equals that of an earlier time.
fn shown_after(earlier: Timestamp, time: Timestamp, zone: &TimeZone) -> String {
    let (date, ..) = parts(earlier, zone);
    let text = shown(time, zone);
    let without = text.strip_prefix(&format!("{date} ")).map(str::to_owned);
    without.unwrap_or(text)
}

/// Returns the date, the time of day and the zone's short name.
fn parts(time: Timestamp, zone: &TimeZone) -> (String, String, String) {
    let zoned = jiff::Timestamp::from_millisecond(time.ms())
        .unwrap_or(jiff::Timestamp::MAX)
        .to_zoned(zone.clone());
    let clock = if time.ms() % 60_000 == 0 { "%H:%M" } else { "%H:%M:%S" };
    let text = |format| zoned.strftime(format).to_string();
    (text("%Y-%m-%d"), text(clock), text("%Z"))
}

#[cfg(test)]
mod tests;
