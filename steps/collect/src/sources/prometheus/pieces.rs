//! The answer to one query for a time range, requested in pieces if the server cannot return it as
//! a whole.
//!
//! A request that is too large is halved, and all later requests keep this size. A time range that
//! the server refuses to evaluate, or for which it fails or replies incompletely, is bisected until
//! the windows that cannot be fetched are known. They become gaps, and the rest is used.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use client::{LONGEST_DELAY, backoff};
use contract::coverage::GapKind;
use contract::step::RETRYING;
use contract::{Span, StepError, Timestamp};

use super::reply::Reply;
use super::request::{Failure, Load, NO_HOST, RangeQuery, Requester};
use crate::range::Grid;

/// Maximum number of requests for bisecting one time range.
const BISECTIONS: usize = 64;
/// Number of refusals in a row, without any reply, after which a query counts as refused for the
/// whole range.
const REFUSED_THROUGHOUT: usize = 16;
/// The same for a server that fails, which must not get many more requests.
const FAILED_THROUGHOUT: usize = 4;
/// An incomplete reply for fewer points than this is not bisected further, because the cause is
/// then the state of the server.
const SHORTEST_PARTIAL: usize = 16;
/// Number of failures of an overloaded server after which a request is halved; after a timeout it
/// is halved at once.
const HALVE_AFTER: u32 = 2;
/// Number of retries for a time range that is bisected because all retries failed, and for an
/// unknown host.
const SHORT_RETRIES: u32 = 1;

/// Handling of windows that cannot be fetched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Windows that end after this time wait for a later tick; `None` in a training, in which no
    /// window waits.
    pub(crate) give_up_until: Option<Timestamp>,
    /// Use incomplete answers as if they were complete.
    pub(crate) takes_partial: bool,
}

/// The answer to one query for a time range.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// Points that have no value because they could not be fetched.
    pub(crate) holes: Vec<Hole>,
    /// The early end of the answer, if it ends before the time range.
    pub(crate) stop: Option<Stop>,
}

/// Points that cannot be fetched.
#[derive(Debug, Clone)]
pub(crate) struct Hole {
    pub(crate) grid: Grid,
    pub(crate) kind: GapKind,
    pub(crate) reason: String,
}

/// The early end of an answer and its reason: the points from here on wait for a later tick.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    pub(crate) at: Timestamp,
    pub(crate) error: StepError,
    /// Whether the server replied, but incompletely.
    pub(crate) is_partial: bool,
}

/// The work on one answer.
struct Pieces<'a> {
    requester: &'a Requester,
    query: &'a RangeQuery,
    /// Pieces that are still to be requested: in order of time, followed by the halves of failed
    /// pieces, the long ones first, so that the limited number of requests finds a failing range of
    /// any length.
    rest: VecDeque<Grid>,
    answer: Answer,
    answered: bool,
    spent: usize,
    attempt: u32,
}

impl Requester {
    /// Returns the answer to a query.
    ///
    /// Errors: usage for a query or an address that cannot work, and for a query of a training that
    /// is refused for the whole range; unavailable if a training's server failed until the last
    /// retry.
    pub(crate) async fn answer(&self, query: &RangeQuery, grid: Grid) -> Result<Answer, StepError> {
        let mut pieces = Pieces {
            requester: self,
            query,
            rest: VecDeque::from([grid]),
            answer: Answer::default(),
            answered: false,
            spent: 0,
            attempt: 0,
        };
        while let Some(piece) = pieces.next() {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let failure = match self.attempt(query, piece).await {
                Ok(reply) => {
                    pieces.take(piece, reply);
                    continue;
                }
                Err(failure) => failure,
            };
            if let Some(pause) = pieces.failed(piece, failure)? {
                self.retried.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(pause).await;
            }
        }
        if !pieces.answered && pieces.answer.stop.as_ref().is_some_and(|stop| !stop.is_partial) {
            self.is_down.store(true, Ordering::Relaxed);
        }
        let throughout = pieces.answer.holes.first().filter(|_| !pieces.answered);
        if let (Some(hole), None) = (throughout, self.patience.give_up_until)
            && hole.kind == GapKind::Refused
        {
            return Err(self.refused(query, &hole.reason));
        }
        Ok(pieces.answer)
    }
}

