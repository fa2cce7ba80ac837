//! Alert channels: one trait, and one file for each kind of channel.

mod alertmanager;
mod email;
mod file;
pub(crate) mod http;
mod slack;
mod stdout;
mod telegram;
mod webhook;

use std::path::Path;

use contract::{Span, StepError, Timestamp};
use document::channels::Channel as Settings;

use crate::message::{Alert, Message};

/// Why a message could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed; without secrets.
    pub error: StepError,
    /// Time until which the server rate-limits us.
    pub retry_after: Option<Span>,
    /// Whether the server works but rate-limits us.
    pub is_limit: bool,
    /// Set if the channel works but rejects this message: after this number of rejections it is
    /// permanently rejected.
    pub give_up_after: Option<u32>,
    /// Whether the server replied that it failed: if it keeps failing, the message itself may be
    /// the cause.
    pub may_be_the_message: bool,
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self {
            error,
            retry_after: None,
            is_limit: false,
            give_up_after: None,
            may_be_the_message: false,
        }
    }
}

/// Number of rejections after which a message is permanently rejected, if a retry might succeed.
pub(crate) const MANY_REFUSALS: u32 = 5;

/// Maximum time for which a channel is not used because of a rate limit.
pub(crate) const LONGEST_PAUSE: Span = Span::from_seconds(6 * 3600);

/// A channel that messages are sent through.
///
/// A message counts as sent only if the channel accepted it. A message that could not be delivered
/// is an error, and is sent again in the next run, with the same key. A channel with its own
/// deadline (an HTTP request) observes it, so that it does not delay the others. A channel loads
/// what it needs (a secret, a client) when it sends, so that a misconfigured channel does not stop
/// the others.
pub trait Channel {
    /// Returns the channel's name in state and messages: the same from run to run for the same
    /// settings, unique in a document, and without secrets.
    fn name(&self) -> &str;

    /// Sends one message; `now` is the evaluation time of the run.
    ///
    /// Errors carry no secrets; those of an outside service are [`contract::ErrorKind::Unavailable`].
    fn send(&mut self, message: &Message, now: Timestamp) -> Result<(), Failure>;

    /// Sends a heartbeat while windows are scored, if the channel is configured for one; `None` for
    /// the others.
    fn beat(&mut self, _pipeline: &str, _now: Timestamp) -> Option<Result<(), Failure>> {
        None
    }

    /// Sends firing alerts again, to channels in which alerts expire.
    fn refresh(
        &mut self,
        _pipeline: &str,
        _firing: &[Alert],
        _now: Timestamp,
    ) -> Option<Result<(), Failure>> {
        None
    }
}

/// The settings of a channel, which make it.
trait Opener {
    /// Makes the channel; files are relative to `folder`.
    fn open(&self, folder: &Path) -> Box<dyn Channel>;
}

/// Declares `opener`.
macro_rules! openers {
    ($($(#[$doc:meta])* $module:ident: $name:ident($settings:ty),)*) => {
        /// Returns the opener of a channel.
        fn opener(settings: &Settings) -> &dyn Opener {
            match settings {
                $(Settings::$name(settings) => settings,)*
            }
        }
    };
}

document::channels!(openers);

/// Makes the channels of a document in the folder `folder`; a channel that is listed twice is made
/// once.
pub fn open(settings: &[Settings], folder: &Path) -> Vec<Box<dyn Channel>> {
    let mut channels: Vec<Box<dyn Channel>> = Vec::new();
    for settings in settings {
        let channel = opener(settings).open(folder);
        if channels.iter().all(|other| other.name() != channel.name()) {
            channels.push(channel);
        }
    }
    channels
}

/// Returns at most `limit` characters of a text, with a mark where it was cut.
fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(limit.saturating_sub(2)).collect();
    cut.push_str("\n\u{2026}");
    cut
}
