//! Retries: exponential backoff with jitter, or the delay that a server asks for.

use std::time::Duration;

use contract::{Span, StepError};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

const FIRST_DELAY_MS: u64 = 250;
const LONGEST_BACKOFF_MS: u64 = 30_000;
/// If a server asks for a longer delay, it counts as unavailable, and there is no retry.
pub const LONGEST_DELAY: Span = Span::from_seconds(300);

/// Number and delays of the retries of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Number of retries.
    pub retries: u8,
    /// If a server asks for a longer delay, there is no retry.
    pub longest_delay: Span,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What failed; without secrets.
    pub error: StepError,
    /// Status of the reply, if there was one.
    pub status: Option<u16>,
    /// Whether another attempt may help.
    pub is_passing: bool,
    /// Delay that the server asks for.
    pub retry_after: Option<Span>,
}

impl Failed {
    /// Makes a permanent failure.
    pub fn for_good(error: StepError) -> Self {
        Self { error, status: None, is_passing: false, retry_after: None }
    }

    /// Makes a temporary failure.
    pub fn passing(error: StepError) -> Self {
        Self { is_passing: true, ..Self::for_good(error) }
    }
}

impl Retry {
    /// Allows this many retries, and delays of up to 5 min.
    pub fn new(retries: u8) -> Self {
        Self { retries, longest_delay: LONGEST_DELAY }
    }

    /// Runs `attempt` until it succeeds, fails permanently, or the retries are used up; `notify` is
    /// called before each retry with its cause, the number of attempts so far, and the delay, which
    /// is that of [`backoff`] and at least `Retry-After`. `seed` identifies the request.
    ///
    /// Errors: the last failure, and the number of attempts.
    pub async fn run<T, Attempt: Future<Output = Result<T, Failed>>>(
        self,
        seed: &str,
        mut attempt: impl FnMut() -> Attempt,
        mut notify: impl FnMut(&Failed, u32, Duration),
    ) -> Result<T, (Failed, u32)> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failed = match attempt().await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            let Some(delay) = self.delay(&failed, attempts, seed) else {
                return Err((failed, attempts));
            };
            notify(&failed, attempts, delay);
            tokio::time::sleep(delay).await;
        }
    }
}

impl Retry {
    /// Returns the delay after this many attempts; `None` if there is no further attempt.
    fn delay(self, failed: &Failed, attempts: u32, seed: &str) -> Option<Duration> {
        let asked = failed.retry_after.unwrap_or(Span::ZERO);
        let is_last = attempts > u32::from(self.retries);
        let is_over = is_last || !failed.is_passing || asked > self.longest_delay;
        (!is_over).then(|| backoff(attempts, seed).max(asked.to_std()))
    }
}

/// Returns the delay before attempt `attempt + 1`: it doubles from 0.25 s to 30 s, and half of it
/// is jitter, so that clients that failed at the same time do not retry at the same time.
///
/// The jitter is a hash of the seed, the attempt and the process: outputs do not depend on it, and
/// no clock or random source is needed.
pub fn backoff(attempt: u32, seed: &str) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20);
    let full = FIRST_DELAY_MS.saturating_mul(1 << doublings).min(LONGEST_BACKOFF_MS);
    let seed = format!("{seed} {attempt} {}", std::process::id());
    // FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/
    let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Duration::from_millis(full / 2 + hash % (full / 2 + 1))
}

/// Returns the delay a server asks for: seconds, or a date by the server's own clock.
pub fn retry_after(headers: &HeaderMap) -> Option<Span> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    if let Ok(seconds) = wanted.parse::<u32>() {
        return Some(Span::from_seconds(i64::from(seconds)));
    }
    let date = |text| jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp());
    let delay = date(wanted)?.duration_since(date(text(DATE)?)?);
    Some(Span::from_ms(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)).max(Span::ZERO))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn passing(retry_after: Option<i64>) -> Failed {
        let retry_after = retry_after.map(Span::from_seconds);
        Failed { retry_after, ..Failed::passing(StepError::unavailable("away")) }
    }

    #[test]
    fn delays_double_to_a_limit_with_jitter() {
        for attempt in 1..13_u32 {
            let full = (FIRST_DELAY_MS << (attempt - 1)).min(LONGEST_BACKOFF_MS);
            let full = Duration::from_millis(full);
            let delay = Retry::new(20).delay(&passing(None), attempt, "a").unwrap();
            assert!(full / 2 <= delay && delay <= full, "{attempt}: {delay:?}");
        }
        assert_ne!(backoff(8, "a"), backoff(8, "b"));
        assert!(backoff(u32::MAX, "a") <= Duration::from_millis(LONGEST_BACKOFF_MS));
    }

    #[test]
    fn server_delay_is_kept_and_too_long_a_one_ends_it() {
        let after = |seconds| Retry::new(2).delay(&passing(Some(seconds)), 1, "a");
        assert_eq!(after(120), Some(Duration::from_mins(2)));
        assert_eq!(after(301), None);
    }

    #[test]
    fn final_failure_and_used_up_retries_end_it() {
        let failed = Failed::for_good(StepError::usage("no"));
        assert_eq!(Retry::new(5).delay(&failed, 1, "a"), None);
        assert!(Retry::new(1).delay(&passing(None), 1, "a").is_some());
        assert_eq!(Retry::new(1).delay(&passing(None), 2, "a"), None);
        assert_eq!(Retry::new(0).delay(&passing(None), 1, "a"), None);
    }

    #[test]
    fn server_delay_is_read_in_seconds_or_by_the_servers_own_clock() {
        let with = |pairs: &[(HeaderName, &'static str)]| {
            let pairs = pairs.iter().cloned();
            retry_after(
                &pairs.map(|(name, value)| (name, HeaderValue::from_static(value))).collect(),
            )
        };
        assert_eq!(with(&[(RETRY_AFTER, "7")]), Some(Span::from_seconds(7)));
        let (now, then) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(with(&[(RETRY_AFTER, then), (DATE, now)]), Some(Span::from_seconds(30)));
        assert_eq!(with(&[(RETRY_AFTER, now), (DATE, then)]), Some(Span::ZERO));
        assert_eq!(with(&[(RETRY_AFTER, "soon")]), None);
        assert_eq!(with(&[]), None);
    }
}
