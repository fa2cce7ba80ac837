//! Prometheus remote write, version 1: protocol buffers, compressed with snappy, in a POST.
//!
//! It follows the score objects with a cursor of its own (`state/<pipeline>/metrics.json`), so a
//! server that is away for an hour gets that hour when it is back, as far as it takes samples that
//! old.

use std::collections::BTreeMap;
use std::path::Path;

use client::{Files, Server};
use contract::{StepError, Timestamp};
use document::document::BasicAuth;
use document::scoring::RemoteWrite;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde::{Deserialize, Serialize};
use store::{ObjectStore, Stored, scores, state};

use super::{Labels, Sample, TickEnd};

const FIELD: &str = "scoring.metrics.remote_write";
const STATE: &str = "metrics";
/// Samples after which a request is full.
const SAMPLES_AT_ONCE: usize = 5000;
/// Characters of a refusal that are repeated.
const LONGEST_QUOTE: usize = 200;

/// `state/<pipeline>/metrics.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    format: u32,
    /// End of the last window that was sent.
    sent_to: Timestamp,
}

/// What became of the samples.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) samples: usize,
    pub(super) error: Option<StepError>,
}

/// Sends what was scored since the cursor, and moves it as far as the server took it.
pub(super) fn send(
    end: &TickEnd<'_>,
    store: &dyn ObjectStore,
    server: &RemoteWrite,
    folder: &Path,
) -> Sent {
    let mut sent = Sent::default();
    sent.error = try_send(end, store, (server, folder), &mut sent.samples).err();
    sent
}

fn try_send(
    end: &TickEnd<'_>,
    store: &dyn ObjectStore,
    (server, folder): (&RemoteWrite, &Path),
    samples_sent: &mut usize,
) -> Result<(), StepError> {
    let pipeline = &end.document.name;
    let stored: Option<Stored<Cursor>> = state::read(store, pipeline, STATE)?;
    let (cursor, etag) = match &stored {
        Some(stored) => (stored.value.sent_to, Some(stored.etag.as_str())),
        None => (end.before, None),
    };
    let oldest = end.scored_to - end.document.scoring.catch_up;
    let after = cursor.max(oldest);
    let sender = Sender::new(server, folder)?;
    let mut samples = Vec::new();
    let (mut sent_to, mut full) = (cursor, cursor);
    let mut result = Ok(());
    for window in scores::read_after(store, pipeline, Some(after), end.scored_to) {
        let window = window?;
        samples.extend(end.of_window(&window));
        full = window.time;
        if full == end.scored_to {
            samples.extend(end.of_tick());
        }
        if samples.len() >= SAMPLES_AT_ONCE {
            result = sender.send(&mut samples, samples_sent);
            if result.is_err() {
                break;
            }
            sent_to = full;
        }
    }
    if result.is_ok() && !samples.is_empty() {
        result = sender.send(&mut samples, samples_sent);
        sent_to = if result.is_ok() { full } else { sent_to };
    }
    // What a server refuses for good it refuses the next time too: it is left behind.
    if result.as_ref().is_err_and(|error| error.kind == contract::ErrorKind::Refused) {
        sent_to = end.scored_to;
    }
    if sent_to > cursor || stored.is_none() {
        state::write(store, pipeline, STATE, &Cursor { format: 1, sent_to }, etag)?;
    }
    result
}

/// A server that takes samples.
struct Sender {
    client: Client,
    url: Url,
    shown: String,
    attempts: u8,
    runtime: tokio::runtime::Runtime,
}

/// Why a request failed.
enum Failure {
    Final(String),
    Passing(String),
}

impl Sender {
    fn new(server: &RemoteWrite, folder: &Path) -> Result<Self, StepError> {
        let url = client::base_url(&format!("{FIELD}.url"), &server.url)?;
        let mut headers = client::headers(&format!("{FIELD}.headers"), &server.headers)?;
        let user = server.basic_auth.as_ref().map(BasicAuth::user);
        let value = client::authorization(folder, server.bearer_token_file.as_deref(), user)?;
        headers.extend(value.map(|value| (AUTHORIZATION, value)));
        headers.extend(protocol());
        let client = client::client(Server {
            field: FIELD,
            url: &url,
            timeout: server.timeout,
            headers,
            files: Files {
                folder,
                ca_file: server.ca_file.as_deref(),
                client_identity_file: server.client_identity_file.as_deref(),
            },
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| StepError::unavailable(format!("cannot start to send: {e}")))?;
        let shown = client::shown(&url);
        Ok(Self { client, url, shown, attempts: server.retries.saturating_add(1), runtime })
    }

    /// Sends the samples and empties the list.
    ///
    /// Errors: unavailable for what may pass, refused for what will not.
    fn send(&self, samples: &mut Vec<Sample>, sent: &mut usize) -> Result<(), StepError> {
        let count = samples.len();
        let body = compressed(&encode(samples))?;
        samples.clear();
        let mut last = String::new();
        for _ in 0..self.attempts {
            match self.runtime.block_on(self.attempt(body.clone())) {
                Ok(()) => {
                    *sent += count;
                    return Ok(());
                }
                Err(Failure::Final(what)) => {
                    return Err(StepError::refused(format!("`{}`: {what}", self.shown)));
                }
                Err(Failure::Passing(what)) => last = what,
            }
        }
        Err(StepError::unavailable(format!("`{}`: {last}; the next tick sends it", self.shown)))
    }

    async fn attempt(&self, body: Vec<u8>) -> Result<(), Failure> {
        let response = self.client.post(self.url.clone()).body(body).send().await;
        let mut response = response.map_err(|error| {
            Failure::Passing(if error.is_timeout() {
                "no answer in time".to_owned()
            } else {
                client::causes(&error)
            })
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let said = response.chunk().await.ok().flatten().unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let said: String =
            said.lines().next().unwrap_or_default().chars().take(LONGEST_QUOTE).collect();
        let what = format!("status {}: {said}", status.as_u16());
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            Err(Failure::Passing(what))
        } else {
            Err(Failure::Final(what))
        }
    }
}

/// Returns the headers that make a POST a remote write.
fn protocol() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert("x-prometheus-remote-write-version", HeaderValue::from_static("0.1.0"));
    headers
}

fn compressed(bytes: &[u8]) -> Result<Vec<u8>, StepError> {
    snap::raw::Encoder::new()
        .compress_vec(bytes)
        .map_err(|e| StepError::bug(format!("cannot compress samples: {e}")))
}

/// Encodes samples as a `prometheus.WriteRequest`: one `TimeSeries` (field 1) a series, which has
/// `Label`s (field 1: name 1, value 2) in the order of their names and `Sample`s (field 2: value 1,
/// milliseconds 2) in the order of time.
fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut series: BTreeMap<&Labels, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        series.entry(&sample.labels).or_default().push(sample);
    }
    let mut request = Vec::new();
    for (labels, samples) in series {
        let mut bytes = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut bytes, 1, &label);
        }
        for sample in samples {
            let mut point = vec![1 << 3 | 1];
            point.extend_from_slice(&sample.value.to_le_bytes());
            point.push(2 << 3);
            varint(&mut point, sample.time.ms().cast_unsigned());
            field(&mut bytes, 2, &point);
        }
        field(&mut request, 1, &bytes);
    }
    request
}

/// Appends a length-delimited field.
fn field(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push(number << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Appends an integer, seven bits a byte, the lowest first.
fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}
