//! Where messages go: one trait, one file for each kind of channel.

mod file;
mod stdout;

use std::path::Path;

use contract::StepError;
use document::document as settings;

use crate::message::Message;

pub use file::File;
pub use stdout::Stdout;

/// A way to tell people.
///
/// Only what the other side has taken is sent: a message that could not be handed over is an
/// error, and comes again in the next run, with the same key. A channel with a deadline of its own
/// (an HTTP request) keeps it, so that it never holds the others back for long.
pub trait Channel {
    /// Returns the channel's name in state and messages: the same from run to run for the same
    /// settings, unique in a document, and without secrets.
    fn name(&self) -> &str;

    /// Sends one message.
    ///
    /// Errors carry no secrets; those of an outside service are [`contract::ErrorKind::Unavailable`].
    fn send(&mut self, message: &Message) -> Result<(), StepError>;
}

/// Makes the channels of a document that lies in `folder`; one that is listed twice counts once.
pub fn open(settings: &[settings::Channel], folder: &Path) -> Vec<Box<dyn Channel>> {
    let mut channels: Vec<Box<dyn Channel>> = Vec::new();
    for settings in settings {
        let channel: Box<dyn Channel> = match settings {
            settings::Channel::Stdout(settings::StdoutChannel {}) => Box::new(Stdout),
            settings::Channel::File(file) => Box::new(File::new(&file.path, folder)),
        };
        if channels.iter().all(|other| other.name() != channel.name()) {
            channels.push(channel);
        }
    }
    channels
}
