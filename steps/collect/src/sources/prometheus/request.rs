//! One range query: asked, and asked again where that may help.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contract::{Span, StepError};
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{StatusCode, Url};

use client::{causes, shown};

use super::client::Endpoint;
use super::reply::{self, Reply, ReplyError, one_line};
use crate::range::Grid;

/// A reply of more bytes than this is not read to its end.
pub(crate) const LONGEST_REPLY_BYTES: usize = 512 << 20;
/// Bytes of an error page that are read for its message.
const LONGEST_ERROR_BYTES: usize = 64 << 10;
/// A server that wants a longer pause than this is called unavailable at once.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
const FIRST_PAUSE_MS: u64 = 250;
const LONGEST_BACKOFF_MS: u64 = 30_000;

/// A query as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct RangeQuery {
    pub(crate) name: String,
    pub(crate) promql: String,
}

/// Asks a server, and counts how often.
#[derive(Debug)]
pub(crate) struct Requester {
    pub(crate) endpoint: Endpoint,
    pub(crate) timeout: Span,
    pub(crate) retries: u8,
    pub(crate) requests: AtomicUsize,
    pub(crate) retried: AtomicUsize,
}

/// Why one attempt failed.
enum Failure {
    /// For good.
    Final(StepError),
    /// Perhaps not the next time, after the pause the server asked for.
    Passing { what: String, pause: Option<Duration> },
}

