//! One POST to an outside service: its answer, or what failed, without secrets.

use client::{Server, causes, client, masked, masked_headers};
use contract::{Span, StepError};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};

use crate::channels::{Failure, LONGEST_PAUSE, MANY_REFUSALS};
use crate::quantity::clean;

/// Bytes of an answer that are read.
const LONGEST_REPLY_BYTES: usize = 64 << 10;
/// Characters of an answer that an error repeats.
const LONGEST_QUOTE: usize = 200;
/// A pause that is asked for without a length.
const USUAL_PAUSE: Span = Span::from_seconds(60);

/// What a service answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
    /// `Retry-After` in seconds.
    retry_after: Option<Span>,
}

/// A service as errors show it, and what they must not show.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// What it is called: its URL without secrets, or its name.
    pub(super) name: &'a str,
    /// Text that must appear nowhere.
    pub(super) secret: Option<&'a str>,
    /// What requests carry; what of it is sensitive must appear nowhere either.
    pub(super) headers: HeaderMap,
}

/// Posts JSON.
pub(super) fn post(server: Server<'_>, shown: &Shown<'_>, json: Vec<u8>) -> Result<Reply, Failure> {
    let (url, timeout) = (server.url.clone(), server.timeout);
    let client = client(server)?;
    let headers = shown.headers.clone();
    let request =
        client.post(url).header(CONTENT_TYPE, "application/json").headers(headers).body(json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| StepError::unavailable(format!("cannot start the runtime: {e}")))?;
    runtime.block_on(exchange(request)).map_err(|error| {
        let why =
            if error.is_timeout() { format!("no answer within {timeout}") } else { causes(&error) };
        let name = shown.name;
        StepError::unavailable(format!("{name} cannot be reached: {}", shown.quote(&why))).into()
    })
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<Reply, reqwest::Error> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|text| text.trim().parse().ok());
    let mut body = Vec::new();
    while body.len() < LONGEST_REPLY_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(Reply {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
        retry_after: retry_after.map(pause),
    })
}

/// Returns a pause that lets the other side be, but not for days.
pub(super) fn pause(seconds: u32) -> Span {
    Span::from_seconds(i64::from(seconds)).min(LONGEST_PAUSE)
}

impl Shown<'_> {
    /// Returns the beginning of what the other side said, in one line and without the secret.
    pub(super) fn quote(&self, text: &str) -> String {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = masked(&text, self.secret.unwrap_or_default());
        let text = masked_headers(&text, &self.headers);
        clean(&super::cut(&text, LONGEST_QUOTE).replace('\n', " "))
    }

    /// Makes the error of an answer that says no; `said` is what of it a person should read.
    pub(super) fn refusal(&self, reply: &Reply, said: &str) -> Failure {
        let said = self.quote(said);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let error = StepError::unavailable(format!(
            "{} answered with status {}{said}",
            self.name, reply.status
        ));
        let is_limit = reply.status == 429;
        let retry_after = reply.retry_after.or(is_limit.then_some(USUAL_PAUSE));
        // 401, 403 and 404 are about the channel: whoever set it up can mend them.
        let give_up_after = match reply.status {
            400 | 422 => Some(MANY_REFUSALS),
            413 => Some(1),
            _ => None,
        };
        let may_be_the_message = reply.status >= 500 && retry_after.is_none();
        Failure { error, retry_after, is_limit, give_up_after, may_be_the_message }
    }
}

/// Returns a value as JSON.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, StepError> {
    serde_json::to_vec(value)
        .map_err(|e| StepError::bug(format!("cannot write a message as JSON: {e}")))
}
