//! A Slack channel, through an incoming webhook:
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use std::path::{Path, PathBuf};

use client::{read_secret, secret_place};
use contract::{StepError, Timestamp};
use document::channels::slack::SlackChannel;
use document::http::Http;
use document::{HttpUrl, UrlError};
use serde::Serialize;

use crate::channels::{Channel, Failure, Opener, cut, http};
use crate::message::Message;

const FIELD: &str = "alerts.channels.slack";
/// Characters of a text: Slack advises against more than 4,000, and markup makes it longer.
const LONGEST_TEXT: usize = 3800;

/// An incoming webhook.
#[derive(Debug)]
struct Slack {
    name: String,
    settings: Http<SlackChannel>,
    folder: PathBuf,
}

#[derive(Serialize)]
struct Payload {
    text: String,
    /// Links are shown without a preview below each message.
    unfurl_links: bool,
}

impl Opener for Http<SlackChannel> {
    /// Names the webhook after the place where its URL is stored.
    fn open(&self, folder: &Path) -> Box<dyn Channel> {
        Box::new(Slack {
            name: format!("slack {}", secret_place(&self.own.webhook)),
            settings: self.clone(),
            folder: folder.to_owned(),
        })
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
        let webhook = read_secret(&self.settings.own.webhook, &self.folder)?;
        let wrong = |what: &str| {
            StepError::usage(format!("`{FIELD}.webhook` {what}"))
                .hint("the file or variable must contain the webhook's URL, which Slack shows once")
        };
        let url: HttpUrl = webhook.parse().map_err(|e: UrlError| wrong(&e.to_string()))?;
        let server = &self.settings.server;
        if !url.has_origin_of(&server.url) {
            return Err(wrong(&format!("is not on `{}`", server.url))
                .hint(format!("name its server in {FIELD}.url"))
                .into());
        }
        let text = escaped(&cut(&message.text, LONGEST_TEXT));
        let (title, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let payload = Payload {
            text: format!("*{title}*\n{rest}").trim_end().to_owned(),
            unfurl_links: false,
        };
        let secret = url.url().path().to_owned();
        let mut request = http::json(url, &payload)?;
        request.secrets.push(secret);
        http::send(server, FIELD, &self.folder, &request, |server, reply| {
            // A server that replies 200 with another text is not a Slack webhook.
            if reply.status == 200 && reply.text().trim() == "ok" {
                return Ok(());
            }
            Err(server.refusal(&request, &reply, &reply.text()))
        })
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