impl Requester {
    /// Returns the reply to a query; what may pass is tried again after a growing pause.
    pub(crate) async fn reply(&self, query: &RangeQuery, grid: Grid) -> Result<Reply, StepError> {
        let mut attempt: u32 = 0;
        loop {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let (what, pause) = match self.attempt(query, grid).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing { what, pause }) => (what, pause),
            };
            attempt += 1;
            let refused = pause.is_some_and(|pause| pause > LONGEST_PAUSE);
            if attempt > u32::from(self.retries) || refused {
                return Err(self.unavailable(query, attempt, &what));
            }
            let pause = pause.unwrap_or_default().max(backoff(attempt, &query.name));
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(query = query.name, attempt, pause_ms, "Asking again: {what}");
            self.retried.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
        }
    }

    fn unavailable(&self, query: &RangeQuery, attempts: u32, what: &str) -> StepError {
        let times = if attempts == 1 { "attempt" } else { "attempts" };
        StepError::unavailable(format!(
            "`{}`: {what} (query `{}`, {attempts} {times})",
            self.endpoint.shown, query.name
        ))
        .hint(format!(
            "{}.url names the server: is it up, and can it be reached from here?",
            self.endpoint.field
        ))
    }

    async fn attempt(&self, query: &RangeQuery, grid: Grid) -> Result<Reply, Failure> {
        let sent = self.endpoint.post(form(&query.promql, grid)).send().await;
        let mut response = sent.map_err(|error| self.transport(&error))?;
        let status = response.status();
        let limit = if status.is_success() { LONGEST_REPLY_BYTES } else { LONGEST_ERROR_BYTES };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) if body.len() + bytes.len() <= limit => {
                    body.extend_from_slice(&bytes);
                }
                Ok(None) => break,
                // The start of an error page is enough; so is what came before it was cut.
                Ok(Some(_)) | Err(_) if !status.is_success() => break,
                Ok(Some(_)) => return Err(Failure::Final(self.too_long(query))),
                Err(error) => return Err(self.transport(&error)),
            }
        }
        if status == StatusCode::OK {
            return reply::parse(&body).map_err(|error| self.no_reply(query, &error));
        }
        Err(self.failed(query, status, response.headers(), &body))
    }

    fn too_long(&self, query: &RangeQuery) -> StepError {
        StepError::refused(format!(
            "`{}`: the reply to query `{}` is longer than {} MiB",
            self.endpoint.shown,
            query.name,
            LONGEST_REPLY_BYTES >> 20
        ))
        .hint("aggregate the query to fewer series")
    }

    fn transport(&self, error: &reqwest::Error) -> Failure {
        let causes = causes(error);
        // Whom to trust is a setting; it does not change by asking again.
        if causes.to_lowercase().contains("certificate") {
            let message = format!("`{}`: {causes}", self.endpoint.shown);
            let field = &self.endpoint.field;
            let hint = format!("{field}.ca_file says whom to trust, client_identity_file who asks");
            return Failure::Final(StepError::usage(message).hint(hint));
        }
        let what = if error.is_timeout() {
            format!("no whole reply within {}", self.timeout)
        } else if error.is_connect() {
            format!("cannot connect: {causes}")
        } else {
            format!("the connection or the reply was cut: {causes}")
        };
        Failure::Passing { what, pause: None }
    }

    fn no_reply(&self, query: &RangeQuery, error: &ReplyError) -> Failure {
        if error.may_pass() {
            return Failure::Passing { what: error.to_string(), pause: None };
        }
        let message = format!("`{}`: query `{}`: {error}", self.endpoint.shown, query.name);
        let error = StepError::usage(message);
        Failure::Final(match self.page_hint(&error.message) {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    fn page_hint(&self, message: &str) -> Option<String> {
        let field = &self.endpoint.field;
        message.contains("web page").then(|| {
            format!("is it a login page, or a proxy's? {field}.url must lead to the Prometheus API")
        })
    }

    /// Makes the failure of a reply that says by its status that it is none.
    fn failed(
        &self,
        query: &RangeQuery,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Failure {
        let said = client::masked_headers(&message_of(body), &self.endpoint.headers);
        let what = if said.is_empty() { format!("{status}") } else { format!("{status}: {said}") };
        if is_passing(status) {
            return Failure::Passing { what, pause: retry_after(headers) };
        }
        let message = format!("`{}`: query `{}`: {what}", self.endpoint.shown, query.name);
        let error = StepError::usage(message);
        let field = &self.endpoint.field;
        Failure::Final(match status.as_u16() {
            300..=399 => {
                let target = headers.get(LOCATION).and_then(|value| value.to_str().ok());
                let target = target.and_then(|target| self.endpoint.url.join(target).ok());
                let target = target.map_or("elsewhere".to_owned(), |url: Url| shown(&url));
                error.hint(format!(
                    "the server sends to {target}; redirects are not followed, name the right URL in {field}.url"
                ))
            }
            401 | 403 => error.hint(format!(
                "{field} takes bearer_token_file, basic_auth, client_identity_file and headers"
            )),
            404 | 405 => error.hint(format!("{field}.url is the base of the API, without /api/v1")),
            _ => error,
        })
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
        _ => one_line(&String::from_utf8_lossy(body)),
    }
}

/// Returns the pause a server asks for: seconds, or a date by the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    if let Ok(seconds) = wanted.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp());
    let pause = date(wanted)?.duration_since(date(text(DATE)?)?);
    Some(Duration::try_from(pause).unwrap_or_default())
}

/// Returns the pause before attempt `attempt + 1`: exponential, half of it jitter, so that many
/// clients that failed together do not come back together.
///
/// The jitter is a hash of the query, the attempt and the process: the outputs do not depend on
/// it, and no clock or random source is needed.
fn backoff(attempt: u32, query: &str) -> Duration {
    let full = FIRST_PAUSE_MS.saturating_mul(1 << (attempt - 1).min(20)).min(LONGEST_BACKOFF_MS);
    let seed = format!("{query} {attempt} {}", std::process::id());
    // FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/
    let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Duration::from_millis(full / 2 + hash % (full / 2 + 1))
}

/// Returns the request's body: start and end are both points of the grid.
fn form(promql: &str, grid: Grid) -> String {
    // A URL knows how to write a form; the rest of it is thrown away.
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
    use reqwest::header::HeaderValue;

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
    fn pauses_grow_to_a_limit_and_differ_between_queries() {
        for attempt in 1..40 {
            let full = Duration::from_millis((250_u64 << (attempt - 1).min(20)).min(30_000));
            let pause = backoff(attempt, "a");
            assert!(full / 2 <= pause && pause <= full, "{attempt}: {pause:?}");
        }
        assert_ne!(backoff(8, "a"), backoff(8, "b"));
    }

    #[test]
    fn the_server_says_how_long_to_wait_in_seconds_or_by_its_own_clock() {
        let with = |pairs: &[(_, &'static str)]| {
            let pairs = pairs.iter();
            retry_after(&pairs.map(|(k, v): &(_, _)| (k, v)).fold(
                HeaderMap::new(),
                |mut headers, (name, value): (&reqwest::header::HeaderName, _)| {
                    headers.insert(name.clone(), HeaderValue::from_static(value));
                    headers
                },
            ))
        };
        assert_eq!(with(&[(RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
        let (now, then) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(with(&[(RETRY_AFTER, then), (DATE, now)]), Some(Duration::from_secs(30)));
        assert_eq!(with(&[(RETRY_AFTER, now), (DATE, then)]), Some(Duration::ZERO));
        assert_eq!(with(&[(RETRY_AFTER, "soon")]), None);
        assert_eq!(with(&[]), None);
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
