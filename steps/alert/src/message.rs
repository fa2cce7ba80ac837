//! Messages: all changes of a window in one, and one summary for many.

use std::collections::BTreeMap;

use contract::classify::EntityClass;
use contract::score::{Cause, Combined, Diagnosed, MemberScore, NewLevel, WindowScore};
use contract::{Decimal, Shard, Timestamp};
use serde::{Deserialize, Serialize};

use crate::machine::{Change, Kind, Reason};
use crate::training::Training;

/// Messages that one run sends at most; more become one summary.
pub const MAX_MESSAGES: usize = 10;
/// Features that an alert names.
const CAUSES: usize = 3;

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
    /// Why it is reported.
    #[serde(default)]
    pub reason: Reason,
    /// Whether it is, or was, worth waking someone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// End of the first window in which it was.
    pub since: Timestamp,
    /// End of the first window in which it no longer was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Whether it ended because the entity is no longer reported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Number of changes of this alert in the message; more than one in a summary.
    pub changes: u32,
    /// Share of the entity's features that were there, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completeness: Option<f64>,
    /// Sum of the weights of the models that voted for an alarm.
    pub votes: Decimal,
    /// Combined score and its threshold, where the pipeline has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined: Option<Combined>,
    /// What each model said; for anomalies that fire.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberScore>,
    /// The three features that contributed most; for anomalies that fire.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Which kind of fault it is taken for, where the pipeline has a second stage; for anomalies
    /// that fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosed>,
    /// Features that have moved; for drift that fires.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drifting: Vec<String>,
    /// Features that are on a new usual level since it began; for anomalies that have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_level: Option<NewLevel>,
    /// Features without a value for several rows, for firing alerts: the entity is scored without
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Features that lead an anomaly that was reported before, and did not then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Why scoring has stopped, why there is no data, or what is proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Which class it is, where it is not what it declares; for mismatches that fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<EntityClass>,
    /// Links for the entity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

impl Alert {
    pub(crate) fn of(change: Change<'_>) -> Self {
        let firing = change.ended.is_none();
        let score = change.score.filter(|_| firing);
        let anomaly = score.filter(|_| change.kind == Kind::Anomaly);
        let mismatch = score.filter(|_| change.kind == Kind::Mismatch);
        let ended = change.score.filter(|_| !firing && change.kind == Kind::Anomaly);
        Self {
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
            why: score
                .filter(|_| change.kind == Kind::NoData)
                .and_then(|score| score.reason.clone()),
            class: mismatch.and_then(|score| score.class.clone()),
            links: Vec::new(),
        }
    }

    /// Returns whether two are about the same thing.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.entity, self.kind) == (&other.entity, other.kind)
    }
}

/// A link in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name in the document.
    pub name: String,
    /// The URL.
    pub url: String,
}

/// A channel that cannot be reached, or can again, or permanently rejects a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelNews {
    /// Its name.
    pub name: String,
    /// Since when it could not be reached, or when it refused the message.
    pub since: Timestamp,
    /// Why not; nothing once it can again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Title of the message that it refused; nothing where it takes or gets none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What is sent: everything that changed in a window, or in several; or how a training ended; or
/// that another channel cannot be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Version of this format.
    pub format: u32,
    /// The same for each repeat of the same message, and for no other one.
    pub key: String,
    /// The pipeline.
    pub pipeline: String,
    /// End of the first window it reports.
    pub from: Timestamp,
    /// End of the last window it reports, or the evaluation time of what it reports.
    pub time: Timestamp,
    /// Version of the models that scored the last of them; empty where there is none.
    pub version: String,
    /// Whether it is worth waking someone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// What changed; one item for each entity and kind, those that fire first, missing
    /// features before anomalies.
    pub alerts: Vec<Alert>,
    /// How a training ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// What is wrong with another channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelNews>,
    /// Links for all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// One line for a list or a notification.
    pub title: String,
    /// Plain text for a terminal or a phone; begins with the title.
    pub text: String,
}

/// Names a shard in place of an entity, for alerts about all of its entities.
pub(crate) fn shard_words(shard: Shard) -> String {
    format!("shard {shard}")
}

