//! State from which the next run resumes, changed by compare-and-set.

use contract::{OTHER_VERSION_HINT, StepError, Timestamp};
use store::{ObjectStore, Stored, state};

use crate::lease;
use crate::state_machine::Tracks;

/// State from which the next run resumes.
pub type AlertState = contract::alerts::AlertState<Tracks>;

/// Handle that reads and writes the state.
#[derive(Debug)]
pub(crate) struct Keeper<'a> {
    store: &'a dyn ObjectStore,
    pipeline: &'a str,
    /// `ETag` of the stored state; `None` if there is no state yet.
    etag: Option<String>,
}

impl<'a> Keeper<'a> {
    /// Reads the state.
    ///
    /// Errors: lost race while another run is sending; refused for a state of another format.
    pub(crate) fn open(
        store: &'a dyn ObjectStore,
        pipeline: &'a str,
        now: Timestamp,
    ) -> Result<(Self, AlertState), StepError> {
        let stored = state::read::<AlertState>(store, pipeline, AlertState::NAME)?;
        let (etag, state) = match stored {
            Some(Stored { value, etag }) => (Some(etag), value),
            None => (None, AlertState::default()),
        };
        if state.format != AlertState::FORMAT {
            return Err(StepError::refused(format!(
                "`{}` has format {}, this version reads format {}",
                store.shown(&state::key(pipeline, AlertState::NAME)),
                state.format,
                AlertState::FORMAT
            ))
            .hint(OTHER_VERSION_HINT));
        }
        match &state.lease {
            Some(lease) if lease::is_held(lease, now) => Err(StepError::lost_race(format!(
                "another run has been sending the alerts of `{pipeline}` since {}",
                lease.since
            ))
            .hint("that run or the next one sends the remaining messages")),
            _ => Ok((Self { store, pipeline, etag }, state)),
        }
    }

    /// Writes the state if no other run has written it since it was read.
    pub(crate) fn save(&mut self, state: &AlertState) -> Result<(), StepError> {
        let expected = self.etag.as_deref();
        self.etag =
            Some(state::write(self.store, self.pipeline, AlertState::NAME, state, expected)?);
        Ok(())
    }
}
