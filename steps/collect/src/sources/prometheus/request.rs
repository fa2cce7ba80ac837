//! One attempt of a range query, and the classification of its failure.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use client::{causes, tls_failure};
use contract::units::counted;
use contract::{Span, StepError};
use document::HttpUrl;
use flate2::read::MultiGzDecoder;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{StatusCode, Url};

use super::client::{Endpoint, Method};
use super::limits::{Limits, is_of_size};
use super::pieces::Patience;
use super::reply::{self, Reply, ReplyError, one_line};
use crate::range::Grid;

/// Maximum number of bytes of a reply.
pub(crate) const LONGEST_REPLY_BYTES: usize = 512 << 20;
/// Bytes of an error page that are read for its message.
const LONGEST_ERROR_BYTES: usize = 64 << 10;
/// Prefix of the reason of a failure if the host name is unknown.
pub(crate) const NO_HOST: &str = "no such host";

/// A query to send.
#[derive(Debug, Clone)]
pub(crate) struct RangeQuery {
    pub(crate) name: String,
    pub(crate) promql: String,
}

/// Sends requests to a server, and counts them.
#[derive(Debug)]
pub(crate) struct Requester {
    pub(crate) endpoint: Endpoint,
    pub(crate) retries: u8,
    pub(crate) limits: Limits,
    pub(crate) patience: Patience,
    /// Whether some query got a reply, so that the server is not down.
    pub(crate) has_answered: AtomicBool,
    /// Whether a query got no reply at all: then other queries are not bisected.
    pub(crate) is_down: AtomicBool,
    pub(crate) requests: AtomicUsize,
    pub(crate) retried: AtomicUsize,
}

/// Why one attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A final error.
    Final(StepError),
    /// The reply would exceed a limit of the server.
    TooLarge { what: String },
    /// The server cannot evaluate the query at some point of the range.
    Refused { what: String },
    /// A retry may succeed, after the delay that the server requested.
    Passing {
        what: String,
        pause: Option<Span>,
        /// Whether the size of the request may be the cause.
        load: Load,
        /// Whether the server was unreachable.
        is_gone: bool,
    },
}

/// Whether a shorter request is more likely to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// The size is probably not the cause.
    Unlikely,
    /// The server is overloaded.
    Possible,
    /// The request timed out.
    Likely,
}

impl Failure {
    fn passing(what: String) -> Self {
        Self::Passing { what, pause: None, load: Load::Unlikely, is_gone: false }
    }
}

impl Requester {
    /// Makes the error of a server that failed until the last retry.
    pub(crate) fn unavailable(&self, query: &RangeQuery, attempts: u32, what: &str) -> StepError {
        let attempts = counted(u64::from(attempts), "attempt");
        StepError::unavailable(format!(
            "`{}`: {what} (query `{}`, {attempts})",
            self.endpoint.shown, query.name
        ))
        .hint(format!(
            "{}.url names the server: check that it is running and reachable from here",
            self.endpoint.field()
        ))
    }

    /// Makes the error of a query that the server refuses.
    pub(crate) fn refused(&self, query: &RangeQuery, what: &str) -> StepError {
        StepError::usage(format!("`{}`: query `{}`: {what}", self.endpoint.shown, query.name)).hint(
            "correct `promql` of this query in the document; `lynceus source check PIPELINE` sends \
             each query to the server",
        )
    }

    /// Makes the error of a reply that the server reports as incomplete.
    pub(crate) fn incomplete(&self, query: &RangeQuery, lacks: &str) -> StepError {
        StepError::unavailable(format!(
            "`{}`: the answer to query `{}` is incomplete: {lacks}",
            self.endpoint.shown, query.name
        ))
        .hint("`collect.partial_answers: score` accepts incomplete answers")
    }

    /// Sends the query once. If the server refuses POST, this and all further queries use GET.
    pub(crate) async fn attempt(&self, query: &RangeQuery, grid: Grid) -> Result<Reply, Failure> {
        let form = form(&query.promql, grid);
        let method = self.endpoint.method();
        let mut response = self.send(method, &form).await?;
        if method == Method::Post && matches!(response.status.as_u16(), 403 | 405) {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let other = self.send(Method::Get, &form).await?;
            if !matches!(other.status.as_u16(), 401 | 403 | 404 | 405 | 414 | 501) {
                self.endpoint.use_get(response.status);
                response = other;
            }
        }
        let Response { status, headers, body } = response;
        let body = body.ok_or_else(|| too_long(query))?;
        if status == StatusCode::OK {
            return reply::parse(&body).map_err(|error| self.no_reply(query, &error));
        }
        Err(self.failed(query, status, &headers, &body))
    }

