//! The channel `telegram`: a chat, through the bot API.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::HttpSettings;
use crate::problem::{Problem, require};
use crate::secret::Secret;

/// A Telegram chat. Its `url` is that of the bot API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelegramChannel {
    /// Id of the chat, or `@name` of a public channel.
    pub chat: String,
    /// The bot's token.
    pub token: Secret,
    /// Id of the topic in a forum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<i64>,
}

impl HttpSettings for TelegramChannel {
    const NAME: &'static str = "telegram";
    const URL: Option<&'static str> = Some("https://api.telegram.org");
    const TIMEOUT: Span = super::TIMEOUT;
    const RETRIES: u8 = super::RETRIES;

    fn check(&self) -> Result<(), Problem> {
        let is_chat = self.chat.parse::<i64>().is_ok()
            || self.chat.strip_prefix('@').is_some_and(|name| !name.is_empty());
        require(is_chat, "chat", || format!("`{}` is neither a chat id nor `@name`", self.chat))
    }

    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        vec![("token", &mut self.token)]
    }
}
