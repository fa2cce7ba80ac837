//! Alerts: which, when, through which channels, and with which texts.

use std::collections::BTreeMap;

use contract::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::channels::Channel;
use crate::heartbeat::Heartbeat;
use crate::http::Http;

/// Alerts: which are sent, when, and through which channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Anomalous windows in a row before an alert fires, 1 or more; more raise fewer and later
    /// alerts.
    #[serde(rename = "for")]
    pub for_windows: u32,
    /// Normal windows in a row before an alert is resolved, 1 or more.
    pub resolve_after: u32,
    /// Time after a message in which the same entity does not fire again; 0s sends every alert.
    pub cool_down: Span,
    /// Time after which an alert that still fires is sent again, greater than 0s. The default sends
    /// it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Span>,
    /// Kinds of alerts about entities that are sent.
    pub kinds: Vec<AlertKind>,
    /// Time without a value of a feature after which one message proposes a training without it,
    /// greater than 0s; models are not changed by it.
    pub propose_training_after: Span,
    /// A server that expects a request of each run and raises the alarm when none comes: a dead man's
    /// switch for the case that nothing runs at all, or that no window is scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Http<Heartbeat>>,
    /// Results of trainings that are reported; none by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<TrainingResult>,
    /// Whether every channel gets a message, or only the first that takes it.
    pub send: Send,
    /// IANA name of the time zone that messages show beside UTC, such as `Europe/Brussels`.
    pub time_zone: String,
    /// Links in messages by name. In a link `{pipeline}` and `{entity}` stand for names (all
    /// entities: `$__all`, as Grafana writes it), `{from}` and `{to}` for times in milliseconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// The words of messages, where they are to be others.
    #[serde(skip_serializing_if = "is_default")]
    pub templates: Templates,
    /// Alerts that are not sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silences: Vec<Silence>,
    /// Where messages go, the preferred first.
    pub channels: Vec<Channel>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            for_windows: 1,
            resolve_after: 3,
            cool_down: Span::from_seconds(600),
            repeat: None,
            kinds: vec![
                AlertKind::FeatureMissing,
                AlertKind::Anomaly,
                AlertKind::NoData,
                AlertKind::ScoringStopped,
                AlertKind::Mismatch,
            ],
            propose_training_after: Span::from_seconds(86_400),
            heartbeat: None,
            training: Vec::new(),
            send: Send::All,
            time_zone: "UTC".to_owned(),
            links: BTreeMap::new(),
            templates: Templates::default(),
            silences: Vec::new(),
            channels: vec![Channel::default()],
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What can be wrong with an entity.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Features that training knew have had no value for more than 15 rows: it is judged by the
    /// others. Messages list this before anomalies.
    FeatureMissing,
    /// It does not behave as it used to.
    Anomaly,
    /// Too much of its data is missing to say.
    NoData,
    /// Its usual level has moved far from that of the training data.
    Drift,
    /// No window was scored for `scoring.stalled_after`: it is not known how anything behaves.
    ScoringStopped,
    /// It is not what it declares: of `task: classify`.
    Mismatch,
}

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainingResult {
    /// Its version is live.
    Promoted,
    /// It made a version, and another one stays live.
    Finished,
    /// Its data or its version was refused.
    Refused,
    /// Something else failed.
    Failed,
}

/// Which channels get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Send {
    /// Every channel.
    All,
    /// The first that takes it, in the order of the document.
    First,
}

/// Templates in the language of Jinja; `document::template` lists what they may name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Templates {
    /// One line for a list or a notification; `{{ title }}` is the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The whole message; `{{ text }}` is the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Alerts that are not sent: one that starts during a silence is sent when the silence ends, if it
/// still fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Entities, `*` standing for any text; without it all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Kinds of alert; without them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<AlertKind>,
    /// Windows that end at or after this time; without it from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<Timestamp>,
    /// Windows that end before this time; without it, all later windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Why, for whoever reads the document.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}