    async fn send(&self, method: Method, form: &str) -> Result<Response, Failure> {
        let sent = self.endpoint.request(method, form).send().await;
        let mut response = sent.map_err(|error| self.transport(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = if status.is_success() { LONGEST_REPLY_BYTES } else { LONGEST_ERROR_BYTES };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) if body.len() + bytes.len() <= limit => {
                    body.extend_from_slice(&bytes);
                }
                Ok(None) => break,
                // The start of an error page is enough, also of a truncated one.
                Ok(Some(_)) | Err(_) if !status.is_success() => break,
                Ok(Some(_)) => return Ok(Response { status, headers, body: None }),
                Err(error) => return Err(self.transport(&error)),
            }
        }
        let body = unpacked(body)
            .map_err(|error| Failure::passing(format!("the reply cannot be unpacked: {error}")))?;
        Ok(Response { status, headers, body })
    }

    fn transport(&self, error: &reqwest::Error) -> Failure {
        let causes = causes(error);
        let message = |what: &str| format!("`{}`: {what}", self.endpoint.shown);
        if let Some(error) = tls_failure(&causes, self.endpoint.field(), message) {
            return Failure::Final(error);
        }
        let (is_slow, is_gone) = (error.is_timeout(), error.is_connect());
        let what = if causes.contains("dns error") {
            format!("{NO_HOST}: {causes}")
        } else if is_gone {
            format!("cannot connect: {causes}")
        } else if is_slow {
            format!("no whole reply within {}", self.endpoint.server.timeout())
        } else {
            format!("the connection or the reply was cut: {causes}")
        };
        let load = if is_slow && !is_gone { Load::Likely } else { Load::Unlikely };
        Failure::Passing { what, pause: None, load, is_gone }
    }

    fn no_reply(&self, query: &RangeQuery, error: &ReplyError) -> Failure {
        if error.may_pass() {
            let load = if error.is_timeout() { Load::Likely } else { Load::Unlikely };
            let what = error.to_string();
            return Failure::Passing { what, pause: None, load, is_gone: false };
        }
        let what = error.to_string();
        let hint = self.page_hint(&what).unwrap_or_else(|| {
            "check that it is a server with the Prometheus API, and that no proxy changes its \
             replies"
                .to_owned()
        });
        Failure::Final(
            StepError::usage(format!("`{}`: query `{}`: {what}", self.endpoint.shown, query.name))
                .hint(hint),
        )
    }

    fn page_hint(&self, message: &str) -> Option<String> {
        let field = self.endpoint.field();
        message.contains("web page").then(|| {
            format!("is it a login page, or a proxy's? {field}.url must lead to the Prometheus API")
        })
    }

    /// Makes the failure of a reply with an error status.
    fn failed(
        &self,
        query: &RangeQuery,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Failure {
        let said = self.endpoint.server.masked(&message_of(body));
        let what = if said.is_empty() { format!("{status}") } else { format!("{status}: {said}") };
        let of_size = is_of_size(&said) && !said.contains("deadline") && !said.contains("requests");
        if status == StatusCode::PAYLOAD_TOO_LARGE || of_size && says_size(status) {
            return Failure::TooLarge { what };
        }
        if is_passing(status) {
            let load = match status {
                StatusCode::GATEWAY_TIMEOUT => Load::Likely,
                StatusCode::SERVICE_UNAVAILABLE if kind_of(body) == "timeout" => Load::Likely,
                StatusCode::SERVICE_UNAVAILABLE => Load::Possible,
                _ => Load::Unlikely,
            };
            return Failure::Passing {
                what,
                pause: client::retry_after(headers),
                load,
                is_gone: false,
            };
        }
        if status == StatusCode::UNPROCESSABLE_ENTITY && kind_of(body) != "bad_data" {
            return Failure::Refused { what };
        }
        let error = self.refused(query, &what);
        let field = self.endpoint.field();
        Failure::Final(match status.as_u16() {
            300..=399 => {
                let target = headers.get(LOCATION).and_then(|value| value.to_str().ok());
                let target = target.and_then(|target| self.endpoint.url.url().join(target).ok());
                let target = target.and_then(|target| target.as_str().parse::<HttpUrl>().ok());
                let target = target.map_or("elsewhere".to_owned(), |url| url.to_string());
                error.hint(format!(
                    "the server redirects to {target}; redirects are not followed: set the final \
                     URL in {field}.url"
                ))
            }
            401 => error.hint(format!("set {field}.auth, {field}.tls or {field}.headers")),
            403 => error.hint(format!(
                "neither POST nor GET is allowed; set {field}.auth, {field}.tls or {field}.headers"
            )),
            404 => error.hint(format!("{field}.url is the base of the API, without /api/v1")),
            405 => error.hint(
                "the server, or a proxy in front of it, allows neither POST nor GET at this path",
            ),
            400 if said.contains("parameter") && self.endpoint.url.url().query().is_none() => {
                error.hint(format!(
                    "a parameter that a proxy asks for goes into {field}.url, as in http://host?namespace=monitoring"
                ))
            }
            _ => error,
        })
    }
}

