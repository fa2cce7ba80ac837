//! Scrapes many endpoints in parallel.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;

use client::Server;
use contract::StepError;
use document::HttpUrl;
use document::sources::exporter::ExporterSource;
use reqwest::Method;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HeaderValue};
use tokio::sync::Semaphore;

use super::exposition::{self, Scrape};

/// Accepted formats, in the form in which Prometheus requests them.
const FORMATS: &str =
    "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Scrapes endpoints.
pub(super) struct Client {
    server: Server,
    parallel: usize,
    max_bytes: usize,
}

impl Client {
    /// Makes one client for all endpoints; relative files are below `folder`, the folder of the
    /// document, and `field` is the field of the settings.
    pub(super) fn new(
        settings: &ExporterSource,
        field: &str,
        folder: &Path,
    ) -> Result<Self, StepError> {
        // A file may name any endpoint; without an endpoint with TLS, the system's certificates are
        // not read.
        let mut named = settings.endpoints.iter().chain(&settings.service);
        let is_secure = settings.file.is_some() || named.any(|url| url.url().scheme() == "https");
        let any: HttpUrl =
            if is_secure { "https://endpoint" } else { "http://endpoint" }
                .parse()
                .map_err(|error| StepError::bug(format!("cannot set up HTTP: {error}")))?;
        let server = Server::open(&settings.server(&any), field, folder)?;
        let max_bytes = usize::try_from(settings.max_bytes).unwrap_or(usize::MAX);
        Ok(Self { server, parallel: usize::from(settings.parallel.max(1)), max_bytes })
    }

    /// Scrapes all endpoints and keeps the series whose names are wanted; returns the reply or the
    /// failure of each, in the order of the endpoints.
    pub(super) fn scrape(
        &self,
        endpoints: &[&HttpUrl],
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
                    // The semaphore is never closed.
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
        url: &HttpUrl,
        wants: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Scrape, String> {
        let mut request = self.server.start(Method::GET, url.url().clone());
        if url.is_loopback() {
            // On the same host, compression only costs time.
            request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        // An open connection to each of a thousand endpoints would exceed the process's limit of
        // open files.
        let request = request.header(CONNECTION, HeaderValue::from_static("close"));
        let sent = request.header(ACCEPT, FORMATS).send().await;
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
pub(super) fn addresses(url: &HttpUrl) -> Result<Vec<HttpUrl>, StepError> {
    let host = url.host();
    let found = (host, url.port()).to_socket_addrs().map_err(|error| {
        StepError::unavailable(format!("cannot resolve `{host}`: {error}"))
            .hint("check that it is the name of a headless Service, and that DNS is allowed")
    })?;
    Ok(found.filter_map(|address: SocketAddr| url.with_address(address.ip())).collect())
}

/// Returns host and port of a URL.
pub(super) fn host_and_port(url: &HttpUrl) -> String {
    match url.host() {
        address if address.contains(':') => format!("[{address}]:{}", url.port()),
        host => format!("{host}:{}", url.port()),
    }
}
