//! When windows are scored, and where the scores are shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::BasicAuth;

/// When windows are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scoring {
    /// How often a scorer is started.
    pub every: Span,
    /// How long to wait for late scrapes before a window is due.
    pub delay: Span,
    /// How far back missed windows are made up for.
    pub catch_up: Span,
    /// How long no window may be scored, though one is due, before the channels are notified that
    /// scoring has stopped and why; they are notified again when it goes on.
    pub stalled_after: Span,
    /// Share of a window's features that must be there for it to be scored; others are `no_data`.
    pub min_completeness: f64,
    /// Alias of a version that scores the same windows without telling anybody, if it is set.
    pub shadow: String,
    /// How far the last day may be from the training data before a feature is said to drift.
    pub drift: DriftLimits,
    /// Where scores are shown as metrics.
    #[serde(skip_serializing_if = "Metrics::is_off")]
    pub metrics: Metrics,
}

impl Default for Scoring {
    fn default() -> Self {
        Self {
            every: Span::from_seconds(60),
            delay: Span::from_seconds(30),
            catch_up: Span::from_seconds(86_400),
            stalled_after: Span::from_seconds(300),
            min_completeness: 0.5,
            shadow: "shadow".into(),
            drift: DriftLimits::default(),
            metrics: Metrics::default(),
        }
    }
}

/// What a feature may differ from the training data by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DriftLimits {
    /// Population stability index of the last day; 0.1 is a small shift, 0.25 a large one.
    pub stability_index: f64,
    /// Share of the last day's rows without a value, beyond the usual share.
    pub missing_ratio: f64,
    /// Train anew when the drift alert fires; without it nobody does of their own accord.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrain: Option<Retrain>,
}

impl Default for DriftLimits {
    fn default() -> Self {
        Self { stability_index: 0.25, missing_ratio: 0.1, retrain: None }
    }
}

/// A training that drift starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retrain {
    /// Shortest time between two of them, however the first one ended.
    pub pause: Span,
}

impl Default for Retrain {
    fn default() -> Self {
        Self { pause: Span::from_seconds(86_400) }
    }
}

/// Where scores are shown as metrics; nowhere, unless something is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// File in the Prometheus text format for `node_exporter`'s textfile collector, rewritten by each
    /// tick with the last window; relative to the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub textfile: Option<PathBuf>,
    /// A server that takes each window by the Prometheus remote-write protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_write: Option<RemoteWrite>,
}

impl Metrics {
    fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// A server that takes samples by the Prometheus remote-write protocol, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteWrite {
    /// The whole URL, such as `http://prometheus.monitoring:9090/api/v1/write`. It must not carry a
    /// password: use `basic_auth`.
    pub url: String,
    /// Deadline of one request.
    #[serde(default = "five_seconds")]
    pub timeout: Span,
    /// Attempts after the first, on 429, 5xx and timeouts; what fails then goes with the next tick.
    #[serde(default = "one")]
    pub retries: u8,
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
    /// Further headers, such as `X-Scope-OrgID`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

fn five_seconds() -> Span {
    Span::from_seconds(5)
}

fn one() -> u8 {
    1
}
