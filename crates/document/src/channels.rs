//! The alert channels: one file for each, with its settings and its description.
//!
//! To add one: write its file here and its code in `steps/alert/src/channels`, and register it by one
//! variant here and one arm there.

pub mod alertmanager;
pub mod email;
pub mod file;
pub mod slack;
pub mod stdout;
pub mod telegram;
pub mod webhook;

use contract::Span;

use crate::extension::register;
use crate::http::Http;

/// Deadline of one exchange with a channel's server.
pub(crate) const TIMEOUT: Span = Span::from_seconds(10);
/// A message that could not be sent is sent by the next run.
pub(crate) const RETRIES: u8 = 0;

register! {
    /// A channel for messages.
    Channel {
        /// A line on standard output.
        Stdout(stdout::StdoutChannel),
        /// A JSON line at the end of a file.
        File(file::FileChannel),
        /// A Telegram chat, through the bot API.
        Telegram(Http<telegram::TelegramChannel>),
        /// A Slack channel, through an incoming webhook.
        Slack(Http<slack::SlackChannel>),
        /// An Alertmanager, through its API v2.
        Alertmanager(Http<alertmanager::AlertmanagerChannel>),
        /// Any HTTP server: the message as JSON, signed.
        Webhook(Http<webhook::WebhookChannel>),
        /// E-mail, through an SMTP server.
        Email(email::EmailChannel),
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self::Stdout(stdout::StdoutChannel {})
    }
}
