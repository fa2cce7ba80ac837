//! Checks the section `alerts`.

use contract::Span;

use super::{Problem, Problems, problem, require};
use crate::alerts::{AlertKind, Alerts};
use crate::{Document, template};

/// Placeholders that a link may contain.
const PLACEHOLDERS: [&str; 4] = ["pipeline", "entity", "from", "to"];

pub(super) fn check(alerts: &Alerts, problems: &mut Problems) {
    for (path, windows) in
        [("alerts.for", alerts.for_windows), ("alerts.resolve_after", alerts.resolve_after)]
    {
        problems.add(require(windows >= 1, path, || "must be at least 1".to_owned()));
    }
    let repeat = alerts.repeat.unwrap_or(Span::from_seconds(1));
    problems.add(greater_than_zero(repeat, "alerts.repeat"));
    let propose = alerts.propose_training_after;
    problems.add(greater_than_zero(propose, "alerts.propose_training_after"));
    if contract::time::time_zone(&alerts.time_zone).is_err() {
        let unknown = format!("`{}` is not a time zone", alerts.time_zone);
        problems.add(Err(problem("alerts.time_zone", unknown)
            .hint("use a name of the IANA time zone database, such as Europe/Brussels or UTC")));
    }
    for (name, link) in &alerts.links {
        let path = format!("alerts.links.{name}");
        problems.add(check_link(link).map_err(|what| problem(&path, what)));
    }
    let templates =
        [("title", alerts.templates.title.as_ref()), ("text", alerts.templates.text.as_ref())];
    for (field, template) in templates {
        let checked = template.map_or(Ok(()), |template| template::check(template));
        let path = format!("alerts.templates.{field}");
        problems.add(checked.map_err(|error| problem(&path, error.to_string())));
    }
    for (index, silence) in alerts.silences.iter().enumerate() {
        if let (Some(from), Some(until)) = (silence.from, silence.until) {
            let path = format!("alerts.silences.{index}.until");
            let message = || format!("`{until}` is not after `{from}`");
            problems.add(require(from < until, &path, message));
        }
    }
}

/// Checks the time after which an alert about stopped scoring is sent.
pub(super) fn check_stalled(document: &Document) -> Result<(), Problem> {
    greater_than_zero(document.scoring.stalled_after, "scoring.stalled_after")
}

/// Checks that a training that drift starts has the drift alert, which explains why it started.
pub(super) fn check_retrain(document: &Document) -> Result<(), Problem> {
    let Some(retrain) = &document.scoring.drift.retrain else { return Ok(()) };
    greater_than_zero(retrain.pause, "scoring.drift.retrain.pause")?;
    if document.alerts.kinds.contains(&AlertKind::Drift) {
        return Ok(());
    }
    let what = "a training starts with the drift alert, which `alerts.kinds` leaves out";
    Err(problem("scoring.drift.retrain", what.to_owned())
        .hint("write kinds: [anomaly, no_data, drift] in alerts"))
}

fn greater_than_zero(span: Span, path: &str) -> Result<(), Problem> {
    require(span > Span::ZERO, path, || "must be greater than 0s".to_owned())
}

fn check_link(link: &str) -> Result<(), String> {
    if !link.starts_with("http://") && !link.starts_with("https://") {
        return Err("is neither http:// nor https://".to_owned());
    }
    for part in link.split('{').skip(1) {
        let name = part.split_once('}').map_or(part, |(name, _)| name);
        if !PLACEHOLDERS.contains(&name) {
            return Err(format!("`{{{name}}}` is not a placeholder; {}", known()));
        }
    }
    Ok(())
}

fn known() -> String {
    let names: Vec<_> = PLACEHOLDERS.iter().map(|name| format!("{{{name}}}")).collect();
    format!("there are {}", names.join(", "))
}
