//! Common code of uploads and downloads: sizes, deadlines, and backoff between attempts.

use std::fmt::Display;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;
use contract::StepError;

use super::error::Request;
use super::settings::S3Settings;

/// Objects up to this length are transferred in one request.
pub(super) const WHOLE_BYTES: u64 = 16 * 1024 * 1024;

/// Concurrent requests of one transfer.
pub(super) const IN_FLIGHT: usize = 4;

/// Slowest accepted transfer rate.
const LEAST_BYTES_PER_SECOND: u64 = 128 * 1024;

/// Number of reply deadlines after which a request fails, even if attempts are left. It ends the
/// wait for a store that hangs; a store that answers with errors gets every attempt.
const SILENCES: u32 = 3;

/// Returns how long a transfer of this many bytes may take.
pub(super) fn deadline(settings: &S3Settings, bytes: u64) -> Duration {
    let seconds = Duration::from_secs(bytes / LEAST_BYTES_PER_SECOND);
    settings.reply_deadline.saturating_add(seconds)
}

/// Returns the deadlines of a request that sends this many bytes.
pub(super) fn timeouts(settings: &S3Settings, bytes: u64) -> TimeoutConfig {
    let deadline = deadline(settings, bytes);
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_deadline)
        .read_timeout(deadline)
        .operation_timeout(deadline.saturating_mul(SILENCES))
        .build()
}

/// Attempts of an operation that the client itself cannot retry, such as a reply that was
/// interrupted.
#[derive(Debug)]
pub(super) struct Waits {
    left: u32,
    wait: Duration,
}

impl Waits {
    pub(super) fn new(settings: &S3Settings) -> Self {
        Self { left: settings.attempts.max(1), wait: settings.first_wait }
    }

    /// Waits before the next attempt, or fails with the error of the last one.
    pub(super) async fn next(
        &mut self,
        request: &Request<'_>,
        why: &impl Display,
    ) -> Result<(), StepError> {
        self.left -= 1;
        if self.left == 0 {
            return Err(request.broken(&format!("{why}, again and again")));
        }
        // A random share, so that clients that failed at the same time do not retry at the same
        // time.
        let random = RandomState::new().build_hasher().finish() % 1024;
        tokio::time::sleep(self.wait.mul_f64(random as f64 / 1024.0)).await;
        self.wait = self.wait.saturating_mul(2);
        Ok(())
    }
}
