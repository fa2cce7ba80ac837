//! Pending messages: they are sent through the channels, removed one by one, and kept for the next
//! run if a channel fails.

mod kept;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use contract::deadline::waits_for;
use contract::{Span, StepError, Timestamp};
use document::alerts::Send;

pub use kept::{MAX_PENDING, Pending, Refused, Sent, Trouble, forget_unknown, shorten};

use crate::AlertState;
use crate::channels::{Channel, Failure, LONGEST_PAUSE, MANY_REFUSALS};
use crate::message::{self, Alert, ChannelNews, Message};
use crate::wording::Wording;

/// Seconds after which a run sends no further messages, so that its lease does not expire while it
/// sends. The next run sends the rest.
pub const SENDING_SECONDS: u64 = 90;
/// Time of a run's deadline that is reserved for the last message: the timeout of one request.
const LAST_MESSAGE: Span = Span::from_seconds(10);
/// Maximum number of seconds that a slow channel may use of a run.
const CHANNEL_SECONDS: u64 = 20;

/// Time after which a failure of a channel may be caused by a single message, and after which a
/// rate-limited channel counts as failing.
const HELD: Span = Span::from_seconds(3600);
/// Age at which a message is given up, even if the channel might still be corrected.
const MENDABLE: Span = Span::from_seconds(86_400);

/// A pending message that a channel did not accept.
struct Refusal<'a> {
    /// Its number among the pending messages.
    index: usize,
    channel: &'a str,
    failure: Failure,
}

/// Returns the time after which a run with this deadline sends no further messages.
pub(crate) fn sending_time(deadline: Option<Span>) -> Duration {
    let longest = Duration::from_secs(SENDING_SECONDS);
    deadline.map_or(longest, |deadline| {
        let deadline = deadline.to_std();
        deadline.saturating_sub(LAST_MESSAGE.to_std()).max(deadline / 3).min(longest)
    })
}

/// Result for a run's messages.
#[derive(Debug, Default)]
pub struct Delivery {
    /// What was sent.
    pub sent: Vec<Sent>,
    /// The channels that failed, by name.
    pub failed: BTreeMap<String, StepError>,
    /// The rate-limited channels, and until when.
    pub paused: BTreeMap<String, Timestamp>,
    /// The messages that were given up.
    pub refused: Vec<Refused>,
    /// Messages that a channel rejected and that are not given up yet: the channel's name and the
    /// reason.
    pub doubted: Vec<(String, StepError)>,
    /// Why a message could not be written as an object of the store.
    pub unkept: Option<StepError>,
    /// Time of the run that each channel has used.
    spent: BTreeMap<String, Duration>,
}

/// Sends the pending messages.
pub struct Sender<'a> {
    /// The channels, the preferred one first.
    pub channels: Vec<Box<dyn Channel>>,
    /// Which of the channels get a message.
    pub send: Send,
    /// Evaluation time of the run.
    pub now: Timestamp,
    /// Makes the texts of messages that are created while sending.
    pub wording: &'a Wording<'a>,
    /// The pipeline.
    pub pipeline: &'a str,
    /// Time after which no further messages are sent.
    pub time: Duration,
    /// Writes a message as an object of the store.
    pub keep: &'a mut dyn FnMut(&Message) -> Result<(), StepError>,
    /// Saves the state.
    pub save: &'a mut dyn FnMut(&AlertState) -> Result<(), StepError>,
}

impl std::fmt::Debug for Sender<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