impl Message {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Makes a message without content at a point in time; `key` is the part after the pipeline.
    fn empty(pipeline: &str, key: &str, time: Timestamp) -> Self {
        Self {
            format: Self::FORMAT,
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
    pub(crate) fn of_training(pipeline: &str, training: Training, now: Timestamp) -> Self {
        let key = format!("training/{}/{}", now.compact(), training.word());
        let version = training.version.clone().unwrap_or_default();
        Self { version, training: Some(training), ..Self::empty(pipeline, &key, now) }
    }

    /// Says in the key that the message is one of a shard: another one may have one of the same time.
    pub(crate) fn belong_to(&mut self, shard: Shard) {
        let place = self.pipeline.len();
        self.key.insert_str(place, &format!("/{}", shard.folder()));
    }

    /// Returns the beginning of the key: the pipeline, and the shard if it is of one.
    fn origin(&self) -> &str {
        let rest = self.key.get(self.pipeline.len() + 1..).unwrap_or_default();
        let level = rest.split('/').next().filter(|level| Shard::of_folder(level).is_some());
        let length = level.map_or(0, |level| level.len() + 1);
        self.key.get(..self.pipeline.len() + length).unwrap_or(&self.pipeline)
    }

    /// Makes the message about scoring that has stopped, or resumes.
    pub(crate) fn of_scoring(pipeline: &str, alert: Alert, now: Timestamp) -> Self {
        let word = match alert.reason {
            Reason::Ends => "goes-on",
            Reason::Lasts => "still-stopped",
            Reason::Begins | Reason::Worsens | Reason::Widens | Reason::Proposes => "stopped",
        };
        let key = format!("scoring/{word}/{}", now.compact());
        Self { alerts: vec![alert], ..Self::empty(pipeline, &key, now) }
    }

    /// Makes the message about a channel.
    pub(crate) fn of_channel(pipeline: &str, news: ChannelNews, now: Timestamp) -> Self {
        let word = match (&news.refused, &news.why) {
            (Some(_), _) => "refuses",
            (None, Some(_)) => "fails",
            (None, None) => "works",
        };
        let key = format!("channel/{}/{word}/{}", news.name, now.compact());
        Self { channel: Some(news), ..Self::empty(pipeline, &key, now) }
    }

    /// Makes the message of one window, without words.
    fn of(score: &WindowScore, changes: Vec<Change<'_>>) -> Self {
        let message = Self {
            version: score.version.clone(),
            alerts: changes.into_iter().map(Alert::of).collect(),
            ..Self::empty(&score.pipeline, &score.time.compact(), score.time)
        };
        message.sorted()
    }

    /// Makes one message of two, `later` being the later one: for each alert it has the last change
    /// and the number of changes. The text is added later.
    #[must_use]
    pub fn merge(self, later: Self) -> Self {
        let name = |alert: &Alert| (alert.entity.clone(), alert.kind);
        let mut alerts: BTreeMap<_, Alert> =
            self.alerts.into_iter().map(|alert| (name(&alert), alert)).collect();
        let (from, time) = (self.from.compact(), later.time.compact());
        let key = format!("{}/{from}-{time}", later.origin());
        for mut alert in later.alerts {
            let name = name(&alert);
            if let Some(earlier) = alerts.remove(&name) {
                alert.changes = alert.changes.saturating_add(earlier.changes);
                for feature in &earlier.also {
                    if !alert.also.contains(feature) && alert.status == Status::Firing {
                        alert.also.push(feature.clone());
                    }
                }
                // A message about an end also describes the alarm that ended.
                if alert.causes.is_empty() {
                    alert.causes = earlier.causes;
                }
                // An urgent alert that has ended does not make later alerts urgent.
                let is_the_same =
                    earlier.status == Status::Firing || alert.status == Status::Resolved;
                alert.urgent |= is_the_same && earlier.urgent;
            }
            alerts.insert(name, alert);
        }
        let message =
            Self { key, from: self.from, alerts: alerts.into_values().collect(), ..later };
        message.sorted()
    }

    fn sorted(mut self) -> Self {
        self.alerts.sort_by_key(|alert| (alert.status, alert.kind));
        let urgent = |alert: &Alert| alert.urgent && alert.status == Status::Firing;
        self.urgent = self.alerts.iter().any(urgent);
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

    /// Returns how many changes the messages report.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Returns the messages without words, oldest first.
    pub fn into_messages(self) -> Vec<Message> {
        self.messages.into_iter().chain(self.summary).collect()
    }
}
