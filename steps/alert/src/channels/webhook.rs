//! Any HTTP server: the message as JSON, with a key against repeats and a signature.

use std::path::{Path, PathBuf};

use client::{Files, Server, base_url, shown};
use contract::{StepError, Timestamp};
use document::alerts::WebhookChannel;
use hmac::{Hmac, Mac as _};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::channels::http::{self, Shown};
use crate::channels::{Channel, Failure, secret};
use crate::message::Message;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-lynceus-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-lynceus-signature");

/// A server.
#[derive(Debug)]
pub struct Webhook {
    name: String,
    settings: WebhookChannel,
    folder: PathBuf,
}

impl Webhook {
    /// Names the server by its URL without query; files are relative to `folder`.
    pub fn new(settings: &WebhookChannel, folder: &Path) -> Self {
        let url = reqwest::Url::parse(&settings.url).map(|url| shown(&url)).unwrap_or_default();
        Self {
            name: format!("webhook {url}"),
            settings: settings.clone(),
            folder: folder.to_owned(),
        }
    }

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
        // The keys are ASCII but for the names of channels.
        let key: String =
            message.key.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        let timestamp = (now.ms() / 1000).to_string();
        let mut headers = HeaderMap::new();
        headers.insert(KEY, value(&key)?);
        if let Some(signing_key) = &self.settings.signing_key {
            let signing_key = secret::read(signing_key, &self.folder)?;
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
        const FIELD: &str = "alerts.channels.webhook.url";
        // The query belongs to the URL here: it may be how the server tells its callers apart.
        base_url(FIELD, &self.settings.url)?;
        let url = reqwest::Url::parse(&self.settings.url)
            .map_err(|e| StepError::usage(format!("`{FIELD}` is no URL: {e}")))?;
        let body = http::json(message)?;
        let headers = self.headers(message, &body, now)?;
        let server = Server {
            field: "alerts.channels.webhook",
            url: &url,
            timeout: self.settings.timeout,
            headers: HeaderMap::new(),
            files: Files {
                folder: &self.folder,
                ca_file: self.settings.ca_file.as_deref(),
                client_identity_file: None,
            },
        };
        let name = format!("`{}`", shown(&url));
        let shown = Shown { name: &name, secret: url.query(), headers };
        let reply = http::post(server, &shown, body)?;
        match reply.status {
            200..=299 => Ok(()),
            _ => Err(shown.refusal(&reply, &reply.body)),
        }
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
