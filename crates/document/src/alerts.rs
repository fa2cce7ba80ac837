//! Who is told, when, through which channels, and in which words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::{Span, Timestamp};
use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::document::BasicAuth;

/// Who is told, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Anomalous windows in a row before an alert fires.
    #[serde(rename = "for")]
    pub for_windows: u32,
    /// Normal windows in a row before it is resolved.
    pub resolve_after: u32,
    /// Time after a message in which the same entity does not fire again.
    pub cool_down: Span,
    /// Time after which an alert that still fires is told again; without it, it is told once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Span>,
    /// What is told of entities.
    pub kinds: Vec<AlertKind>,
    /// What is told of trainings; nothing by default.
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
    /// What nobody is told of.
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
                AlertKind::Anomaly,
                AlertKind::NoData,
                AlertKind::ScoringStopped,
                AlertKind::Mismatch,
            ],
            training: Vec::new(),
            send: Send::All,
            time_zone: "UTC".to_owned(),
            links: BTreeMap::new(),
            templates: Templates::default(),
            silences: Vec::new(),
            channels: vec![Channel::Stdout(StdoutChannel {})],
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

/// What nobody is told of: what begins there is told when the silence ends, if it still lasts.
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
    /// Windows that end before this time; without it for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Why, for whoever reads the document.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Where a secret is kept; a document never holds one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// A file with the secret alone, relative to the document.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl<'de> Deserialize<'de> for Secret {
    /// Says what is wrong without repeating what was found: it may be the secret itself.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = serde_json::Value::deserialize(deserializer)?;
        let field = |name: &str| found.get(name).and_then(serde_json::Value::as_str);
        let lonely = found.as_object().is_some_and(|fields| fields.len() == 1);
        match (field("file"), field("env")) {
            (Some(file), None) if lonely => Ok(Self::File(file.into())),
            (None, Some(name)) if lonely => Ok(Self::Env(name.to_owned())),
            _ => Err(D::Error::custom(
                "a document holds no secrets: write where it is, `file: PATH` or `env: NAME`",
            )),
        }
    }
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A line on standard output.
    Stdout(StdoutChannel),
    /// A JSON line at the end of a file.
    File(FileChannel),
    /// A Telegram chat, through the bot API.
    Telegram(TelegramChannel),
    /// A Slack channel, through an incoming webhook.
    Slack(SlackChannel),
    /// An Alertmanager, through its API v2.
    Alertmanager(AlertmanagerChannel),
    /// Any HTTP server: the message as JSON, signed.
    Webhook(WebhookChannel),
    /// E-mail, through an SMTP server.
    Email(EmailChannel),
}

/// Standard output; it has no settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutChannel {}

/// A file of JSON lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileChannel {
    /// The file; it is made when it is not there.
    pub path: PathBuf,
}

fn ten_seconds() -> Span {
    Span::from_seconds(10)
}

/// A Telegram chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelegramChannel {
    /// Number of the chat, or `@name` of a public channel.
    pub chat: String,
    /// The bot's token.
    pub token: Secret,
    /// Number of the topic in a forum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<i64>,
    /// Base URL of the bot API, where a server of one's own is used.
    #[serde(default = "telegram")]
    pub url: String,
    /// Deadline of one request.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

fn telegram() -> String {
    "https://api.telegram.org".to_owned()
}

/// A Slack channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackChannel {
    /// The incoming webhook's URL, which is a secret.
    pub webhook: Secret,
    /// Deadline of one request.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

/// An Alertmanager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerChannel {
    /// Base URL, without `/api/v2`. It must not carry a password: use `basic_auth`.
    pub url: String,
    /// Labels of every alert, besides `alertname`, `pipeline`, `entity`, `kind` and `severity`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Time after which an alert that was not sent again ends by itself.
    #[serde(default = "five_minutes")]
    pub expire_after: Span,
    /// Deadline of one request.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
    /// File with a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// User name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// File with the CA certificates to trust (PEM) instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// File with a client certificate and its key (PEM, both in one file).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_identity_file: Option<PathBuf>,
}

fn five_minutes() -> Span {
    Span::from_seconds(300)
}

/// A server that takes messages as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookChannel {
    /// The URL. It must not carry a password.
    pub url: String,
    /// Key of the signature: HMAC-SHA256 over time and body; without one nothing is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<Secret>,
    /// Deadline of one request.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
    /// File with the CA certificates to trust (PEM) instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// E-mail through an SMTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailChannel {
    /// Name of the SMTP server.
    pub host: String,
    /// Its port; by default 587, 465 or 25, as `security` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub security: SmtpSecurity,
    /// User name; without one nobody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// Deadline of each exchange with the server.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
    /// File with the CA certificates to trust (PEM) instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl EmailChannel {
    /// Returns the server's port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            SmtpSecurity::Starttls => 587,
            SmtpSecurity::Tls => 465,
            SmtpSecurity::None => 25,
        })
    }
}

/// How the connection to an SMTP server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SmtpSecurity {
    /// Begun in the clear and encrypted before anything is said; a server that cannot is refused.
    #[default]
    Starttls,
    /// Encrypted from the first byte.
    Tls,
    /// Not at all; then nobody can log in.
    None,
}
