//! Requests a training while drift lasts, if the document enables it, at most once per pause.
//!
//! The request is in the store, where only one run can write it. `lynceus score` reads the request
//! and records that a training was started.

use contract::{ErrorKind, Outcome, Span, StepError, Timestamp};
use document::sections::Alert as Sections;
use serde::{Deserialize, Serialize};
use store::{ObjectStore, state};

/// Name of the state.
pub const STATE: &str = "retrain";

/// `state/<pipeline>/retrain.json`: the last training that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Version of this format.
    pub format: u32,
    /// Evaluation time of the run that made the request.
    pub asked: Timestamp,
    /// Whether a training was started for it.
    #[serde(default)]
    pub started: bool,
}

impl Request {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Returns whether no training was started for it yet and the request is recent.
    pub fn is_open(&self, now: Timestamp, within: Span) -> bool {
        !self.started && self.is_near(now, within)
    }

    /// Returns whether the request is at most `within` from `now`: before it or, if the clock
    /// jumped, after it.
    fn is_near(&self, now: Timestamp, within: Span) -> bool {
        now < self.asked + within && self.asked < now + within
    }
}

/// Makes a request if there is drift and the minimum time since the last request has passed.
///
/// Errors: those of the store, except a lost race with another run.
pub(crate) fn ask(
    store: &dyn ObjectStore,
    document: &Sections,
    now: Timestamp,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let Some(settings) = &document.scoring.drift.retrain else { return Ok(()) };
    let stored = state::read::<Request>(store, &document.name, STATE)?;
    if stored.as_ref().is_some_and(|last| last.value.is_near(now, settings.pause)) {
        return Ok(());
    }
    let etag = stored.as_ref().map(|last| last.etag.as_str());
    let request = Request { format: Request::FORMAT, asked: now, started: false };
    match state::write(store, &document.name, STATE, &request, etag) {
        Err(error) if error.kind == ErrorKind::LostRace => {}
        written => {
            written?;
            outcome.count("trainings_asked", 1);
        }
    }
    Ok(())
}
