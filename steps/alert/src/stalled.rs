//! Detection of stopped scoring: an alert is sent when no window was scored for
//! `scoring.stalled_after` though one is due, with the cause, and again when it resumes.
//!
//! The check compares watermarks, so a tick that caught up only some of the windows counts as
//! progress, and the next tick detects a tick that was never started.

use std::path::PathBuf;

use contract::alerts::Progress;
use contract::steps::AlertArgs;
use contract::{Decimal, Outcome, Shard, Span, StepError, Timestamp, read_json};
use document::sections::Alert as Sections;

use crate::AlertState;
use crate::channels::Channel;
use crate::failure::{self, FailedTick};
use crate::message::{self, Alert, Message, Status};
use crate::silence::is_silent;
use crate::state_machine::{Kind, Reason};

/// The cause if no step reported one.
const UNKNOWN: &str = "no tick has reported a cause: check whether ticks are started";

/// Returns the cause that stopped the tick of a run, from its steps or the runner; `None` if all of
/// them succeeded.
pub(crate) fn cause(args: &AlertArgs) -> Option<String> {
    let failed = args.failed.as_ref().filter(|text| failure::concerns(text, args.shard));
    let failed = failed.map(|text| {
        let FailedTick { step, why, .. } = FailedTick::of(args.now, text);
        format!("{step}: {why}")
    });
    let stage = |path: &PathBuf| {
        let name = path.parent().and_then(|folder| folder.file_name());
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    for path in &args.tick {
        let Ok(outcome) = read_json::<Outcome>(path) else {
            let silent = format!(
                "{}: ended without an outcome: it was killed, or ran out of memory",
                stage(path)
            );
            return Some(failed.unwrap_or(silent));
        };
        if let Some(error) = outcome.error {
            let hint = error.hint.map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
            return Some(format!("{}: {}{hint}", outcome.step, error.message));
        }
    }
    failed
}

/// What a run of `alert` sees of scoring.
pub(crate) struct Seen {
    /// Evaluation time of the run.
    pub(crate) now: Timestamp,
    /// Last scored window; `None` before the first.
    pub(crate) scored_to: Option<Timestamp>,
    /// Why the tick scored nothing, if it failed.
    pub(crate) cause: Option<String>,
}

/// Checks the progress of scoring; returns a message if an alert must be sent.
pub(crate) fn look(
    document: &Sections,
    shard: Option<Shard>,
    state: &mut AlertState,
    seen: Seen,
) -> Option<Message> {
    let Seen { now, scored_to, cause } = seen;
    let Some(mut progress) = state.progress.take() else {
        state.progress = Some(Progress { scored_to, seen: now, told: None, why: cause });
        return None;
    };
    if scored_to < progress.scored_to {
        // A run with an earlier evaluation time than the last one changes nothing.
        state.progress = Some(progress);
        return None;
    }
    let change = if progress.scored_to == scored_to {
        stands(document, &mut progress, now, cause)
    } else {
        let change = moved(document, &progress, now);
        progress = Progress { scored_to, seen: now, told: None, why: None };
        change
    };
    state.progress = Some(progress);
    let mut alert = change.filter(|_| document.alerts.kinds.contains(&Kind::ScoringStopped))?;
    // Other shards may still be scored.
    alert.entity = shard.map(message::shard_words).unwrap_or_default();
    state.note_alert(alert.clone());
    if is_silent(&document.alerts.silences, "", Kind::ScoringStopped, now) {
        return None;
    }
    Some(message::of_scoring(&document.name, alert, now))
}

/// Notifies the channels in which alerts expire, such as Alertmanager, that the store cannot be
/// reached: they recognise a repeated alert, so no state is needed. Other channels would get the
/// alert again in each tick. Returns the error of the run.
pub(crate) fn without_store(
    document: &Sections,
    channels: Vec<Box<dyn Channel>>,
    now: Timestamp,
    error: StepError,
) -> StepError {
    if !document.alerts.kinds.contains(&Kind::ScoringStopped) {
        return error;
    }
    let progress = Progress { scored_to: None, seen: now, told: None, why: None };
    let why = Some(error.message.clone());
    let stopped = [alert(&progress, Status::Firing, Reason::Begins, None, why)];
    for mut channel in channels {
        if let Some(Err(failure)) = channel.refresh(&document.name, &stopped, now) {
            tracing::warn!("{}", failure.error.message);
        }
    }
    error
}

/// Returns the changes to report if no window was scored since the last check.
fn stands(
    document: &Sections,
    progress: &mut Progress,
    now: Timestamp,
    cause: Option<String>,
) -> Option<Alert> {
    let is_first = progress.scored_to.is_none();
    if cause.is_some() {
        progress.why = cause;
    } else if is_first {
        // The tick succeeded and scored nothing: there is no model yet, so scoring has not stopped.
        progress.seen = progress.seen.max(now);
        return None;
    }
    let next = progress.scored_to.map(|scored_to| scored_to + document.step);
    let is_due = next.is_none_or(|next| next <= now - document.scoring.delay);
    let is_long = now >= progress.seen + document.scoring.stalled_after;
    if !is_due || !is_long {
        return None;
    }
    let reason = match (progress.told, document.alerts.repeat) {
        (None, _) => Reason::Begins,
        (Some(told), Some(repeat)) if now >= told + repeat => Reason::Lasts,
        (Some(_), _) => return None,
    };
    progress.told = Some(now);
    let why = progress.why.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    Some(alert(progress, Status::Firing, reason, None, Some(why)))
}

/// Returns the changes to report if windows were scored since the last run: scoring has resumed,
/// even if no run reported that it had stopped.
fn moved(document: &Sections, progress: &Progress, now: Timestamp) -> Option<Alert> {
    let every = Span::from_ms(document.scoring.every.ms().saturating_mul(2));
    let is_gap = now >= progress.seen + document.scoring.stalled_after.max(every);
    // Before the first scored window, scoring cannot stop.
    if progress.told.is_none() && (!is_gap || progress.scored_to.is_none()) {
        return None;
    }
    let why = match (&progress.told, &progress.why) {
        (Some(_), _) => None,
        (None, Some(why)) => Some(why.clone()),
        (None, None) => Some("no tick ran in that time".to_owned()),
    };
    Some(alert(progress, Status::Resolved, Reason::Ends, Some(now), why))
}

fn alert(
    progress: &Progress,
    status: Status,
    reason: Reason,
    ended: Option<Timestamp>,
    why: Option<String>,
) -> Alert {
    Alert {
        entity: String::new(),
        kind: Kind::ScoringStopped,
        status,
        reason,
        urgent: false,
        since: progress.scored_to.unwrap_or(progress.seen),
        ended,
        gone: false,
        changes: 1,
        completeness: None,
        votes: Decimal::ZERO,
        combined: None,
        members: Vec::new(),
        causes: Vec::new(),
        diagnosis: None,
        drifting: Vec::new(),
        new_level: None,
        missing: Vec::new(),
        also: Vec::new(),
        why,
        class: None,
        links: Vec::new(),
    }
}
