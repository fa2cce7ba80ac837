//! The HTTP client of a Prometheus: URL and headers of range queries.

use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use client::Server;
use contract::StepError;
use document::HttpUrl;
use document::http::HttpServer;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;

/// Path of range queries below the base URL.
const RANGE_PATH: &str = "/api/v1/query_range";

/// How a query is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// As a form in the body: the query may have any length and is not logged by proxies.
    Post,
    /// As parameters of the URL, for proxies that allow only GET.
    Get,
}

/// A client for one server, with the common parts of all requests.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) server: Server,
    /// URL of range queries.
    pub(crate) url: HttpUrl,
    /// The URL as errors show it: without its query.
    pub(crate) shown: String,
    /// Status with which the server refused POST; 0 while it has not.
    post_refused: AtomicU16,
}

impl Endpoint {
    /// Makes the client of a source; its files are relative to `folder`, the folder of the
    /// document, and `field` is its field in the document.
    pub(crate) fn new(field: &str, server: &HttpServer, folder: &Path) -> Result<Self, StepError> {
        // The query of the base URL is kept, because a proxy may choose the tenant by it.
        let url = server.url.join(RANGE_PATH);
        let server = Server::open(server, field, folder)?;
        Ok(Self { server, shown: url.to_string(), url, post_refused: AtomicU16::new(0) })
    }

    /// Returns the field of the settings in the document, for hints.
    pub(crate) fn field(&self) -> &str {
        self.server.field()
    }

    /// Starts a request with this form, beside the parameters that the URL of the document has.
    pub(crate) fn request(&self, method: Method, form: &str) -> reqwest::RequestBuilder {
        let mut url = self.url.url().clone();
        match method {
            Method::Post => self
                .server
                .start(reqwest::Method::POST, url)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.to_owned()),
            Method::Get => {
                let query = url.query().filter(|query| !query.is_empty());
                let query = query.map_or(form.to_owned(), |query| format!("{query}&{form}"));
                url.set_query(Some(&query));
                self.server.start(reqwest::Method::GET, url)
            }
        }
    }

    /// Returns the URL of another path of the API, such as `/api/v1/query`, with these parameters.
    pub(crate) fn beside(&self, path: &str, form: &[(&str, &str)]) -> HttpUrl {
        self.server.url().join(path).with_query(form.iter().copied())
    }

    /// Starts a GET request to a URL of the server.
    pub(crate) fn get(&self, url: &HttpUrl) -> reqwest::RequestBuilder {
        self.server.start(reqwest::Method::GET, url.url().clone())
    }

    /// Returns how the next query is sent.
    pub(crate) fn method(&self) -> Method {
        if self.post_refused.load(Ordering::Relaxed) == 0 { Method::Post } else { Method::Get }
    }

    /// Sends all further queries with GET.
    pub(crate) fn use_get(&self, refused: StatusCode) {
        self.post_refused.store(refused.as_u16(), Ordering::Relaxed);
    }

    /// Returns a note about the method, if it is not the default.
    pub(crate) fn report(&self) -> Option<String> {
        let status = self.post_refused.load(Ordering::Relaxed);
        (status > 0).then(|| {
            format!("`{}` answers POST with {status}: all queries were sent with GET", self.shown)
        })
    }
}
