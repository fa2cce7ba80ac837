//! What uploads and downloads share: sizes, and waits between attempts.

use std::fmt::Display;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use contract::StepError;

use super::error::Request;
use super::settings::S3Settings;

/// Objects up to this length go in one request.
pub(super) const WHOLE_BYTES: u64 = 16 * 1024 * 1024;

/// Requests that one transfer has under way.
pub(super) const IN_FLIGHT: usize = 4;

/// Attempts at something that the client itself cannot try again, such as a reply that broke off
/// in its middle.
#[derive(Debug)]
pub(super) struct Waits {
    left: u32,
    wait: Duration,
}

impl Waits {
    pub(super) fn new(settings: &S3Settings) -> Self {
        Self { left: settings.attempts.max(1), wait: settings.first_wait }
    }

    /// Waits before the next attempt, or fails with what went wrong in the last one.
    pub(super) async fn next(
        &mut self,
        request: &Request<'_>,
        why: &impl Display,
    ) -> Result<(), StepError> {
        self.left -= 1;
        if self.left == 0 {
            return Err(request.broken(&format!("{why}, again and again")));
        }
        // A random share, so that those who failed together do not come again together.
        let random = RandomState::new().build_hasher().finish() % 1024;
        tokio::time::sleep(self.wait.mul_f64(random as f64 / 1024.0)).await;
        self.wait = self.wait.saturating_mul(2);
        Ok(())
    }
}
