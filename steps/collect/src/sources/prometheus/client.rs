//! The HTTP client of a Prometheus: where range queries go, and what each of them carries.

use std::path::Path;

use client::{Files, Server, base_url, below, shown};
use contract::StepError;
use document::document::BasicAuth;
use document::sources::PrometheusSource;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Url};

/// A client for one server, with everything each request carries.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Where the settings stand in the document, for hints.
    pub(crate) field: String,
    /// Where range queries go.
    pub(crate) url: Url,
    /// The URL as errors show it: without user, password and query.
    pub(crate) shown: String,
    /// What each request carries; errors must not repeat what of it is secret.
    pub(crate) headers: HeaderMap,
    client: Client,
}

impl Endpoint {
    /// Makes the client of a source; its files are relative to `folder`, the document's.
    pub(crate) fn new(
        field: String,
        source: &PrometheusSource,
        folder: &Path,
    ) -> Result<Self, StepError> {
        let url = range_url(&field, &source.url)?;
        let headers = headers(&field, source, folder)?;
        let client = client::client(Server {
            field: &field,
            url: &url,
            timeout: source.timeout,
            headers: headers.clone(),
            files: Files {
                folder,
                ca_file: source.ca_file.as_deref(),
                client_identity_file: source.client_identity_file.as_deref(),
            },
        })?;
        Ok(Self { field, shown: shown(&url), url, headers, client })
    }

    /// Starts a request with this form as its body.
    pub(crate) fn post(&self, form: String) -> reqwest::RequestBuilder {
        self.client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
    }
}

fn range_url(field: &str, base: &str) -> Result<Url, StepError> {
    Ok(below(base_url(&format!("{field}.url"), base)?, "/api/v1/query_range"))
}

fn headers(field: &str, source: &PrometheusSource, folder: &Path) -> Result<HeaderMap, StepError> {
    let mut headers = client::headers(&format!("{field}.headers"), &source.headers)?;
    let user = source.basic_auth.as_ref().map(BasicAuth::user);
    let value = client::authorization(folder, source.bearer_token_file.as_deref(), user)?;
    headers.extend(value.map(|value| (AUTHORIZATION, value)));
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_found_below_any_base() {
        for (base, expected) in [
            ("http://h:9090", "http://h:9090/api/v1/query_range"),
            ("http://h:9090/", "http://h:9090/api/v1/query_range"),
            ("https://h/prometheus/", "https://h/prometheus/api/v1/query_range"),
            ("http://[::1]:1/a/b?x=y", "http://[::1]:1/a/b/api/v1/query_range"),
        ] {
            assert_eq!(range_url("x", base).unwrap().as_str(), expected);
        }
        assert!(range_url("x", "http://u:hunter2@h").is_err());
    }
}
