//! Messages: one for all changes of a window, and one summary if there are too many.

use std::collections::BTreeMap;

pub use contract::message::{Alert, ChannelNews, Link, Message, Status};
use contract::score::WindowScore;
use contract::{Decimal, Shard, Timestamp};

use crate::state_machine::{Change, Kind, Reason};
use crate::training::{self, Training};

/// Maximum number of messages that one run sends; more are merged into one summary.
pub const MAX_MESSAGES: usize = 10;
/// Features that an alert names.
const CAUSES: usize = 3;

/// Returns the words that name a shard instead of an entity, for alerts about all of its entities.
pub(crate) fn shard_words(shard: Shard) -> String {
    format!("shard {shard}")
}

/// Makes the alert that a change reports.
pub(crate) fn alert_of(change: Change<'_>) -> Alert {
    let firing = change.ended.is_none();
    let score = change.score.filter(|_| firing);
    let anomaly = score.filter(|_| change.kind == Kind::Anomaly);
    let mismatch = score.filter(|_| change.kind == Kind::Mismatch);
    let ended = change.score.filter(|_| !firing && change.kind == Kind::Anomaly);
    Alert {
        entity: change.entity,
        kind: change.kind,
        status: if firing { Status::Firing } else { Status::Resolved },
        reason: change.reason,
        urgent: change.urgent,
        since: change.since,
        ended: change.ended,
        gone: change.gone,
        changes: 1,
        completeness: change.score.map(|score| score.completeness),
        votes: change.score.map_or(Decimal::ZERO, |score| score.votes),
        combined: change.score.and_then(|score| score.combined),
        members: anomaly.map(|score| score.members.clone()).unwrap_or_default(),
        causes: anomaly
            .or(mismatch)
            .map(|score| score.causes.iter().take(CAUSES).cloned().collect())
            .unwrap_or_default(),
        diagnosis: anomaly.and_then(|score| score.diagnosis.clone()),
        drifting: if firing { change.drifting } else { Vec::new() },
        new_level: ended.and_then(|score| score.new_level.clone()),
        also: if firing { change.also } else { Vec::new() },
        missing: if firing { change.missing } else { Vec::new() },
        why: score.filter(|_| change.kind == Kind::NoData).and_then(|score| score.reason.clone()),
        class: mismatch.and_then(|score| score.class.clone()),
        links: Vec::new(),
    }
}

/// Makes a message without content at a point in time; `key` is the part after the pipeline.
fn empty(pipeline: &str, key: &str, time: Timestamp) -> Message {
    Message {
        format: Message::FORMAT,
        key: format!("{pipeline}/{key}"),
        pipeline: pipeline.to_owned(),
        from: time,
        time,
        version: String::new(),
        urgent: false,
        alerts: Vec::new(),
        training: None,
        channel: None,
        links: Vec::new(),
        title: String::new(),
        text: String::new(),
    }
}

/// Makes the message about a training.
pub(crate) fn of_training(pipeline: &str, training: Training, now: Timestamp) -> Message {
    let key = format!("training/{}/{}", now.compact(), training::word(&training));
    let version = training.version.clone().unwrap_or_default();
    Message { version, training: Some(training), ..empty(pipeline, &key, now) }
}

/// Adds the shard to the message's key: another shard may have a message of the same time.
pub(crate) fn belong_to(message: &mut Message, shard: Shard) {
    let place = message.pipeline.len();
    message.key.insert_str(place, &format!("/{}", shard.folder()));
}

/// Returns the beginning of the key: the pipeline, and the shard if the message belongs to one.
fn origin(message: &Message) -> &str {
    let rest = message.key.get(message.pipeline.len() + 1..).unwrap_or_default();
    let level = rest.split('/').next().filter(|level| Shard::of_folder(level).is_some());
    let length = level.map_or(0, |level| level.len() + 1);
    message.key.get(..message.pipeline.len() + length).unwrap_or(&message.pipeline)
}

