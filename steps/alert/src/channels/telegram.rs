//! A Telegram chat, through the bot API: <https://core.telegram.org/bots/api#sendmessage>.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use client::read_secret;
use contract::{Span, StepError, Timestamp};
use document::channels::telegram::TelegramChannel;
use document::http::Http;
use serde::{Deserialize, Serialize};

use crate::channels::{Channel, Failure, Opener, cut, http};
use crate::message::Message;

const FIELD: &str = "alerts.channels.telegram";
/// Maximum number of characters of a text that the API accepts.
const LONGEST_TEXT: usize = 4096;

/// A chat.
#[derive(Debug)]
struct Telegram {
    name: String,
    settings: Http<TelegramChannel>,
    folder: PathBuf,
}

/// The parameters of `sendMessage`.
#[derive(Serialize)]
struct SendMessage<'a> {
    chat_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<i64>,
    text: String,
    link_preview_options: LinkPreview,
    /// Set for messages that are not urgent.
    disable_notification: bool,
}

#[derive(Serialize)]
struct LinkPreview {
    is_disabled: bool,
}

/// Any answer of the API.
#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    retry_after: Option<u32>,
    /// The chat's new number: the group became a supergroup.
    migrate_to_chat_id: Option<i64>,
}

impl Opener for Http<TelegramChannel> {
    /// Names the chat.
    fn open(&self, folder: &Path) -> Box<dyn Channel> {
        let topic = self.own.topic.map(|topic| format!(" topic {topic}")).unwrap_or_default();
        Box::new(Telegram {
            name: format!("telegram {}{topic}", self.own.chat),
            settings: self.clone(),
            folder: folder.to_owned(),
        })
    }
}

/// Returns whether a rejection concerns the chat, which an operator can correct, and not the
/// message: the API replies 400 to both.
fn concerns_the_chat(description: &str) -> bool {
    let description = description.to_ascii_lowercase();
    ["chat", "thread", "topic", "peer", "rights"].iter().any(|word| description.contains(word))
}

impl Channel for Telegram {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, message: &Message, _: Timestamp) -> Result<(), Failure> {
        let token = read_secret(&self.settings.own.token, &self.folder)?;
        let is_token =
            token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_".contains(&byte));
        if !is_token {
            return Err(StepError::usage("the Telegram token has the wrong format")
                .hint("use the token from @BotFather, such as 123456:ABC-DEF")
                .into());
        }
        let server = &self.settings.server;
        let url = server.url.join(&format!("/bot{token}/sendMessage"));
        let parameters = SendMessage {
            chat_id: &self.settings.own.chat,
            message_thread_id: self.settings.own.topic,
            text: cut(&message.text, LONGEST_TEXT),
            link_preview_options: LinkPreview { is_disabled: true },
            disable_notification: !message.urgent,
        };
        let mut request = http::json(url, &parameters)?;
        request.secrets.push(token);
        let is_about_the_chat = Cell::new(false);
        let sent = http::send(server, FIELD, &self.folder, &request, |server, reply| {
            let answer: Option<Answer> = serde_json::from_slice(&reply.body).ok();
            let Some(answer) = answer else {
                return Err(server.refusal(
                    &request,
                    &reply,
                    "the reply is not one of the bot API",
                ));
            };
            if answer.ok && reply.status == 200 {
                return Ok(());
            }
            is_about_the_chat.set(concerns_the_chat(&answer.description));
            let mut failed = server.refusal(&request, &reply, &answer.description);
            let asked = answer.parameters.retry_after;
            let asked = asked.map(|seconds| Span::from_seconds(i64::from(seconds)));
            failed.retry_after = asked.or(failed.retry_after);
            if let Some(id) = answer.parameters.migrate_to_chat_id {
                let moved = format!("the group became a supergroup with the new id {id}");
                failed.error.message = format!("{}; {moved}", failed.error.message);
                failed.error.hint = Some(format!("set {FIELD}.chat to '{id}'"));
            }
            Err(failed)
        });
        sent.map_err(|failure| {
            let give_up_after = failure.give_up_after.filter(|_| !is_about_the_chat.get());
            Failure { give_up_after, ..failure }
        })
    }
}
