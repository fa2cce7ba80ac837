//! Sends segments to their destinations, each on a separate thread: a slow or unreachable
//! destination delays neither samples nor other destinations.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use contract::{SYSTEM_HINT, Span, StepError, Timestamp};
use store::ObjectStore;

use super::send::{Outbox, Sent};
use super::{DAY, Place, compact};

/// Time between the end of a day and its compaction.
const AFTER_DAY: Span = Span::from_seconds(600);

/// Result of one round.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Number of segments that were sent.
    pub(crate) sent: usize,
    /// The failures, in sentences.
    pub(crate) failures: Vec<String>,
}

/// A thread that sends segments; it ends when this handle is dropped, after the current round.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// Name of the destination, for messages.
    to: String,
    rounds: Sender<Timestamp>,
    carried: Receiver<Carried>,
    /// A round has started and its result was not reported yet.
    is_busy: bool,
    /// The current round started before the last call of [`Carrier::begin`].
    is_old: bool,
}

impl Carrier {
    /// Starts a thread that runs a round on request.
    ///
    /// Errors: unavailable if the thread cannot be started.
    pub(crate) fn start(
        to: String,
        mut round: impl FnMut(Timestamp) -> Carried + Send + 'static,
    ) -> Result<Self, StepError> {
        let (rounds, due) = channel();
        let (done, carried) = channel();
        let run = move || {
            for time in due {
                // No one waits for the last round of a recorder that has ended.
                drop(done.send(round(time)));
            }
        };
        let thread = std::thread::Builder::new().name("carrier".to_owned()).spawn(run);
        thread.map_err(|error| {
            StepError::unavailable(format!("cannot start a thread: {error}")).hint(SYSTEM_HINT)
        })?;
        Ok(Self { to, rounds, carried, is_busy: false, is_old: false })
    }

    /// Starts a round at `time`, unless one is still running.
    pub(crate) fn begin(&mut self, time: Timestamp) {
        self.is_old = self.is_busy;
        if !self.is_busy {
            // If the thread has ended, the end of the round reports it.
            self.rounds.send(time).unwrap_or_default();
            self.is_busy = true;
        }
    }

    /// Waits for the round's end, but not after `until`: then the round continues, and a later call
    /// reports it.
    pub(crate) fn end(&mut self, time: Timestamp, until: Instant) -> Carried {
        let mut all = Carried::default();
        while self.is_busy {
            let left = until.saturating_duration_since(Instant::now());
            match self.carried.recv_timeout(left) {
                Ok(carried) => {
                    self.is_busy = false;
                    all.sent += carried.sent;
                    all.failures.extend(carried.failures);
                    // The round does not include segments that were closed after its start.
                    if self.is_old {
                        self.begin(time);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let what = "samples wait on the spool: there is no answer yet";
                    all.failures.push(format!("{}: {what}", self.to));
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let what = "samples wait on the spool: the sending has ended";
                    all.failures.push(format!("{}: {what}", self.to));
                    break;
                }
            }
        }
        all
    }
}

/// Sender to the store.
#[derive(Debug)]
pub(crate) struct ToStore {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) sources: Vec<(Place, Outbox)>,
    /// Folder for temporary files.
    pub(crate) work: PathBuf,
    /// The last day that was compacted.
    pub(crate) compacted: Option<Timestamp>,
}

impl ToStore {
    /// Sends the waiting segments, and compacts past days.
    pub(crate) fn round(&mut self, time: Timestamp) -> Carried {
        let mut carried = Carried::default();
        for (place, outbox) in &self.sources {
            match outbox.send(self.store.as_ref(), place) {
                Ok(Sent { segments, dropped }) => {
                    carried.sent += segments;
                    if dropped > 0 {
                        let what = "segments were dropped: the spool is full";
                        carried.failures.push(format!("{dropped} {what}"));
                    }
                }
                Err(error) => {
                    carried.failures.push(format!("segments wait on the spool: {error}"));
                }
            }
        }
        carried.failures.extend(self.compact(time).err());
        carried
    }

    /// Compacts the previous day, some time after its end.
    fn compact(&mut self, time: Timestamp) -> Result<(), String> {
        let before = (time - AFTER_DAY).floor(DAY) - DAY;
        if self.compacted.is_some_and(|compacted| compacted >= before) {
            return Ok(());
        }
        for (place, _) in &self.sources {
            fs_err::create_dir_all(&self.work)
                .map_err(|error| StepError::writing(&self.work, &error))
                .and_then(|()| compact(self.store.as_ref(), place, before, &self.work))
                .map_err(|error| format!("compaction of {}: {error}", before.date()))?;
        }
        self.compacted = Some(before);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn round_that_takes_long_is_waited_for_later_and_what_came_meanwhile_gets_its_own() {
        let (go, gate) = channel::<()>();
        let mut rounds = 0;
        let mut carrier = Carrier::start("store".to_owned(), move |_| {
            gate.recv().unwrap_or_default();
            rounds += 1;
            Carried { sent: rounds, failures: Vec::new() }
        })
        .unwrap();
        let time = Timestamp::from_ms(0);
        let now = Instant::now();
        carrier.begin(time);
        let carried = carrier.end(time, now);
        assert_eq!(carried.failures, ["store: samples wait on the spool: there is no answer yet"]);
        go.send(()).unwrap();
        go.send(()).unwrap();
        carrier.begin(time);
        let carried = carrier.end(time, now + Duration::from_mins(10));
        assert_eq!((carried.sent, carried.failures.len()), (1 + 2, 0));
    }
}
