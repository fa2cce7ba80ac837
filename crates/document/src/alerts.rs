//! The section `alerts`: conditions, times, channels and texts.

use std::collections::BTreeMap;

pub use contract::message::{AlertKind, TrainingResult};
use contract::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::channels::Channel;
use crate::heartbeat::Heartbeat;
use crate::http::Http;

/// Which alerts are sent, when, and through which channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Consecutive anomalous windows before an alert fires, 1 or more. With more windows alerts are
    /// fewer and later.
    #[serde(rename = "for")]
    pub for_windows: u32,
    /// Consecutive normal windows before an alert is resolved, 1 or more.
    pub resolve_after: u32,
    /// Minimum time between two messages about the same entity; with 0s every alert is sent.
    pub cool_down: Span,
    /// Time after which an alert that still fires is sent again, greater than 0s. By default it is
    /// sent once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Span>,
    /// Kinds of alerts about entities that are sent.
    pub kinds: Vec<AlertKind>,
    /// Time without a value of a feature after which one message proposes a training without it,
    /// greater than 0s. The message does not change a model.
    pub propose_training_after: Span,
    /// A dead man's switch: a server that expects a request from each run, and alarms if there is
    /// none, because Lynceus does not run or scores no window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Http<Heartbeat>>,
    /// Results of trainings that are reported; none by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<TrainingResult>,
    /// Whether every channel gets a message, or only the first one that accepts it.
    pub send: Send,
    /// IANA name of the time zone that messages show beside UTC, such as `Europe/Brussels`.
    pub time_zone: String,
    /// Links in messages by name. In a link `{pipeline}` and `{entity}` are replaced by names (for
    /// all entities by `$__all`, as in Grafana), and `{from}` and `{to}` by times in milliseconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Templates that replace the default text of messages.
    #[serde(skip_serializing_if = "is_default")]
    pub templates: Templates,
    /// Alerts that are not sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silences: Vec<Silence>,
    /// Channels of messages, in order of preference.
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

/// Which channels get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Send {
    /// Every channel.
    All,
    /// The first channel that accepts it, in the order of the document.
    First,
}

/// Templates in the language of Jinja; `document::template` lists the available variables.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Templates {
    /// Title in one line, for a list or a notification; `{{ title }}` is the default title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Text of the whole message; `{{ text }}` is the default text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Alerts that are not sent: one that starts during a silence is sent when the silence ends, if it
/// still fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Name of the entity; `*` matches any text. By default all entities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Kinds of alerts; by default all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<AlertKind>,
    /// Windows that end at or after this time; by default all earlier ones, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<Timestamp>,
    /// Windows that end before this time; by default all later ones, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// The reason, for people who read the document.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}