/// Makes the message about scoring that has stopped, or resumes.
pub(crate) fn of_scoring(pipeline: &str, alert: Alert, now: Timestamp) -> Message {
    let word = match alert.reason {
        Reason::Ends => "goes-on",
        Reason::Lasts => "still-stopped",
        Reason::Begins | Reason::Worsens | Reason::Widens | Reason::Proposes => "stopped",
    };
    let key = format!("scoring/{word}/{}", now.compact());
    Message { alerts: vec![alert], ..empty(pipeline, &key, now) }
}

/// Makes the message about a channel.
pub(crate) fn of_channel(pipeline: &str, news: ChannelNews, now: Timestamp) -> Message {
    let word = match (&news.refused, &news.why) {
        (Some(_), _) => "refuses",
        (None, Some(_)) => "fails",
        (None, None) => "works",
    };
    let key = format!("channel/{}/{word}/{}", news.name, now.compact());
    Message { channel: Some(news), ..empty(pipeline, &key, now) }
}

/// Makes the message of one window, without words.
fn of(score: &WindowScore, changes: Vec<Change<'_>>) -> Message {
    let message = Message {
        version: score.version.clone(),
        alerts: changes.into_iter().map(alert_of).collect(),
        ..empty(&score.pipeline, &score.time.compact(), score.time)
    };
    sorted(message)
}

/// Merges two messages, of which `later` is the later one: the result has the last change of each
/// alert and its number of changes. The text is added later.
#[must_use]
pub fn merge(earlier: Message, later: Message) -> Message {
    let name = |alert: &Alert| (alert.entity.clone(), alert.kind);
    let mut alerts: BTreeMap<_, Alert> =
        earlier.alerts.into_iter().map(|alert| (name(&alert), alert)).collect();
    let (from, time) = (earlier.from.compact(), later.time.compact());
    let key = format!("{}/{from}-{time}", origin(&later));
    for mut alert in later.alerts {
        let name = name(&alert);
        if let Some(before) = alerts.remove(&name) {
            alert.changes = alert.changes.saturating_add(before.changes);
            for feature in &before.also {
                if !alert.also.contains(feature) && alert.status == Status::Firing {
                    alert.also.push(feature.clone());
                }
            }
            // A message about the end of an alert also describes the alert.
            if alert.causes.is_empty() {
                alert.causes = before.causes;
            }
            // An urgent alert that has ended does not make later alerts urgent.
            let is_the_same = before.status == Status::Firing || alert.status == Status::Resolved;
            alert.urgent |= is_the_same && before.urgent;
        }
        alerts.insert(name, alert);
    }
    let message =
        Message { key, from: earlier.from, alerts: alerts.into_values().collect(), ..later };
    sorted(message)
}

fn sorted(mut message: Message) -> Message {
    message.alerts.sort_by_key(|alert| (alert.status, alert.kind));
    let urgent = |alert: &Alert| alert.urgent && alert.status == Status::Firing;
    message.urgent = message.alerts.iter().any(urgent);
    message
}

/// The messages of one run: one for each window with changes, or a summary of all of them once
/// there are more than [`MAX_MESSAGES`].
#[derive(Debug, Clone, Default)]
pub struct Batch {
    messages: Vec<Message>,
    summary: Option<Message>,
    changes: usize,
}

impl Batch {
    /// Adds what changed in a window, which must be later than those before.
    pub fn add(&mut self, score: &WindowScore, changes: Vec<Change<'_>>) {
        if changes.is_empty() {
            return;
        }
        self.changes += changes.len();
        let message = of(score, changes);
        if let Some(summary) = self.summary.take() {
            self.summary = Some(merge(summary, message));
            return;
        }
        self.messages.push(message);
        if self.messages.len() > MAX_MESSAGES {
            self.summary = self.messages.drain(..).reduce(merge);
        }
    }

    /// Returns how many changes the messages report.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Returns the messages without words, oldest first.
    pub fn into_messages(self) -> Vec<Message> {
        self.messages.into_iter().chain(self.summary).collect()
    }
}
