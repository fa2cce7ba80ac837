//! Authentication and limits of requests.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use contract::StepError;
use fs_err as fs;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::args::ServeArgs;
use crate::protocol::ProtocolError;

/// The bearer token, and the permits for requests in flight.
#[derive(Debug, Clone)]
pub struct Limits {
    token: Option<Arc<str>>,
    in_flight: Arc<Semaphore>,
}

impl Limits {
    /// Reads the token file.
    pub fn read(args: &ServeArgs) -> Result<Self, StepError> {
        let token = match &args.options.token_file {
            None => None,
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|e| StepError::reading(path, &e))?;
                let token = text.trim();
                if token.is_empty() {
                    let path = path.display();
                    return Err(StepError::usage(format!("`--token-file {path}`: is empty"))
                        .hint("write the token into this file, in one line"));
                }
                Some(Arc::from(token))
            }
        };
        let places = usize::try_from(args.options.max_in_flight).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self { token, in_flight: Arc::new(Semaphore::new(places)) })
    }

    /// Refuses a request without the token.
    pub fn authorise(&self, headers: &HeaderMap) -> Result<(), ProtocolError> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        if given.is_some_and(|given| is_same(given.trim(), token)) {
            return Ok(());
        }
        Err(ProtocolError::new(
            StatusCode::UNAUTHORIZED,
            "the request carries no valid token: send `Authorization: Bearer TOKEN`",
        ))
    }

    /// Acquires a permit for a request.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, ProtocolError> {
        Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| Self::full())
    }

    /// Returns the error for a request above the limit.
    pub fn full() -> ProtocolError {
        ProtocolError::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests in flight")
    }
}

/// Compares texts in a time that depends only on their lengths.
fn is_same(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && differences == 0
}
