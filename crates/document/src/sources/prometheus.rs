//! The settings of the source `prometheus`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{SampleColumn, of_queries};
use super::{Source, SourceKind};
use crate::check::{Problem, check_headers, check_url, require};
use crate::document::BasicAuth;

/// A Prometheus HTTP API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSource {
    /// Base URL, without `/api/v1`. It must not carry a password: use `basic_auth`.
    pub url: String,
    /// Deadline of one request.
    #[serde(default = "thirty_seconds")]
    pub timeout: Span,
    /// Requests in flight at once.
    #[serde(default = "four")]
    pub parallel: u8,
    /// Attempts after the first, on 429, 5xx, timeouts and cut replies.
    #[serde(default = "five")]
    pub retries: u8,
    /// Points of each series that one request asks for at most, 1 to 11000. A request that the
    /// server refuses as too large is halved anyway; this saves the attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_points: Option<u16>,
    /// Time that one request covers at most, such as the query length limit of Mimir. The default
    /// is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_range: Option<Span>,
    /// Values that one answer holds at most: series times points. The default is 1000000 for all
    /// queries together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_samples: Option<u32>,
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

fn thirty_seconds() -> Span {
    Span::from_seconds(30)
}

fn four() -> u8 {
    4
}

fn five() -> u8 {
    5
}

impl SourceKind for PrometheusSource {
    fn check(&self, path: &str, _: &Source) -> Result<(), Problem> {
        check_url(&self.url, &format!("{path}.url"))?;
        check_headers(self.headers.keys(), &format!("{path}.headers"))?;
        require(self.parallel >= 1, &format!("{path}.parallel"), || {
            "must be at least 1".to_owned()
        })?;
        require(self.timeout > Span::ZERO, &format!("{path}.timeout"), || {
            "must be greater than 0s".to_owned()
        })?;
        let max_points = self.max_points.unwrap_or(1);
        require((1..=11_000).contains(&max_points), &format!("{path}.max_points"), || {
            format!("`{max_points}` is not between 1 and 11000")
        })?;
        let range = self.max_range.unwrap_or(Span::from_seconds(1));
        require(range > Span::ZERO, &format!("{path}.max_range"), || {
            "must be greater than 0s".to_owned()
        })?;
        require(self.max_samples != Some(0), &format!("{path}.max_samples"), || {
            "must be at least 1".to_owned()
        })?;
        require(
            self.bearer_token_file.is_none() || self.basic_auth.is_none(),
            &format!("{path}.basic_auth"),
            || "bearer_token_file and basic_auth exclude each other".to_owned(),
        )
    }

    fn takes_queries(&self) -> bool {
        true
    }

    fn columns(&self, source: &Source, rate_window: Span) -> Vec<SampleColumn> {
        of_queries(source, rate_window)
    }

    fn files_mut(&mut self) -> Vec<&mut PathBuf> {
        let mut files: Vec<&mut PathBuf> = Vec::new();
        files.extend(&mut self.bearer_token_file);
        files.extend(self.basic_auth.as_mut().map(|auth| &mut auth.password_file));
        files.extend(&mut self.ca_file);
        files.extend(&mut self.client_identity_file);
        files
    }

    fn urls(&self) -> Vec<&str> {
        vec![&self.url]
    }
}
