//! HTTP requests to outside services: one client for sources, alert channels and sinks.
//!
//! [`Server::open`] makes a client from the settings that a document has for every server:
//! certificates, credentials, proxy, deadline. [`Server::send`] sends a request, retries after
//! temporary failures, and never repeats a secret in an error.

mod retry;
mod secret;
mod transport;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use contract::{Span, StepError};
use document::HttpUrl;
use document::http::HttpServer;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder};

pub use retry::{Failed, LONGEST_DELAY, Retry, backoff, retry_after};
pub use secret::{masked, read_secret, secret_place};
pub use transport::{Pem, causes, tls_failure, use_ring};

/// Default limit of the bytes of a reply that are read.
const USUAL_REPLY_BYTES: usize = 64 << 20;
/// Bytes of the reply to a failed request that are read for its message.
const LONGEST_ERROR_BYTES: usize = 64 << 10;
/// Most characters of a reply that an error repeats.
const LONGEST_QUOTE: usize = 200;

/// A server of a document, with its HTTP client.
#[derive(Debug)]
pub struct Server {
    client: reqwest::Client,
    url: HttpUrl,
    /// Its field in the document, such as `alerts.channels.webhook`.
    field: String,
    /// Headers of each request; the secret values are marked as sensitive.
    headers: HeaderMap,
    /// The secret of the credentials, which a server may repeat.
    secret: Hidden,
    timeout: Span,
    retry: Retry,
    requests: AtomicUsize,
    retried: AtomicUsize,
}

/// A text that debug output does not show.
#[derive(Default)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A request to a server.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: HttpUrl,
    /// Headers in addition to those of the server.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// Its purpose, for errors, such as ``query `up` ``; may be empty.
    pub what: String,
    /// Texts in URL and body that must not be in an error.
    pub secrets: Vec<String>,
    /// Limit of the bytes of a successful reply; a longer one is refused.
    pub longest_reply_bytes: usize,
}

/// A reply, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; truncated if the request failed.
    pub body: Vec<u8>,
}

impl Request {
    /// Makes a request without a body.
    pub fn get(url: HttpUrl) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Vec::new(),
            what: String::new(),
            secrets: Vec::new(),
            longest_reply_bytes: USUAL_REPLY_BYTES,
        }
    }

    /// Makes a request with a body of a media type such as `application/json`.
    pub fn post(url: HttpUrl, media_type: &'static str, body: Vec<u8>) -> Self {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(media_type))];
        Self {
            method: Method::POST,
            headers: headers.into_iter().collect(),
            body,
            ..Self::get(url)
        }
    }

    /// Makes a request with a form (`application/x-www-form-urlencoded`).
    pub fn form<'a>(url: HttpUrl, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Self::post(url, "application/x-www-form-urlencoded", form.into_bytes())
    }
}

impl Reply {
    /// Returns whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

impl Server {
    /// Makes the client of a server. `field` is its field in the document; relative files are below
    /// `folder`, the folder of the document.
    ///
    /// Errors: usage for a missing or invalid secret or certificate.
    pub fn open(server: &HttpServer, field: &str, folder: &Path) -> Result<Self, StepError> {
        Self::open_with(server, field, folder, &Pem::default())
    }

    /// Makes the client of a server whose certificates may already be in memory.
    ///
    /// Errors: those of [`Server::open`].
    pub fn open_with(
        server: &HttpServer,
        field: &str,
        folder: &Path,
        at_hand: &Pem,
    ) -> Result<Self, StepError> {
        let mut headers = secret::headers(&format!("{field}.headers"), &server.headers)?;
        let mut secret = Hidden::default();
        if let Some(auth) = &server.auth {
            secret = Hidden(read_secret(auth.secret(), folder)?);
            let (name, value) = secret::authorization(auth, &secret.0, field)?;
            headers.insert(name, value);
        }
        Ok(Self {
            client: transport::client(server, field, folder, at_hand)?,
            url: server.url.clone(),
            field: field.to_owned(),
            headers,
            secret,
            timeout: server.timeout,
            retry: Retry::new(server.retries),
            requests: AtomicUsize::new(0),
            retried: AtomicUsize::new(0),
        })
    }

    /// Sets the longest `Retry-After` that is waited for, 5 min by default. A longer one fails at
    /// once.
    #[must_use]
    pub fn with_longest_delay(mut self, longest: Span) -> Self {
        self.retry.longest_delay = longest;
        self
    }

    /// Returns the server's URL.
    pub fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Returns the field of the server in the document.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Returns the deadline of one request.
    pub fn timeout(&self) -> Span {
        self.timeout
    }

    /// Returns how many requests were sent, and how many of them were retries.
    pub fn counts(&self) -> (usize, usize) {
        (self.requests.load(Ordering::Relaxed), self.retried.load(Ordering::Relaxed))
    }

    /// Sends a request until `judge` accepts its reply, it fails permanently, or the retries are used up.
    ///
    /// `judge` gets every reply, with any status; [`Server::refusal`] makes the failure for a reply
    /// that is an error.
    pub async fn send<T>(
        &self,
        request: &Request,
        judge: impl Fn(Reply) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let attempt = || async {
            self.requests.fetch_add(1, Ordering::Relaxed);
            judge(self.exchange(request).await?)
        };
        let sent = self.retry.run(&request.what, attempt, |failed, attempts, delay| {
            let delay_ms = delay.as_millis();
            self.retried.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(attempts, delay_ms, "Retrying: {}", failed.error.message);
        });
        sent.await.map_err(|(mut failed, attempts)| {
            if attempts > 1 {
                failed.error.message.push_str(&format!(" ({attempts} attempts)"));
            }
            failed
        })
    }

