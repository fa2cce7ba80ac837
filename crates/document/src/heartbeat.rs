//! The heartbeat: a server that expects a request of each run, such as Healthchecks or a push
//! monitor of Uptime Kuma. It receives no messages.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::HttpSettings;
use crate::secret::Secret;

/// A dead man's switch. `ping` must be on the server of `url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The URL that is requested with GET. It is a secret.
    pub ping: Secret,
}

impl HttpSettings for Heartbeat {
    const NAME: &'static str = "heartbeat";
    const TIMEOUT: Span = crate::channels::TIMEOUT;
    const RETRIES: u8 = crate::channels::RETRIES;

    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        vec![("ping", &mut self.ping)]
    }
}
