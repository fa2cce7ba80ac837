//! A Slack channel, through an incoming webhook:
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use std::path::{Path, PathBuf};

use client::{Files, Server, base_url};
use contract::Timestamp;
use document::alerts::SlackChannel;
use reqwest::header::HeaderMap;
use serde::Serialize;

use crate::channels::http::{self, Shown};
use crate::channels::{Channel, Failure, cut, secret};
use crate::message::Message;

/// Characters of a text: Slack advises against more than 4,000, and markup makes it longer.
const LONGEST_TEXT: usize = 3800;

/// An incoming webhook.
#[derive(Debug)]
pub struct Slack {
    name: String,
    settings: SlackChannel,
    folder: PathBuf,
}

#[derive(Serialize)]
struct Payload {
    text: String,
    /// Links stay links, without a preview below each message.
    unfurl_links: bool,
}

impl Slack {
    /// Names the webhook by where its URL is kept; files are relative to `folder`.
    pub fn new(settings: &SlackChannel, folder: &Path) -> Self {
        Self {
            name: format!("slack {}", secret::place(&settings.webhook)),
            settings: settings.clone(),
            folder: folder.to_owned(),
        }
    }
}

/// Escapes the three characters that Slack reads as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Channel for Slack {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, message: &Message, _: Timestamp) -> Result<(), Failure> {
        let webhook = secret::read(&self.settings.webhook, &self.folder)?;
        let url = base_url("alerts.channels.slack.webhook", &webhook)?;
        let text = escaped(&cut(&message.text, LONGEST_TEXT));
        let (title, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let payload = Payload {
            text: format!("*{title}*\n{rest}").trim_end().to_owned(),
            unfurl_links: false,
        };
        let server = Server {
            field: "alerts.channels.slack",
            url: &url,
            timeout: self.settings.timeout,
            headers: HeaderMap::new(),
            files: Files { folder: &self.folder, ca_file: None, client_identity_file: None },
        };
        let secret = Some(url.path());
        let shown = Shown { name: "Slack", secret, headers: HeaderMap::new() };
        let reply = http::post(server, &shown, http::json(&payload)?)?;
        // Anything else that answers 200 is no webhook of Slack's.
        if reply.status == 200 && reply.body.trim() == "ok" {
            return Ok(());
        }
        Err(shown.refusal(&reply, &reply.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(escaped("<!channel> a&b"), "&lt;!channel&gt; a&amp;b");
    }
}