fn too_long(query: &RangeQuery) -> Failure {
    let (name, mib) = (&query.name, LONGEST_REPLY_BYTES >> 20);
    Failure::TooLarge { what: format!("the reply to query `{name}` is longer than {mib} MiB") }
}

/// A reply of a server; `body` is `None` if it is too long.
struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

/// Unpacks a body that is gzip although the request did not ask for it; `None` if it is too long.
pub(crate) fn unpacked(body: Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    if !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(Some(body));
    }
    let mut plain = Vec::new();
    let longest = LONGEST_REPLY_BYTES as u64;
    MultiGzDecoder::new(body.as_slice()).take(longest + 1).read_to_end(&mut plain)?;
    Ok((plain.len() as u64 <= longest).then_some(plain))
}

/// Returns whether a reply with this status may report an exceeded limit.
fn says_size(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 422 | 500 | 503)
}

/// Returns Prometheus' name of the kind of failure; empty for another body.
fn kind_of(body: &[u8]) -> String {
    match reply::parse(body) {
        Err(ReplyError::Failed { kind, .. }) => kind,
        Ok(_) | Err(ReplyError::Broken(_) | ReplyError::WebPage | ReplyError::Foreign(_)) => {
            String::new()
        }
    }
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// Returns Prometheus' own message, or the start of whatever else was sent.
fn message_of(body: &[u8]) -> String {
    match reply::parse(body) {
        Err(ReplyError::Failed { message, .. }) => message,
        Err(ReplyError::WebPage) => "a web page".to_owned(),
        Ok(_) | Err(ReplyError::Broken(_) | ReplyError::Foreign(_)) => {
            one_line(&String::from_utf8_lossy(body))
        }
    }
}

/// Returns the request's body: start and end are both points of the grid.
fn form(promql: &str, grid: Grid) -> String {
    // The URL is only used to encode the form.
    let mut url = Url::parse("http://form").expect("a constant URL parses");
    url.query_pairs_mut()
        .append_pair("query", promql)
        .append_pair("start", &seconds(grid.first.ms()))
        .append_pair("end", &seconds(grid.last().ms()))
        .append_pair("step", &seconds(grid.step.ms()));
    url.query().unwrap_or_default().to_owned()
}

/// Writes milliseconds as seconds with as many decimals as are needed.
pub(crate) fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    match ms % 1000 {
        0 => format!("{sign}{}", ms / 1000),
        rest => format!("{sign}{}.{rest:03}", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use contract::Timestamp;

    use super::*;

    #[test]
    fn the_form_is_escaped_and_ends_on_the_last_point() {
        let grid = Grid {
            first: Timestamp::from_ms(1_795_247_400_000),
            points: 3,
            step: Span::from_ms(2500),
        };
        assert_eq!(
            form("sum(rate(x{a=\"b&c\"}[1m])) + 1", grid),
            "query=sum%28rate%28x%7Ba%3D%22b%26c%22%7D%5B1m%5D%29%29+%2B+1&start=1795247400&end=1795247405&step=2.500"
        );
    }

    #[test]
    fn seconds_have_the_decimals_they_need() {
        for (ms, text) in
            [(0, "0"), (1500, "1.500"), (-1500, "-1.500"), (60_000, "60"), (7, "0.007")]
        {
            assert_eq!(seconds(ms), text);
        }
    }
}
