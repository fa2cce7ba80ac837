//! What people are told: every change of a window in one message, and one message for many.

use std::collections::BTreeMap;

use contract::score::{Cause, Combined, WindowScore};
use contract::{Decimal, Timestamp};
use serde::{Deserialize, Serialize};

use crate::machine::{Change, Kind};
use crate::text;

/// Messages that one run sends at most; more become one summary.
pub const MAX_MESSAGES: usize = 10;

/// Says which way an alert changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It began.
    Firing,
    /// It ended.
    Resolved,
}

/// One change of one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The entity; empty for the whole of what the pipeline watches.
    pub entity: String,
    /// What was or is wrong with it.
    pub kind: Kind,
    /// Which way it changed.
    pub status: Status,
    /// End of the first window in which it was.
    pub since: Timestamp,
    /// End of the first window in which it no longer was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Says that it ended because the entity is no longer reported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Changes of this alert that the message stands for; more than one in a summary.
    pub changes: u32,
    /// Share of the entity's features that were there, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completeness: Option<f64>,
    /// Sum of the weights of the models that voted for an alarm.
    pub votes: Decimal,
    /// Combined score and its limit, where the pipeline has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined: Option<Combined>,
    /// The features that contributed most; for anomalies that begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
}

impl Alert {
    fn of(change: Change<'_>) -> Self {
        let firing = change.ended.is_none();
        let causes = change.score.filter(|_| firing).map(|score| score.causes.clone());
        Self {
            entity: change.entity,
            kind: change.kind,
            status: if firing { Status::Firing } else { Status::Resolved },
            since: change.since,
            ended: change.ended,
            gone: change.score.is_none(),
            changes: 1,
            completeness: change.score.map(|score| score.completeness),
            votes: change.score.map_or(Decimal::ZERO, |score| score.votes),
            combined: change.score.and_then(|score| score.combined),
            causes: causes.unwrap_or_default(),
        }
    }
}

/// What is sent: everything that changed in a window, or in several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Version of this format.
    pub format: u32,
    /// The same for each repeat of the same message, and for no other one.
    pub key: String,
    /// The pipeline.
    pub pipeline: String,
    /// End of the first window it tells of.
    pub from: Timestamp,
    /// End of the last window it tells of.
    pub time: Timestamp,
    /// Version of the models that scored the last of them.
    pub version: String,
    /// What changed; one item for each entity and kind, those that fire first, anomalies first.
    pub alerts: Vec<Alert>,
    /// One line for a list or a notification.
    pub title: String,
    /// Plain text for a terminal or a phone; begins with the title.
    pub text: String,
}

impl Message {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Makes the message of one window.
    fn of(score: &WindowScore, changes: Vec<Change<'_>>) -> Self {
        let message = Self {
            format: Self::FORMAT,
            key: format!("{}/{}", score.pipeline, score.time.compact()),
            pipeline: score.pipeline.clone(),
            from: score.time,
            time: score.time,
            version: score.version.clone(),
            alerts: changes.into_iter().map(Alert::of).collect(),
            title: String::new(),
            text: String::new(),
        };
        message.worded()
    }

    /// Makes one message of two, `later` being the later one: of each alert it tells the last
    /// change, and how many there were.
    #[must_use]
    pub fn merge(self, later: Self) -> Self {
        let name = |alert: &Alert| (alert.entity.clone(), alert.kind);
        let mut alerts: BTreeMap<_, Alert> =
            self.alerts.into_iter().map(|alert| (name(&alert), alert)).collect();
        for mut alert in later.alerts {
            let name = name(&alert);
            if let Some(earlier) = alerts.remove(&name) {
                alert.changes = alert.changes.saturating_add(earlier.changes);
                // What ended is better told with what it was.
                if alert.causes.is_empty() {
                    alert.causes = earlier.causes;
                }
            }
            alerts.insert(name, alert);
        }
        let (from, time) = (self.from.compact(), later.time.compact());
        let message = Self {
            key: format!("{}/{from}-{time}", later.pipeline),
            from: self.from,
            alerts: alerts.into_values().collect(),
            ..later
        };
        message.worded()
    }

    fn worded(mut self) -> Self {
        self.alerts.sort_by_key(|alert| (alert.status, alert.kind));
        self.title = text::title(&self);
        self.text = text::body(&self);
        self
    }
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
        let message = Message::of(score, changes);
        if let Some(summary) = self.summary.take() {
            self.summary = Some(summary.merge(message));
            return;
        }
        self.messages.push(message);
        if self.messages.len() > MAX_MESSAGES {
            self.summary = self.messages.drain(..).reduce(Message::merge);
        }
    }

    /// Returns how many changes the messages tell of.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Returns the messages, oldest first.
    pub fn into_messages(self) -> Vec<Message> {
        self.messages.into_iter().chain(self.summary).collect()
    }
}
