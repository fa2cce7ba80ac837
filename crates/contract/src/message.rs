//! Messages about alerts: what channels get, what `alert` writes of a run, and what the archive and the
//! state of the alerts keep.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::classify::EntityClass;
use crate::score::{Cause, Combined, Diagnosed, MemberScore, NewLevel};
use crate::{Decimal, Timestamp};

/// Kind of an alert about an entity.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Features of the model have had no value for more than 15 rows, and the entity is scored by
    /// the others. Messages list this before anomalies.
    FeatureMissing,
    /// The entity does not behave as usual.
    Anomaly,
    /// Too much data of the entity is missing for a verdict.
    NoData,
    /// The usual level of the entity is far from that in the training data.
    Drift,
    /// No window was scored for `scoring.stalled_after`, so the state of all entities is unknown.
    ScoringStopped,
    /// The class of the entity differs from the declared one (`task: classify`).
    Mismatch,
}

/// Why a message about an alert is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It begins.
    #[default]
    Begins,
    /// It has become worth waking someone.
    Worsens,
    /// Other features lead it than those in the last message: perhaps a second fault.
    Widens,
    /// A feature has been missing for so long that a training without it is proposed.
    Proposes,
    /// It still fires, and the document asks for a reminder (`repeat`).
    Lasts,
    /// It ends.
    Ends,
}

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
    pub kind: AlertKind,
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
    /// Returns whether two are about the same thing.
    pub fn is_same(&self, other: &Self) -> bool {
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

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainingResult {
    /// Its version is live.
    Promoted,
    /// It created a version, but another version stays live.
    Finished,
    /// Its data or its version was refused.
    Refused,
    /// It failed for another reason.
    Failed,
}

/// How a training ended, and its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// How it ended.
    pub result: TrainingResult,
    /// The version it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The task that ended it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Why it ended so.
    pub why: String,
    /// The version that was live before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<String>,
    /// Rows it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Figures by part of the data set and name, with the champion's on the same rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
}

/// One figure of a version and of the champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Part of the data set.
    pub part: String,
    /// What was measured.
    pub name: String,
    /// The version's.
    pub version: Option<f64>,
    /// The champion's on the same rows.
    pub champion: Option<f64>,
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

impl Message {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
}

/// A message and the channels that took it in this run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The message.
    pub message: Message,
    /// Names of the channels that accepted it.
    pub channels: Vec<String>,
}

/// A message and the channels it has not reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The message.
    pub message: Message,
    /// Names of the channels that still need it; with `send: first` the first that takes it
    /// is the last.
    pub channels: Vec<String>,
    /// How often a channel has answered that it does not want this message, or has failed at it
    /// for long, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, u32>,
    /// Names of the channels whose rejection was reported to the others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub complained: BTreeSet<String>,
    /// Whether the store has it as a separate object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_kept: bool,
}

impl Pending {
    /// A message that was not sent yet.
    pub fn new(message: Message, channels: Vec<String>) -> Self {
        let (refusals, complained) = (BTreeMap::new(), BTreeSet::new());
        Self { message, channels, refusals, complained, is_kept: false }
    }
}

/// A message that a channel permanently rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The message.
    pub message: Message,
    /// Name of the channel.
    pub channel: String,
    /// When it was given up.
    pub time: Timestamp,
    /// What the channel answered.
    pub why: String,
}

/// The file of `--messages`: what a run of the step sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// Version of this format.
    pub format: u32,
    /// The pipeline.
    pub pipeline: String,
    /// End of the last window that was looked at.
    pub told_to: Option<Timestamp>,
    /// What was sent, and through which channels.
    pub sent: Vec<Sent>,
    /// What is still to be sent through which channels, by the next run.
    pub pending: Vec<Pending>,
    /// Messages that a channel permanently rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

impl Messages {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
}
