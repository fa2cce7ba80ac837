//! One request to the server of a channel: its reply, or its failure, without secrets.

use std::path::Path;

use client::{Failed, Reply, Request, Server};
use contract::{ErrorKind, SYSTEM_HINT, Span, StepError};
use document::http::HttpServer;

use crate::channels::{Failure, LONGEST_PAUSE, MANY_REFUSALS};

/// Delay after a 429 without `Retry-After`.
const USUAL_PAUSE: Span = Span::from_seconds(60);
/// A server that asks for a longer delay gets the message in a later run.
const LONGEST_DELAY_IN_RUN: Span = Span::from_seconds(5);

/// Sends a request; `judge` returns the meaning of the reply for the channel.
pub(crate) fn send(
    server: &HttpServer,
    field: &str,
    folder: &Path,
    request: &Request,
    judge: impl Fn(&Server, Reply) -> Result<(), Failed>,
) -> Result<(), Failure> {
    let server = Server::open(server, field, folder)?.with_longest_delay(LONGEST_DELAY_IN_RUN);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| {
        StepError::unavailable(format!("cannot start the runtime: {e}")).hint(SYSTEM_HINT)
    })?;
    let sent = runtime.block_on(server.send(request, |reply| judge(&server, reply)));
    sent.map_err(Failure::from)
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        let Failed { mut error, status, retry_after, .. } = failed;
        let is_limit = status == Some(429);
        let retry_after = retry_after.or(is_limit.then_some(USUAL_PAUSE));
        // 401, 403 and 404 concern the channel: its settings must be corrected.
        let give_up_after = match status {
            Some(400 | 422) => Some(MANY_REFUSALS),
            Some(413) => Some(1),
            _ => None,
        };
        if status.is_some() {
            error.kind = ErrorKind::Unavailable;
        }
        Self {
            error,
            retry_after: retry_after.map(|delay| delay.min(LONGEST_PAUSE)),
            is_limit,
            give_up_after,
            may_be_the_message: status.is_some_and(|status| status >= 500) && retry_after.is_none(),
        }
    }
}

/// Makes a request with a value as JSON.
pub(super) fn json<T: serde::Serialize>(
    url: document::HttpUrl,
    value: &T,
) -> Result<Request, StepError> {
    let body = serde_json::to_vec(value)
        .map_err(|e| StepError::bug(format!("cannot write a message as JSON: {e}")))?;
    Ok(Request::post(url, "application/json", body))
}
