//! A Telegram chat, through the bot API: <https://core.telegram.org/bots/api#sendmessage>.

use std::path::{Path, PathBuf};

use client::{Files, Server, base_url, below};
use contract::{StepError, Timestamp};
use document::alerts::TelegramChannel;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::channels::http::{self, Shown};
use crate::channels::{Channel, Failure, cut, secret};
use crate::message::Message;

/// Characters of a text that the API takes.
const LONGEST_TEXT: usize = 4096;

/// A chat.
#[derive(Debug)]
pub struct Telegram {
    name: String,
    settings: TelegramChannel,
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
    /// What is not urgent makes no sound.
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

impl Telegram {
    /// Names the chat; files are relative to `folder`.
    pub fn new(settings: &TelegramChannel, folder: &Path) -> Self {
        let topic = settings.topic.map(|topic| format!(" topic {topic}")).unwrap_or_default();
        Self {
            name: format!("telegram {}{topic}", settings.chat),
            settings: settings.clone(),
            folder: folder.to_owned(),
        }
    }
}

/// Says whether a refusal is about the chat, which somebody can mend, and not about the message:
/// the API answers 400 to both.
fn is_about_the_chat(description: &str) -> bool {
    let description = description.to_ascii_lowercase();
    ["chat", "thread", "topic", "peer", "rights"].iter().any(|word| description.contains(word))
}

impl Channel for Telegram {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, message: &Message, _: Timestamp) -> Result<(), Failure> {
        let token = secret::read(&self.settings.token, &self.folder)?;
        let is_token =
            token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_".contains(&byte));
        if !is_token {
            return Err(StepError::usage("the Telegram token is none")
                .hint("it is the line that @BotFather gave, such as 123456:ABC-DEF")
                .into());
        }
        let base = base_url("alerts.channels.telegram.url", &self.settings.url)?;
        let url = below(base, &format!("/bot{token}/sendMessage"));
        let parameters = SendMessage {
            chat_id: &self.settings.chat,
            message_thread_id: self.settings.topic,
            text: cut(&message.text, LONGEST_TEXT),
            link_preview_options: LinkPreview { is_disabled: true },
            disable_notification: !message.urgent,
        };
        let server = Server {
            field: "alerts.channels.telegram",
            url: &url,
            timeout: self.settings.timeout,
            headers: HeaderMap::new(),
            files: Files { folder: &self.folder, ca_file: None, client_identity_file: None },
        };
        let secret = Some(token.as_str());
        let shown = Shown { name: "Telegram", secret, headers: HeaderMap::new() };
        let reply = http::post(server, &shown, http::json(&parameters)?)?;
        let answer: Option<Answer> = serde_json::from_str(&reply.body).ok();
        match answer {
            Some(Answer { ok: true, .. }) if reply.status == 200 => Ok(()),
            Some(answer) => {
                let mut failure = shown.refusal(&reply, &answer.description);
                let asked = answer.parameters.retry_after.map(http::pause);
                failure.retry_after = asked.or(failure.retry_after);
                if let Some(id) = answer.parameters.migrate_to_chat_id {
                    let moved =
                        format!("the group is a supergroup now, and its new number is {id}");
                    failure.error.message = format!("{}; {moved}", failure.error.message);
                    failure.error.hint =
                        Some(format!("set alerts.channels.telegram.chat to '{id}'"));
                }
                if is_about_the_chat(&answer.description) {
                    failure.give_up_after = None;
                }
                Err(failure)
            }
            None => Err(shown.refusal(&reply, "this is no answer of the bot API")),
        }
    }
}
