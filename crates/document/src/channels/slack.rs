//! The channel `slack`: an incoming webhook.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::HttpSettings;
use crate::secret::Secret;

/// A Slack channel. `webhook` must be on the server of `url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackChannel {
    /// The incoming webhook's URL, which is a secret.
    pub webhook: Secret,
}

impl HttpSettings for SlackChannel {
    const NAME: &'static str = "slack";
    const URL: Option<&'static str> = Some("https://hooks.slack.com");
    const TIMEOUT: Span = super::TIMEOUT;
    const RETRIES: u8 = super::RETRIES;

    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        vec![("webhook", &mut self.webhook)]
    }
}
