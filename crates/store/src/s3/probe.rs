//! Tests whether a store honours conditional writes.
//!
//! Before its first write of each kind, a process tries a write with a false condition, on an
//! object that is never read. A store that writes anyway is refused, because two writers could
//! overwrite each other.

use std::sync::atomic::{AtomicBool, Ordering};

use contract::StepError;

use super::put::Answer;
use super::{Bucket, HIDDEN};
use crate::object::Condition;

/// Results of the tests in this process so far.
#[derive(Debug, Default)]
pub(super) struct Probe {
    if_absent: AtomicBool,
    if_match: AtomicBool,
}

const CONTENT: &[u8] = b"Lynceus tries here whether conditional writes are honoured.\n";

impl Bucket {
    /// Checks, once per process, that the store honours this write condition.
    pub(super) async fn check_condition(&self, condition: Condition<'_>) -> Result<(), StepError> {
        let (known, tried) = match condition {
            Condition::Any => return Ok(()),
            Condition::IfAbsent => (&self.probe.if_absent, Condition::IfAbsent),
            // The tag of no content: tags are hashes.
            Condition::IfMatch(_) => (&self.probe.if_match, Condition::IfMatch("\"none\"")),
        };
        if known.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut answer = self.try_condition(tried).await?;
        if condition == Condition::IfAbsent && matches!(answer, Answer::Written(_)) {
            // The very first process creates the object; later processes find it.
            answer = self.try_condition(tried).await?;
        }
        if matches!(answer, Answer::Written(_)) {
            return Err(self.ignores(condition));
        }
        known.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Tests whether the server accepts checksum headers, if this is still unknown: a multipart
    /// upload cannot be repeated without them.
    pub(super) async fn check_checksums(&self) -> Result<(), StepError> {
        if self.has_written.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.try_condition(Condition::Any).await.map(drop)
    }

    async fn try_condition(&self, condition: Condition<'_>) -> Result<Answer, StepError> {
        let key = format!("{}{HIDDEN}/conditional-writes", self.prefix);
        self.put_once(&key, CONTENT.to_vec().into(), condition, &self.write_mark()).await
    }

    /// Makes the error for a store without working conditions.
    pub(super) fn ignores(&self, condition: Condition<'_>) -> StepError {
        let header = match condition {
            Condition::IfMatch(_) => "If-Match",
            Condition::Any | Condition::IfAbsent => "If-None-Match",
        };
        StepError::usage(format!(
            "the server behind store `{}` at `{}` does not honour `{header}`: two writers could \
             overwrite each other",
            self.url, self.endpoint
        ))
        .hint("use a server with conditional writes: minio/README.md names some")
    }
}
