//! Asks many endpoints at once.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use contract::StepError;
use document::sources::ExporterSource;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Url, redirect};
use tokio::sync::Semaphore;

use super::exposition::{self, Scrape};

/// Formats, as Prometheus asks for them.
const FORMATS: &str =
    "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Scrapes endpoints.
pub(super) struct Client {
    http: reqwest::Client,
    parallel: usize,
    max_bytes: usize,
}

impl Client {
    pub(super) fn new(settings: &ExporterSource) -> Result<Self, StepError> {
        client::use_ring();
        let http = reqwest::Client::builder()
            .user_agent(concat!("lynceus/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout.to_std())
            .redirect(redirect::Policy::none())
            // An exporter is a neighbour: no proxy leads to it.
            .no_proxy()
            .build()
            .map_err(|error| StepError::usage(format!("cannot set up HTTP: {error}")))?;
        let max_bytes = usize::try_from(settings.max_bytes).unwrap_or(usize::MAX);
        Ok(Self { http, parallel: usize::from(settings.parallel.max(1)), max_bytes })
    }

    /// Scrapes all endpoints and keeps the series whose names are wanted; returns what each said,
    /// or why it said nothing, in the order of the endpoints.
    pub(super) fn scrape(
        &self,
        endpoints: &[String],
        wants: &(dyn Fn(&str) -> bool + Sync),
    ) -> Vec<Result<Scrape, String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else {
            return endpoints.iter().map(|_| Err("cannot start to fetch".to_owned())).collect();
        };
        let places = Arc::new(Semaphore::new(self.parallel));
        runtime.block_on(async {
            let scrapes = endpoints.iter().map(|url| {
                let places = Arc::clone(&places);
                async move {
                    // Nobody closes it.
                    let place = places.acquire().await;
                    let scraped = self.one(url, wants).await;
                    drop(place);
                    scraped
                }
            });
            futures_util::future::join_all(scrapes).await
        })
    }

    async fn one(
        &self,
        url: &str,
        wants: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Scrape, String> {
        let sent = self.http.get(url).header(ACCEPT, FORMATS).send().await;
        let mut response = sent.map_err(|error| said(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{status}"));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_open_metrics = kind.is_some_and(|kind| kind.contains("openmetrics"));
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|error| said(&error))? {
            if body.len() + bytes.len() > self.max_bytes {
                return Err(format!("the reply is longer than {} bytes", self.max_bytes));
            }
            body.extend_from_slice(&bytes);
        }
        exposition::parse(&body, is_open_metrics, wants).map_err(|error| error.to_string())
    }
}

fn said(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no whole reply before the timeout".to_owned();
    }
    client::causes(error)
}

/// Returns the URLs of the addresses behind the host of a URL.
pub(super) fn addresses(url: &str) -> Result<Vec<String>, StepError> {
    let parsed = Url::parse(url)
        .map_err(|error| StepError::usage(format!("`{}` is no URL: {error}", shown(url))))?;
    let host = parsed.host_str().unwrap_or_default();
    let port = parsed.port_or_known_default().unwrap_or(80);
    let found = (host.trim_matches(['[', ']']), port).to_socket_addrs().map_err(|error| {
        StepError::unavailable(format!("cannot resolve `{host}`: {error}"))
            .hint("is it the name of a headless Service, and is DNS allowed?")
    })?;
    let with = |address: SocketAddr| {
        let mut url = parsed.clone();
        // An address can always be a host.
        url.set_ip_host(address.ip()).ok()?;
        Some(url.to_string())
    };
    Ok(found.filter_map(with).collect())
}

/// Returns host and port of a URL.
pub(super) fn host_and_port(url: &str) -> String {
    let Ok(parsed) = Url::parse(url) else { return url.to_owned() };
    let host = parsed.host_str().unwrap_or_default();
    match parsed.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Returns a URL without what may be secret.
pub(super) fn shown(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "endpoint".to_owned(), |url| client::shown(&url))
}
