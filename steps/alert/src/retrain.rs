//! Asks for a training while drift lasts, where the document wants one: once in so long a time.
//!
//! The request lies in the store, where one run alone can put it. Whoever starts trainings takes it
//! from there: `lynceus score` notes that it has, and a workflow is named after it, so that it is
//! there once however often it is asked for.

use contract::artifact::write_file;
use contract::steps::AlertArgs;
use contract::{ErrorKind, Outcome, Span, StepError, Timestamp};
use document::Document;
use serde::{Deserialize, Serialize};
use store::{ObjectStore, state};

/// Name of the state.
pub const STATE: &str = "retrain";
/// Time in which a run writes a request for a workflow: enough ticks to outlive one that fails.
const TOLD: Span = Span::from_seconds(180);

/// `state/<pipeline>/retrain.json`: the last training that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Version of this format.
    pub format: u32,
    /// The present of the run that asked.
    pub asked: Timestamp,
    /// Says that a training was started for it.
    #[serde(default)]
    pub started: bool,
}

impl Request {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Says that nobody has started a training for it, and that it was asked for lately.
    pub fn is_open(&self, now: Timestamp, within: Span) -> bool {
        !self.started && self.is_near(now, within)
    }

    /// Says that it was asked for within a time of `now`, before or, for a clock that jumps, after.
    fn is_near(&self, now: Timestamp, within: Span) -> bool {
        now < self.asked + within && self.asked < now + within
    }
}

/// Puts a request where there is drift and the pause since the last one is over, and writes the one
/// that is open, if somebody wants to read it.
///
/// Errors: those of the store and of the file, but not that another run was quicker.
pub(crate) fn ask(
    store: &dyn ObjectStore,
    document: &Document,
    args: &AlertArgs,
    drifts: bool,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let mut open = None;
    if let Some(settings) = &document.scoring.drift.retrain {
        let stored = state::read::<Request>(store, &document.name, STATE)?;
        let etag = stored.as_ref().map(|stored| stored.etag.as_str());
        let mut request = stored.as_ref().map(|stored| stored.value.clone());
        if drifts && !request.as_ref().is_some_and(|last| last.is_near(args.now, settings.pause)) {
            let new = Request { format: Request::FORMAT, asked: args.now, started: false };
            match state::write(store, &document.name, STATE, &new, etag) {
                Err(error) if error.kind == ErrorKind::LostRace => {}
                written => {
                    written?;
                    outcome.count("trainings_asked", 1);
                    request = Some(new);
                }
            }
        }
        open = request.filter(|request| request.is_open(args.now, TOLD));
    }
    let Some(file) = &args.retrain else { return Ok(()) };
    let name = open.map(|request| request.asked.compact().to_lowercase()).unwrap_or_default();
    write_file(file, name.as_bytes())
}