impl Sender<'_> {
    /// Returns whether there is a message that can be sent to some channel now, or that is not in
    /// the store yet.
    pub fn has_work(&self, state: &AlertState) -> bool {
        let waits = |name: &String| self.pause(name, state).is_some();
        let is_due = |pending: &Pending| !pending.is_kept || !pending.channels.iter().all(waits);
        state.pending.iter().any(is_due)
    }

    /// Sends the pending messages, oldest first, and saves the state after each message that a
    /// channel accepted. A failing channel is not tried again in this run; the others get a message
    /// about it, and their own messages. A rejected message does not block later ones.
    ///
    /// Errors: those of `save`; a failing channel is not an error.
    pub fn deliver(
        &mut self,
        state: &mut AlertState,
        delivery: &mut Delivery,
    ) -> Result<(), StepError> {
        let started = Instant::now();
        // Channels that worked before get their messages first, so a channel that does not reply
        // cannot delay them. With `send: first` the order of the document is used.
        let dead: Vec<String> = match self.send {
            Send::All => self.names().filter(|name| state.is_failing(name)).collect(),
            Send::First => Vec::new(),
        };
        let (alive, all) = (|name: &str| !dead.iter().any(|dead| dead == name), |_: &str| true);
        self.pass(state, delivery, started, &alive)?;
        if !dead.is_empty() {
            self.pass(state, delivery, started, &all)?;
        }
        // A failing channel counts as failing until it accepts a message, whatever it replies.
        let is_dead = |name: &String| state.is_failing(name);
        delivery.failed.extend(delivery.doubted.extract_if(.., |(name, _)| is_dead(name)));
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.channels.iter().map(|channel| channel.name().to_owned())
    }

    /// Sends the pending messages through some of the channels.
    fn pass(
        &mut self,
        state: &mut AlertState,
        delivery: &mut Delivery,
        started: Instant,
        takes_part: &dyn Fn(&str) -> bool,
    ) -> Result<(), StepError> {
        let mut index = 0;
        while index < state.pending.len() {
            let message = state.pending[index].message.clone();
            self.keep_message(&mut state.pending[index], delivery);
            for number in 0..self.channels.len() {
                let name = self.channels[number].name().to_owned();
                let waiting = state.pending[index].channels.contains(&name) && takes_part(&name);
                if !waiting || self.is_out(&name, state, delivery, started) {
                    continue;
                }
                let begun = Instant::now();
                waits_for(&format!("channel `{name}`"));
                let result = self.channels[number].send(&message, self.now);
                *delivery.spent.entry(name.clone()).or_default() += begun.elapsed();
                if let Err(failure) = result {
                    let refusal = Refusal { index, channel: &name, failure };
                    self.failed(refusal, state, delivery);
                } else {
                    if state.is_failing(&name) {
                        // A failure while the channel was unreachable is not a rejection.
                        for pending in &mut state.pending[index..] {
                            pending.refusals.remove(&name);
                        }
                    }
                    self.note(&name, Ok(()), state, delivery);
                    let waiting = &mut state.pending[index].channels;
                    match self.send {
                        Send::All => waiting.retain(|other| *other != name),
                        Send::First => waiting.clear(),
                    }
                    state.note_told(&message, &name);
                    delivery.note_sent(&message, name);
                    // If the run is killed after this, the next run repeats nothing.
                    (self.save)(state)?;
                }
            }
            if state.pending[index].channels.is_empty() {
                state.pending.remove(index);
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    /// Writes a message as an object of the store before it is sent. If that fails, the message is
    /// sent anyway.
    fn keep_message(&mut self, pending: &mut Pending, delivery: &mut Delivery) {
        if pending.is_kept {
            return;
        }
        match (self.keep)(&pending.message) {
            Ok(()) => pending.is_kept = true,
            Err(error) => delivery.unkept = Some(error),
        }
    }

    /// Sends firing alerts to the channels that need them repeatedly; with `send: first` only to
    /// the first channel that can be reached.
    pub fn refresh(&mut self, state: &mut AlertState, delivery: &mut Delivery) {
        let firing: Vec<Alert> = state.firing.clone();
        if firing.is_empty() {
            return;
        }
        let started = Instant::now();
        for number in 0..self.channels.len() {
            let name = self.channels[number].name().to_owned();
            if !self.is_out(&name, state, delivery, started)
                && let Some(result) =
                    self.channels[number].refresh(self.pipeline, &firing, self.now)
            {
                match result {
                    Err(Failure { error, give_up_after: Some(_), .. }) => {
                        delivery.doubted.push((name.clone(), error));
                    }
                    result => self.note(&name, result, state, delivery),
                }
            }
            if self.send == Send::First && !state.is_failing(&name) {
                return;
            }
        }
    }

    /// Records that a channel did not accept a message: the channel rejected it, or failed.
    fn failed(
        &self,
        Refusal { index, channel: name, mut failure }: Refusal<'_>,
        state: &mut AlertState,
        delivery: &mut Delivery,
    ) {
        let trouble = state.trouble.get(name).cloned().unwrap_or_default();
        let is_long =
            |since: Option<Timestamp>| since.is_some_and(|since| self.now >= since + HELD);
        // A channel that is rate-limited for this long counts as failing.
        failure.is_limit &= !is_long(trouble.limited_since);
        let is_suspect = failure.may_be_the_message
            && (is_long(trouble.failing_since) || state.pending[index].refusals.contains_key(name));
        match failure.give_up_after.or(is_suspect.then_some(MANY_REFUSALS)) {
            Some(limit) => {
                let refusal = Refusal { index, channel: name, failure };
                self.refused(refusal, limit, state, delivery);
            }
            None => self.note(name, Err(failure), state, delivery),
        }
    }

    /// Records that a channel rejected a message. After `limit` rejections the other channels get a
    /// message about it, once until the channel accepts a message again, and the message is given
    /// up: immediately if one rejection is enough, otherwise after a day in which the channel can
    /// be corrected. A failure of an unreachable channel is not a rejection.
    fn refused(
        &self,
        Refusal { index, channel: name, failure }: Refusal<'_>,
        limit: u32,
        state: &mut AlertState,
        delivery: &mut Delivery,
    ) {
        let Failure { error, may_be_the_message, .. } = failure;
        let is_dead = may_be_the_message && state.is_failing(name);
        let pending = &mut state.pending[index];
        let refusals = pending.refusals.entry(name.to_owned()).or_default();
        *refusals += 1;
        // If another channel can accept the message, no second rejection is needed.
        let is_last = self.send == Send::All || pending.channels.len() == 1;
        let is_refused = (*refusals >= limit || !is_last) && !is_dead;
        let may_be_mended = limit > 1 && self.now < pending.message.time + MENDABLE;
        let message = pending.message.clone();
        if is_refused && pending.complained.insert(name.to_owned()) {
            self.complain(name, &error.message, &message, state);
        }
        if !is_refused || may_be_mended {
            delivery.doubted.push((name.to_owned(), error));
            return;
        }
        state.pending[index].channels.retain(|other| other != name);
        let refused =
            Refused { message, channel: name.to_owned(), time: self.now, why: error.message };
        state.bury(refused.clone());
        delivery.refused.push(refused);
    }

    /// Notifies the other channels that a channel rejects a message, unless they were notified
    /// before.
    fn complain(&self, name: &str, why: &str, message: &Message, state: &mut AlertState) {
        // Two channels that reject everything must not send messages about each other forever.
        if message.channel.is_some() {
            return;
        }
        let trouble = state.trouble.entry(name.to_owned()).or_default();
        trouble.why = Some(why.to_owned());
        if trouble.refusing_since.is_some() {
            return;
        }
        trouble.refusing_since = Some(self.now);
        let news = ChannelNews {
            name: name.to_owned(),
            since: self.now,
            why: Some(why.to_owned()),
            refused: Some(message.title.clone()),
        };
        self.tell_others(news, state);
    }

    /// Returns until when a channel is rate-limited. A time further ahead than the maximum was set
    /// by a clock that was wrong, and is ignored.
    fn pause(&self, name: &str, state: &AlertState) -> Option<Timestamp> {
        let until = state.trouble.get(name)?.not_before?;
        (until > self.now && until <= self.now + LONGEST_PAUSE).then_some(until)
    }

    /// Returns whether a channel must not be used in this run.
    fn is_out(
        &self,
        name: &str,
        state: &AlertState,
        delivery: &mut Delivery,
        started: Instant,
    ) -> bool {
        if let Some(until) = self.pause(name, state) {
            delivery.paused.insert(name.to_owned(), until);
            return true;
        }
        let spent = delivery.spent.get(name).copied().unwrap_or_default();
        delivery.failed.contains_key(name)
            || spent >= Duration::from_secs(CHANNEL_SECONDS)
            || started.elapsed() >= self.time
    }

    /// Records the reply of a channel, and notifies the others if its state has changed.
    fn note(
        &self,
        name: &str,
        result: Result<(), Failure>,
        state: &mut AlertState,
        delivery: &mut Delivery,
    ) {
        let before = state.trouble.get(name).cloned().unwrap_or_default();
        let failing_since = before.failing_since;
        let news = |since, why| ChannelNews { name: name.to_owned(), since, why, refused: None };
        let Err(failure) = result else {
            state.trouble.remove(name);
            if let Some(since) = failing_since {
                self.tell_others(news(since, None), state);
            }
            return;
        };
        let not_before = failure.retry_after.map(|pause| self.now + pause);
        delivery.paused.extend(not_before.map(|until| (name.to_owned(), until)));
        if failure.is_limit {
            let limited_since = before.limited_since.or(Some(self.now));
            let trouble = Trouble { limited_since, not_before, ..before };
            state.trouble.insert(name.to_owned(), trouble);
            return;
        }
        let why = Some(failure.error.message.clone());
        delivery.failed.insert(name.to_owned(), failure.error);
        let since = failing_since.unwrap_or(self.now);
        let trouble =
            Trouble { failing_since: Some(since), not_before, why: why.clone(), ..before };
        state.trouble.insert(name.to_owned(), trouble);
        if failing_since.is_none() {
            self.tell_others(news(since, why), state);
        }
    }

    /// Adds a message about a channel for all others.
    fn tell_others(&self, news: ChannelNews, state: &mut AlertState) {
        let channels: Vec<String> = self.names().filter(|other| *other != news.name).collect();
        if !channels.is_empty() {
            let message = message::of_channel(self.pipeline, news, self.now);
            state.pending.push(Pending::new(self.wording.apply(message), channels));
        }
    }
}

impl Delivery {
    fn note_sent(&mut self, message: &Message, channel: String) {
        // A channel that was unreachable gets the message later than the other channels, and after
        // older messages.
        match self.sent.iter_mut().find(|sent| sent.message.key == message.key) {
            Some(sent) => sent.channels.push(channel),
            None => self.sent.push(Sent { message: message.clone(), channels: vec![channel] }),
        }
    }
}
