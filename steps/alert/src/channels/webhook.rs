//! Any HTTP server: the message as JSON, with a key against repeats and a signature.

use std::path::{Path, PathBuf};

use client::read_secret;
use contract::{StepError, Timestamp};
use document::channels::webhook::WebhookChannel;
use document::http::Http;
use hmac::{Hmac, Mac as _};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::channels::{Channel, Failure, Opener, http};
use crate::message::Message;

const FIELD: &str = "alerts.channels.webhook";
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-lynceus-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-lynceus-signature");

/// A server.
#[derive(Debug)]
struct Webhook {
    name: String,
    settings: Http<WebhookChannel>,
    folder: PathBuf,
}

impl Opener for Http<WebhookChannel> {
    /// Names the server by its URL without query.
    fn open(&self, folder: &Path) -> Box<dyn Channel> {
        Box::new(Webhook {
            name: format!("webhook {}", self.server.url),
            settings: self.clone(),
            folder: folder.to_owned(),
        })
    }
}

impl Webhook {
    fn headers(
        &self,
        message: &Message,
        body: &[u8],
        now: Timestamp,
    ) -> Result<HeaderMap, StepError> {
        let value = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| StepError::bug(format!("`{text}` cannot be sent in a header")))
        };
        // The keys are ASCII, except for the names of channels.
        let key: String =
            message.key.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        let timestamp = (now.ms() / 1000).to_string();
        let mut headers = HeaderMap::new();
        headers.insert(KEY, value(&key)?);
        if let Some(signing_key) = &self.settings.own.signing_key {
            let signing_key = read_secret(signing_key, &self.folder)?;
            let signature = signature(signing_key.as_bytes(), &timestamp, body);
            headers.insert(SIGNATURE, value(&format!("sha256={signature}"))?);
        }
        headers.insert(TIMESTAMP, value(&timestamp)?);
        Ok(headers)
    }
}

/// Returns HMAC-SHA256 (RFC 2104) of `<timestamp>.<body>`, in hexadecimal.
fn signature(key: &[u8], timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|half| b"0123456789abcdef"[usize::from(half)]);
    mac.finalize().into_bytes().iter().flat_map(digits).map(char::from).collect()
}

impl Channel for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, message: &Message, now: Timestamp) -> Result<(), Failure> {
        let server = &self.settings.server;
        let mut request = http::json(server.url.clone(), message)?;
        request.headers.extend(self.headers(message, &request.body, now)?);
        http::send(server, FIELD, &self.folder, &request, |server, reply| {
            if reply.is_success() {
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
    fn the_signature_is_the_standard_one() {
        // openssl: printf '1795248000.{"a":1}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature(b"key", "1795248000", b"{\"a\":1}"),
            "cc196870c3f1f98ceb0c4364470797609d38c79387ab6f28b7fcab575a47bd75"
        );
    }
}
