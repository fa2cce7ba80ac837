//! The HTTP client of a Prometheus: where range queries go, and what each of them carries.

use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use client::{Files, Server, base_url, below, shown};
use contract::StepError;
use document::document::BasicAuth;
use document::sources::PrometheusSource;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, StatusCode, Url};

/// Path of range queries below the base URL.
const RANGE_PATH: &str = "/api/v1/query_range";

/// How a query is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// As a form in the body: a query of any length, and in no log of a proxy.
    Post,
    /// As parameters of the URL, for proxies that allow nothing else.
    Get,
}

/// A client for one server, with everything each request carries.
#[derive(Debug)]
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
    /// Status with which the server refused POST; 0 while it has not.
    post_refused: AtomicU16,
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
        let post_refused = AtomicU16::new(0);
        Ok(Self { field, shown: shown(&url), url, headers, client, post_refused })
    }

    /// Starts a request with this form, beside the parameters that the URL of the document has.
    pub(crate) fn request(&self, method: Method, form: &str) -> reqwest::RequestBuilder {
        match method {
            Method::Post => self
                .client
                .post(self.url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.to_owned()),
            Method::Get => {
                let mut url = self.url.clone();
                let query = url.query().filter(|query| !query.is_empty());
                let query = query.map_or(form.to_owned(), |query| format!("{query}&{form}"));
                url.set_query(Some(&query));
                self.client.get(url)
            }
        }
    }

    /// Returns the URL of another path of the API, such as `/api/v1/query`, with these parameters.
    pub(crate) fn beside(&self, path: &str, form: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        let base = url.path().strip_suffix(RANGE_PATH).unwrap_or_default();
        url.set_path(&format!("{base}{path}"));
        url.query_pairs_mut().extend_pairs(form);
        url
    }

    /// Starts a GET request to a URL of the server.
    pub(crate) fn get(&self, url: Url) -> reqwest::RequestBuilder {
        self.client.get(url)
    }

    /// Returns how the next query is sent.
    pub(crate) fn method(&self) -> Method {
        if self.post_refused.load(Ordering::Relaxed) == 0 { Method::Post } else { Method::Get }
    }

    /// Sends all further queries with GET.
    pub(crate) fn use_get(&self, refused: StatusCode) {
        self.post_refused.store(refused.as_u16(), Ordering::Relaxed);
    }

    /// Returns what a person should know of the method, if it is not the usual one.
    pub(crate) fn report(&self) -> Option<String> {
        let status = self.post_refused.load(Ordering::Relaxed);
        (status > 0).then(|| {
            format!("`{}` answers POST with {status}: all queries were sent with GET", self.shown)
        })
    }
}

/// Returns where range queries go. A query of the base URL stays: a proxy may choose the tenant by it.
fn range_url(field: &str, base: &str) -> Result<Url, StepError> {
    let mut url = below(base_url(&format!("{field}.url"), base)?, RANGE_PATH);
    let named = Url::parse(base).ok();
    url.set_query(named.as_ref().and_then(Url::query));
    Ok(url)
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
            ("http://[::1]:1/a/b?x=y", "http://[::1]:1/a/b/api/v1/query_range?x=y"),
            ("http://h/?dedup=true&x=%20#f", "http://h/api/v1/query_range?dedup=true&x=%20"),
        ] {
            assert_eq!(range_url("x", base).unwrap().as_str(), expected);
        }
        assert!(range_url("x", "http://u:hunter2@h").is_err());
    }
}
