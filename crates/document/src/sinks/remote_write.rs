//! The sink `remote_write`: a server that accepts samples by the Prometheus remote-write protocol.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::HttpSettings;

/// A server that accepts samples by the Prometheus remote-write protocol, version 1. `url` is the
/// complete URL, such as `http://prometheus.monitoring:9090/api/v1/write`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteWriteSink {}

impl HttpSettings for RemoteWriteSink {
    const NAME: &'static str = "remote_write";
    const TIMEOUT: Span = Span::from_seconds(5);
    const RETRIES: u8 = 1;
}