impl Pieces<'_> {
    /// Takes the next piece, no longer than the server's known limit.
    fn next(&mut self) -> Option<Grid> {
        let mut piece = self.rest.pop_front().filter(|piece| piece.points > 0)?;
        let head = piece.take(self.requester.limits.points());
        if piece.points > 0 {
            self.rest.push_front(piece);
        }
        Some(head)
    }

    fn take(&mut self, piece: Grid, reply: Reply) {
        self.attempt = 0;
        let lacks = reply.lacks().filter(|_| !self.requester.patience.takes_partial);
        let Some(lacks) = lacks else {
            self.answered = true;
            self.requester.has_answered.store(true, Ordering::Relaxed);
            self.answer.reply.append(reply);
            return;
        };
        if piece.points > SHORTEST_PARTIAL && self.bisect(piece, REFUSED_THROUGHOUT) {
            return;
        }
        let error = self.requester.incomplete(self.query, &lacks);
        self.give_up(piece, GapKind::Incomplete, lacks, error);
    }

    /// Handles a failed attempt; returns the delay before the next one.
    fn failed(&mut self, piece: Grid, failure: Failure) -> Result<Option<Duration>, StepError> {
        match failure {
            Failure::Final(error) => Err(error),
            Failure::TooLarge { what } => self.too_large(piece, what),
            Failure::Refused { what } => {
                if !self.bisect(piece, REFUSED_THROUGHOUT) {
                    let error = self.requester.refused(self.query, &what);
                    self.give_up(piece, GapKind::Refused, what, error);
                }
                Ok(None)
            }
            Failure::Passing { what, pause, load, is_gone } => {
                self.attempt += 1;
                let attempts = self.attempt;
                let retries = u32::from(self.requester.retries);
                // An unknown host name is more likely misspelt than temporarily missing.
                let is_short = self.spent > 0 || what.starts_with(NO_HOST);
                let retries = if is_short { retries.min(SHORT_RETRIES) } else { retries };
                let is_too_long = pause.is_some_and(|pause| pause > LONGEST_DELAY);
                if attempts > retries || is_too_long {
                    return self.unavailable(piece, &what, is_gone).map(|()| None);
                }
                let is_long = match load {
                    Load::Unlikely => false,
                    Load::Possible => attempts >= HALVE_AFTER,
                    Load::Likely => true,
                };
                if is_long {
                    self.requester.limits.halve(piece.points, &what);
                }
                self.rest.push_front(piece);
                let asked = pause.unwrap_or(Span::ZERO).to_std();
                let pause = asked.max(backoff(attempts, &self.query.name));
                let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                let url = &self.requester.endpoint.shown;
                tracing::warn!(
                    query = self.query.name,
                    attempts,
                    pause_ms,
                    "{RETRYING}: `{url}`: {what}"
                );
                Ok(Some(pause))
            }
        }
    }

    fn too_large(&mut self, piece: Grid, what: String) -> Result<Option<Duration>, StepError> {
        let limits = &self.requester.limits;
        if limits.halve(piece.points, &what) {
            self.rest.push_front(piece);
            return Ok(None);
        }
        if limits.one_at_a_time(&what) {
            self.rest.push_front(piece);
            return Ok(Some(backoff(1, &self.query.name)));
        }
        let error = self.requester.refused(self.query, &what).hint(
            "one point alone is too large: aggregate the query to fewer series, or raise the server's limit",
        );
        if self.requester.patience.give_up_until.is_none() {
            return Err(error);
        }
        self.give_up(piece, GapKind::Refused, what, error);
        Ok(None)
    }

    /// Handles a piece that failed until the last retry. If the server is unreachable, no
    /// particular window is the cause; if it replies to other requests, it may fail for some
    /// windows.
    fn unavailable(&mut self, piece: Grid, what: &str, is_gone: bool) -> Result<(), StepError> {
        let error = self.requester.unavailable(self.query, self.attempt, what);
        self.attempt = 0;
        let Some(give_up_until) = self.requester.patience.give_up_until else {
            return Err(error);
        };
        let is_down = self.requester.is_down.load(Ordering::Relaxed);
        let most = if is_down { 0 } else { FAILED_THROUGHOUT };
        if is_gone || !self.bisect(piece, most) {
            let answers = self.requester.has_answered.load(Ordering::Relaxed);
            if is_gone || !answers || piece.first > give_up_until {
                self.stop(piece.first, error, false);
            } else {
                self.give_up(piece, GapKind::Unavailable, what.to_owned(), error);
            }
        }
        Ok(())
    }

    /// Puts both halves of a part back; returns whether a retry makes sense, which it does not
    /// after `most` failures without any reply.
    fn bisect(&mut self, mut piece: Grid, most: usize) -> bool {
        let in_vain = !self.answered && self.spent >= most;
        if piece.points < 2 || self.spent >= BISECTIONS || in_vain {
            return false;
        }
        self.spent += 1;
        let head = piece.take(piece.points / 2);
        self.rest.extend([head, piece]);
        true
    }

    /// Turns a part into a gap; its recent windows wait, if waiting may help.
    fn give_up(&mut self, mut piece: Grid, kind: GapKind, reason: String, error: StepError) {
        let waits = matches!(kind, GapKind::Incomplete | GapKind::Unavailable);
        if let Some(until) = self.requester.patience.give_up_until.filter(|_| waits) {
            let old = piece.take(piece.points_until(until));
            if piece.points > 0 {
                self.stop(piece.first, error, kind == GapKind::Incomplete);
            }
            piece = old;
        }
        if piece.points > 0 {
            self.answer.holes.push(Hole { grid: piece, kind, reason });
        }
    }

    /// Ends the answer at a time; earlier pieces are still requested.
    fn stop(&mut self, at: Timestamp, error: StepError, is_partial: bool) {
        self.rest.retain(|piece| piece.first < at);
        if self.answer.stop.as_ref().is_none_or(|stop| at < stop.at) {
            self.answer.stop = Some(Stop { at, error, is_partial });
        }
    }
}