    async fn exchange(&self, request: &Request) -> Result<Reply, Failed> {
        let sent = self.builder(request).send().await;
        let mut response = sent.map_err(|error| self.transport(request, &error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = request.longest_reply_bytes;
        let limit = if status.is_success() { limit } else { LONGEST_ERROR_BYTES.min(limit) };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) if body.len() + bytes.len() <= limit => {
                    body.extend_from_slice(&bytes);
                }
                Ok(None) => break,
                // The start of an error page is enough, also of a truncated one.
                Ok(Some(_)) | Err(_) if !status.is_success() => break,
                Ok(Some(_)) => return Err(Failed::for_good(self.too_long(request))),
                Err(error) => return Err(self.transport(request, &error)),
            }
        }
        Ok(Reply { status: status.as_u16(), headers, body })
    }

    fn builder(&self, request: &Request) -> RequestBuilder {
        let url = request.url.url().clone();
        let builder = self.start(request.method.clone(), url).headers(request.headers.clone());
        if request.body.is_empty() { builder } else { builder.body(request.body.clone()) }
    }

    /// Starts a single request with the headers of the server, for a caller that handles failures
    /// itself.
    pub fn start(&self, method: Method, url: url::Url) -> RequestBuilder {
        self.client.request(method, url).headers(self.headers.clone())
    }

    /// Replaces secrets of the requests in a text from the server.
    pub fn masked(&self, text: &str) -> String {
        masked(&secret::masked_headers(text, &self.headers), &self.secret.0)
    }

    /// Makes the failure of a reply whose status is an error: a temporary one for 408, 425, 429 and
    /// 5xx. `said` is the part of the reply for the message.
    pub fn refusal(&self, request: &Request, reply: &Reply, said: &str) -> Failed {
        let said = self.quote(request, said);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let status = reqwest::StatusCode::from_u16(reply.status);
        let status = status.map_or_else(|_| reply.status.to_string(), |status| status.to_string());
        let message = self.message(request, &format!("{status}{said}"));
        let field = &self.field;
        if reply.status >= 500 || matches!(reply.status, 408 | 425 | 429) {
            return Failed {
                error: StepError::unavailable(message),
                status: Some(reply.status),
                is_passing: true,
                retry_after: retry::retry_after(&reply.headers),
            };
        }
        let error = StepError::usage(message);
        let error = match reply.status {
            300..=399 => {
                let target = reply.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                let target = target.and_then(|target| request.url.url().join(target).ok());
                let target = target.and_then(|target| target.as_str().parse::<HttpUrl>().ok());
                let target = target.map_or("elsewhere".to_owned(), |url| url.to_string());
                error.hint(format!(
                    "the server redirects to {target}; redirects are not followed: set the final \
                     URL in {field}.url"
                ))
            }
            401 | 403 => error.hint(format!("set {field}.auth, {field}.tls or {field}.headers")),
            404 | 405 => error.hint(format!("check {field}.url")),
            _ => error,
        };
        Failed { status: Some(reply.status), ..Failed::for_good(error) }
    }

    /// Returns an error's text: the server, the purpose of the request, and the cause.
    fn message(&self, request: &Request, wrong: &str) -> String {
        // The path of a request with secrets may itself be a secret.
        let url = if request.secrets.is_empty() { &request.url } else { &self.url };
        match request.what.as_str() {
            "" => format!("`{url}`: {wrong}"),
            what => format!("`{url}`: {what}: {wrong}"),
        }
    }

    /// Returns the beginning of a text from the server, in one line and without secrets.
    pub fn quote(&self, request: &Request, text: &str) -> String {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = secret::masked_headers(&self.masked(&text), &request.headers);
        let query = request.url.url().query().into_iter();
        let secrets = request.secrets.iter().map(String::as_str).chain(query);
        let text = secrets.fold(text, |text, secret| masked(&text, secret));
        let text: String =
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        match text.char_indices().nth(LONGEST_QUOTE) {
            Some((end, _)) => format!("{}\u{2026}", &text[..end]),
            None => text,
        }
    }

    fn too_long(&self, request: &Request) -> StepError {
        let mib = request.longest_reply_bytes >> 20;
        StepError::refused(self.message(request, &format!("the reply is longer than {mib} MiB")))
            .hint("request less data at once")
    }

    fn transport(&self, request: &Request, error: &reqwest::Error) -> Failed {
        let causes = self.quote(request, &transport::causes(error));
        let field = &self.field;
        if let Some(error) = tls_failure(&causes, field, |what| self.message(request, what)) {
            return Failed::for_good(error);
        }
        let what = if error.is_timeout() {
            format!("no whole reply within {}", self.timeout)
        } else if error.is_connect() {
            format!("cannot connect: {causes}")
        } else {
            format!("the connection or the reply was cut: {causes}")
        };
        Failed::passing(StepError::unavailable(self.message(request, &what)).hint(format!(
            "{field}.url names the server: check that it is running and reachable from here"
        )))
    }
}
