//! The state of a pipeline as text.

use contract::score::entity_words;
use contract::units;

use super::{Drift, ExportStatus, Named, Refused, Status, Trouble};
use crate::run::table;

/// Returns the lines that a person reads.
pub(super) fn text(status: &Status) -> String {
    let mut rows = vec![row("pipeline", &status.pipeline)];
    rows.extend(status.shard.map(|shard| row("shard", &shard.to_string())));
    let version = |it: &Named| format!("{} since {} ({})", it.version, it.since, it.why);
    let none = || format!("none (lynceus runs list {} shows why)", status.pipeline);
    rows.push(row("live model", &status.live.as_ref().map_or_else(none, version)));
    if let Some(shadow) = &status.shadow {
        rows.push(row("shadow", &version(shadow)));
    }
    match &status.scoring {
        None => rows.push(row("last window", "none was scored yet")),
        Some(it) => {
            let lag = units::seconds(it.lag_seconds);
            let late = if it.late { ", late" } else { "" };
            rows.push(row("last window", &format!("{} ({lag} ago{late})", it.last_window)));
            rows.push(row(
                "in it",
                &format!(
                    "{} entities, {} anomalous, {} without data",
                    it.entities, it.anomalous, it.no_data
                ),
            ));
            rows.extend(it.reason.iter().map(|reason| row("without data", reason)));
            rows.push(row("windows scored", &it.windows_total.to_string()));
        }
    }
    rows.extend(status.stopped.iter().map(|stopped| {
        let told = stopped.notified.map(|at| format!(", notified at {at}")).unwrap_or_default();
        row("scoring stopped", &format!("after {}{told}: {}", stopped.since, stopped.why))
    }));
    rows.extend(status.failed_tick.iter().map(|failed| {
        row("last tick failed", &format!("{}, {}: {}", failed.at, failed.task, failed.why))
    }));
    rows.push(row("drift", &drift_text(status.drift.as_ref())));
    rows.extend(status.retrain.iter().map(|last| {
        let word = if last.started { ", started" } else { "" };
        row("training", &format!("started by drift at {}{word}", last.asked))
    }));
    rows.extend(status.exports.iter().map(|to| row("export", &export_text(to))));
    rows.extend(telling(status));
    let mut text = table(&rows);
    if status.alerts.is_empty() {
        return text + "no open alarms\n";
    }
    let mut open = vec![["open alarm", "entity", "since"].map(str::to_owned).to_vec()];
    open.extend(status.alerts.iter().map(|alert| {
        vec![
            kind_words(alert.kind),
            entity_words(&alert.entity).to_owned(),
            alert.since.to_string(),
        ]
    }));
    text.push('\n');
    text + &table(&open)
}

fn export_text(to: &ExportStatus) -> String {
    let ExportStatus { name, exported_to, failing_since, why } = to;
    match (failing_since, why) {
        (Some(since), Some(why)) => {
            format!("{name}: up to {exported_to}, failing since {since}: {why}")
        }
        (Some(_), None) | (None, _) => format!("{name}: up to {exported_to}"),
    }
}

/// Returns pending messages, rejected messages and failing channels.
fn telling(status: &Status) -> Vec<Vec<String>> {
    let oldest = status.oldest_pending.map(|time| format!(", the oldest of {time}"));
    let pending = format!("{}{}", status.messages_pending, oldest.unwrap_or_default());
    let mut rows = vec![row("messages pending", &pending)];
    rows.extend(status.last_refused.iter().map(|refused| {
        let Refused { title, channel, time, why } = refused;
        row("message refused", &format!("{time} by {channel}: `{title}`: {why}"))
    }));
    for Trouble { channel, trouble } in &status.channels {
        let why = trouble.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let state = [
            trouble.failing_since.map(|since| format!("failing since {since}{why}")),
            trouble.refusing_since.map(|since| format!("refuses messages since {since}{why}")),
            trouble.not_before.map(|until| format!("rate-limited until {until}")),
        ];
        let Some(state) = state.into_iter().flatten().next() else { continue };
        rows.push(row("channel", &format!("{channel} {state}")));
    }
    rows
}

fn drift_text(drift: Option<&Drift>) -> String {
    let Some(drift) = drift else {
        return "not computed yet: it needs more scored windows of the last day".to_owned();
    };
    let features: Vec<&str> =
        drift.features.iter().map(|feature| feature.feature.as_str()).collect();
    match features.as_slice() {
        [] => format!("no feature since {}", drift.since),
        features => format!("{} (since {})", features.join(", "), drift.since),
    }
}

/// Returns the text of a kind of alert.
fn kind_words(kind: alert::state_machine::Kind) -> String {
    let kind = serde_json::to_value(kind).unwrap_or_default();
    kind.as_str().unwrap_or_default().replace('_', " ")
}

fn row(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), value.to_owned()]
}
