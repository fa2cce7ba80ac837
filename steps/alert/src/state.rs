//! What the next run carries on from, changed by compare-and-set.

use std::collections::BTreeMap;

use contract::{OTHER_VERSION_HINT, StepError, Timestamp};
use serde::{Deserialize, Serialize};
use store::{ObjectStore, Stored, state};

use crate::lease::Lease;
use crate::machine::{Change, Tracks};
use crate::message::{Alert, Message, Status};
use crate::outbox::{Pending, Refused, Trouble};
use crate::stalled::Progress;

const STATE: &str = "alerts";
/// Trainings whose message is remembered.
const TRAININGS: usize = 20;
/// Messages that were given up and can still be read.
const REFUSED: usize = 20;

/// Sent messages that are remembered.
const TOLD: usize = 100;

/// A sent message, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The message's key.
    pub key: String,
    /// End of the last window it reports, or the evaluation time of what it reports.
    pub time: Timestamp,
    /// One line of it.
    pub title: String,
    /// Whether it is worth waking someone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// Names of the channels that took it.
    pub channels: Vec<String>,
}

/// `state/<pipeline>/alerts.json`: what the next run carries on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertState {
    /// Version of this format.
    pub format: u32,
    /// End of the last window that was looked at.
    pub told_to: Option<Timestamp>,
    /// Where each entity stands.
    pub tracks: Tracks,
    /// Firing alerts as of the last message, in the order of entities and kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firing: Vec<Alert>,
    /// How far scoring came, and whether it has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Messages that have not reached every channel, oldest first.
    pub pending: Vec<Pending>,
    /// The last messages that a channel permanently rejected, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// The last sent messages, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Told>,
    /// Channels that do not work as they should, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trouble: BTreeMap<String, Trouble>,
    /// Keys of the messages about the last trainings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trainings: Vec<String>,
    /// The run that is sending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

impl AlertState {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Keeps what is firing up to date with what changed.
    pub(crate) fn note(&mut self, changes: &[Change<'_>]) {
        for change in changes {
            self.note_alert(Alert::of(change.clone()));
        }
    }

    /// Keeps what is firing up to date with one alert that changed.
    pub(crate) fn note_alert(&mut self, alert: Alert) {
        self.firing.retain(|other| !other.is_same(&alert));
        if alert.status == Status::Firing {
            let name = |alert: &Alert| (alert.entity.clone(), alert.kind);
            let place = self.firing.partition_point(|other| name(other) < name(&alert));
            self.firing.insert(place, alert);
        }
    }

    /// Returns whether a channel cannot be reached.
    pub(crate) fn is_failing(&self, channel: &str) -> bool {
        self.trouble.get(channel).is_some_and(|trouble| trouble.failing_since.is_some())
    }

    /// Keeps a message that was given up, so that it can be read.
    pub(crate) fn bury(&mut self, refused: Refused) {
        self.refused.push(refused);
        let surplus = self.refused.len().saturating_sub(REFUSED);
        self.refused.drain(..surplus);
    }

    /// Remembers that a channel took a message.
    pub(crate) fn note_told(&mut self, message: &Message, channel: &str) {
        match self.told.iter_mut().rev().find(|told| told.key == message.key) {
            Some(told) => told.channels.push(channel.to_owned()),
            None => self.told.push(Told {
                key: message.key.clone(),
                time: message.time,
                title: message.title.clone(),
                urgent: message.urgent,
                channels: vec![channel.to_owned()],
            }),
        }
        self.told.drain(..self.told.len().saturating_sub(TOLD));
    }

    /// Remembers the message about a training; returns whether it is a new one.
    pub(crate) fn is_new_training(&mut self, key: &str) -> bool {
        if self.trainings.iter().any(|other| other == key) {
            return false;
        }
        self.trainings.push(key.to_owned());
        let surplus = self.trainings.len().saturating_sub(TRAININGS);
        self.trainings.drain(..surplus);
        true
    }
}

impl Default for AlertState {
    fn default() -> Self {
        Self {
            format: Self::FORMAT,
            told_to: None,
            tracks: Tracks::default(),
            firing: Vec::new(),
            progress: None,
            pending: Vec::new(),
            told: Vec::new(),
            refused: Vec::new(),
            trouble: BTreeMap::new(),
            trainings: Vec::new(),
            lease: None,
        }
    }
}

/// The one who may change the state.
#[derive(Debug)]
pub(crate) struct Keeper<'a> {
    store: &'a dyn ObjectStore,
    pipeline: &'a str,
    /// Tag of what is in the store; nothing where there is no state yet.
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
        let stored = state::read::<AlertState>(store, pipeline, STATE)?;
        let (etag, state) = match stored {
            Some(Stored { value, etag }) => (Some(etag), value),
            None => (None, AlertState::default()),
        };
        if state.format != AlertState::FORMAT {
            return Err(StepError::refused(format!(
                "`{}` has format {}, this version reads format {}",
                store.shown(&state::key(pipeline, STATE)),
                state.format,
                AlertState::FORMAT
            ))
            .hint(OTHER_VERSION_HINT));
        }
        match &state.lease {
            Some(lease) if lease.is_held(now) => Err(StepError::lost_race(format!(
                "another run has been sending the alerts of `{pipeline}` since {}",
                lease.since
            ))
            .hint("that run or the next one sends the remaining messages")),
            _ => Ok((Self { store, pipeline, etag }, state)),
        }
    }

    /// Writes the state if no other run has since.
    pub(crate) fn save(&mut self, state: &AlertState) -> Result<(), StepError> {
        let expected = self.etag.as_deref();
        self.etag = Some(state::write(self.store, self.pipeline, STATE, state, expected)?);
        Ok(())
    }
}
