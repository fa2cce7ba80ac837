//! The channel `alertmanager`: an Alertmanager, through its API v2.

use std::collections::BTreeMap;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::HttpSettings;
use crate::problem::{Problem, require};

/// Labels that each alert has by default.
const OWN_LABELS: [&str; 5] = ["alertname", "pipeline", "entity", "kind", "severity"];

/// An Alertmanager. Its `url` is the base, without `/api/v2`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerChannel {
    /// Labels of every alert, besides `alertname`, `pipeline`, `entity`, `kind` and `severity`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Time after which Alertmanager resolves an alert that was not sent again, 1m or longer. It
    /// must be longer than the time between two ticks.
    #[serde(default = "five_minutes")]
    pub expire_after: Span,
    /// Whether the alert `LynceusWatchdog` is sent in each run while windows are scored. Route it
    /// to a dead man's switch: it expires `expire_after` after the last run, and is not sent while
    /// scoring has stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watchdog: bool,
}

impl HttpSettings for AlertmanagerChannel {
    const NAME: &'static str = "alertmanager";
    const TIMEOUT: Span = super::TIMEOUT;
    const RETRIES: u8 = super::RETRIES;

    fn check(&self) -> Result<(), Problem> {
        require(self.expire_after >= Span::from_seconds(60), "expire_after", || {
            "must be at least 1m".to_owned()
        })?;
        for name in self.labels.keys() {
            let field = format!("labels.{name}");
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            require(is_name, &field, || {
                format!("`{name}` is not a label name: letters, digits and `_`")
            })?;
            require(!OWN_LABELS.contains(&name.as_str()), &field, || {
                format!("`{name}` is a label that Lynceus sets: choose another name")
            })?;
        }
        Ok(())
    }
}

fn five_minutes() -> Span {
    Span::from_seconds(300)
}
