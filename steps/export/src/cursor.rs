//! The position of a sink in the score objects: `state/<pipeline>/export-<sink>.json`.

use contract::score::{Drift, WindowScore};
use contract::{OTHER_VERSION_HINT, Span, StepError, Timestamp};
use serde::{Deserialize, Serialize};
use store::{ObjectStore, Stored, state};

use crate::sinks::Failure;

/// Time after which the same failure is reported again.
const REPORTED_EVERY: Span = Span::from_seconds(3600);

/// The position of a sink, and what it needs from earlier windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// Version of this format.
    pub format: u32,
    /// End of the last window that was published, or that the sink rejected permanently.
    pub exported_to: Timestamp,
    /// Windows since the first run with this sink.
    pub windows_total: u64,
    /// The last drift report of a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Failure of the last run; `None` if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
}

/// A failing sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when it fails, for any reason.
    pub since: Timestamp,
    /// Time of the last report of the failure.
    pub reported: Timestamp,
    /// Kind of the failure, to distinguish it from others: the HTTP status, or why there was none.
    pub kind: String,
    /// The last failure in words.
    pub why: String,
}

impl Cursor {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    pub(crate) fn new(exported_to: Timestamp) -> Self {
        Self { format: Self::FORMAT, exported_to, windows_total: 0, drift: None, failing: None }
    }

    /// Reads the cursor of a sink; `None` before the first run with it. One of another format is
    /// refused.
    pub fn read(
        store: &dyn ObjectStore,
        pipeline: &str,
        sink: &str,
    ) -> Result<Option<Stored<Self>>, StepError> {
        let stored: Option<Stored<Self>> = state::read(store, pipeline, &name(sink))?;
        match stored.as_ref().map(|stored| stored.value.format) {
            None | Some(Self::FORMAT) => Ok(stored),
            Some(format) => Err(StepError::refused(format!(
                "`{}` has format {format}, this version reads format {}",
                store.shown(&state::key(pipeline, &name(sink))),
                Self::FORMAT
            ))
            .hint(OTHER_VERSION_HINT)),
        }
    }

    pub(crate) fn write(
        &self,
        store: &dyn ObjectStore,
        pipeline: &str,
        sink: &str,
        etag: Option<&str>,
    ) -> Result<(), StepError> {
        state::write(store, pipeline, &name(sink), self, etag).map(drop)
    }

    /// Advances the cursor past windows.
    pub(crate) fn follow(&mut self, windows: &[WindowScore]) {
        for window in windows {
            self.exported_to = window.time;
            self.windows_total += 1;
            if let Some(drift) = &window.drift {
                self.drift = Some(drift.clone());
            }
        }
    }

    /// Records the result of a run, and returns whether it must be reported.
    pub(crate) fn note(&mut self, failure: Option<&Failure>, now: Timestamp) -> bool {
        let Some(failure) = failure else {
            self.failing = None;
            return false;
        };
        let before = self.failing.take();
        let is_same = |before: &&Failing| {
            let lately =
                now < before.reported + REPORTED_EVERY && before.reported < now + REPORTED_EVERY;
            before.kind == failure.kind && lately
        };
        let reported = before.as_ref().filter(is_same).map(|before| before.reported);
        self.failing = Some(Failing {
            since: before.map_or(now, |before| before.since),
            reported: reported.unwrap_or(now),
            kind: failure.kind.clone(),
            why: failure.error.message.clone(),
        });
        reported.is_none()
    }
}

fn name(sink: &str) -> String {
    format!("export-{sink}")
}
