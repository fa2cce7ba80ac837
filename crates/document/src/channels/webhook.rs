//! The channel `webhook`: any HTTP server that accepts messages as JSON.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::HttpSettings;
use crate::secret::Secret;

/// A server that accepts messages as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookChannel {
    /// Key of the signature (HMAC-SHA256 over time and body). Without it messages are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<Secret>,
}

impl HttpSettings for WebhookChannel {
    const NAME: &'static str = "webhook";
    const TIMEOUT: Span = super::TIMEOUT;
    const RETRIES: u8 = super::RETRIES;

    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        self.signing_key.iter_mut().map(|key| ("signing_key", key)).collect()
    }
}
