//! The alert channels: one file for each, with its settings and its description.
//!
//! To add one: write its file here and its code in `steps/alert/src/channels`, and register it by one
//! line in the table below and its `mod` line there.

use contract::Span;

use crate::extension::register;
use crate::http::Http;

/// Deadline of one exchange with a channel's server.
pub(crate) const TIMEOUT: Span = Span::from_seconds(10);
/// A message that could not be sent is sent by the next run.
pub(crate) const RETRIES: u8 = 0;

/// Passes the table of the channels to the macro of a name: a line for each with its name, its
/// variant of `Channel` and the type of its settings.
///
/// The name of a channel is its name in a document, and the name of its module here, which this
/// table declares, and of its module in the step `alert`. `cargo fmt` formats no modules that a
/// macro declares, so `tests/gate.sh` passes these files to `rustfmt`.
#[macro_export]
macro_rules! channels {
    ($macro:ident) => {
        $macro! {
            /// A line on standard output.
            stdout: Stdout(stdout::StdoutChannel),
            /// A JSON line at the end of a file.
            file: File(file::FileChannel),
            /// A Telegram chat, through the bot API.
            telegram: Telegram(Http<telegram::TelegramChannel>),
            /// A Slack channel, through an incoming webhook.
            slack: Slack(Http<slack::SlackChannel>),
            /// An Alertmanager, through its API v2.
            alertmanager: Alertmanager(Http<alertmanager::AlertmanagerChannel>),
            /// Any HTTP server: the message as JSON, signed.
            webhook: Webhook(Http<webhook::WebhookChannel>),
            /// E-mail, through an SMTP server.
            email: Email(email::EmailChannel),
        }
    };
}

/// Declares the modules and [`Channel`].
macro_rules! declare {
    ($($table:tt)*) => {
        register! {
            /// A channel for messages.
            Channel { $($table)* }
        }
    };
}

channels!(declare);
