//! Prometheus remote write, version 1: protocol buffers, compressed with snappy, in a POST.
//!
//! It follows the score objects with a cursor of its own (`state/<pipeline>/metrics.json`), so a
//! server that is away for an hour gets that hour when it is back, as far as it takes samples that
//! old. While it does not work it is asked with one window a tick, and said once an hour.

use std::collections::BTreeMap;
use std::path::Path;

use client::{Files, Server};
use contract::{Span, StepError, Timestamp};
use document::document::BasicAuth;
use document::scoring::RemoteWrite;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use store::{ObjectStore, Stored, scores, state};

use super::{Labels, Sample, TickEnd};

const FIELD: &str = "scoring.metrics.remote_write";
const STATE: &str = "metrics";
/// Samples, and windows, after which a request is full: what is too old in one is lost with it.
const SAMPLES_AT_ONCE: usize = 5000;
const WINDOWS_AT_ONCE: usize = 60;
/// Time after which the same failure is said again.
const SAID_EVERY: Span = Span::from_seconds(3600);
/// Characters of a refusal that are repeated.
const LONGEST_QUOTE: usize = 200;

/// `state/<pipeline>/metrics.json`: how far the server got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Version of this format.
    pub format: u32,
    /// End of the last window that was sent, or that the server refused for good.
    pub sent_to: Timestamp,
    /// What the last request failed with; nothing when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
}

/// A server that does not take what it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when, whatever the reasons were.
    pub since: Timestamp,
    /// When it was last said.
    pub said: Timestamp,
    /// What tells this failure from another one: the status, or how there was none.
    pub kind: String,
    /// The last failure in words.
    pub why: String,
}

impl Cursor {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Reads the cursor of a pipeline; nothing before the first tick with a server.
    pub fn read(
        store: &dyn ObjectStore,
        pipeline: &str,
    ) -> Result<Option<Stored<Self>>, StepError> {
        state::read(store, pipeline, STATE)
    }

    /// Notes how the last request ended, and says whether somebody has to hear of it.
    fn note(&mut self, failure: Option<&Failure>, now: Timestamp) -> bool {
        let Some(failure) = failure else {
            self.failing = None;
            return false;
        };
        let before = self.failing.take();
        let is_same = |before: &&Failing| {
            let lately = now < before.said + SAID_EVERY && before.said < now + SAID_EVERY;
            before.kind == failure.kind && lately
        };
        let said = before.as_ref().filter(is_same).map(|before| before.said);
        self.failing = Some(Failing {
            since: before.map_or(now, |before| before.since),
            said: said.unwrap_or(now),
            kind: failure.kind.clone(),
            why: failure.error.message.clone(),
        });
        said.is_none()
    }
}

/// What became of the samples.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) samples: usize,
    /// What somebody has to hear of.
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
    if let Err(error) = try_send(end, store, (server, folder), &mut sent) {
        sent.error = Some(error);
    }
    sent
}

fn try_send(
    end: &TickEnd<'_>,
    store: &dyn ObjectStore,
    (server, folder): (&RemoteWrite, &Path),
    sent: &mut Sent,
) -> Result<(), StepError> {
    let pipeline = &end.document.name;
    let stored = Cursor::read(store, pipeline)?;
    let (mut cursor, etag) = match &stored {
        Some(stored) => (stored.value.clone(), Some(stored.etag.as_str())),
        None => (Cursor { format: Cursor::FORMAT, sent_to: end.before, failing: None }, None),
    };
    let sender = Sender::new(server, folder)?;
    let failure = sender.send_after(end, store, &mut cursor, &mut sent.samples)?;
    let is_news = cursor.note(failure.as_ref(), end.now);
    if stored.as_ref().map(|stored| &stored.value) != Some(&cursor) {
        state::write(store, pipeline, STATE, &cursor, etag)?;
    }
    sent.error = failure.filter(|_| is_news).map(|failure| failure.error);
    Ok(())
}

/// A server that takes samples.
struct Sender {
    client: Client,
    url: Url,
    shown: String,
    /// What each request carries; errors must not repeat what of it is secret.
    carried: HeaderMap,
    attempts: u8,
    runtime: tokio::runtime::Runtime,
}

/// Why a request failed.
#[derive(Debug)]
struct Failure {
    /// The server works and will never take these samples.
    is_final: bool,
    kind: String,
    error: StepError,
}

impl Sender {
    fn new(server: &RemoteWrite, folder: &Path) -> Result<Self, StepError> {
        let url = client::base_url(&format!("{FIELD}.url"), &server.url)?;
        let mut headers = client::headers(&format!("{FIELD}.headers"), &server.headers)?;
        let user = server.basic_auth.as_ref().map(BasicAuth::user);
        let value = client::authorization(folder, server.bearer_token_file.as_deref(), user)?;
        headers.extend(value.map(|value| (AUTHORIZATION, value)));
        headers.extend(protocol());
        let carried = headers.clone();
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
        Ok(Self {
            client,
            url,
            shown,
            carried,
            attempts: server.retries.saturating_add(1),
            runtime,
        })
    }

    /// Sends the windows after the cursor and moves it over those that the server took, or refused
    /// for good; returns what failed last, if anything did.
    ///
    /// Errors: those of the store.
    fn send_after(
        &self,
        end: &TickEnd<'_>,
        store: &dyn ObjectStore,
        cursor: &mut Cursor,
        samples_sent: &mut usize,
    ) -> Result<Option<Failure>, StepError> {
        let oldest = end.scored_to - end.document.scoring.catch_up;
        let after = cursor.sent_to.max(oldest);
        // Whoever did not work last time is tried with little.
        let mut most = if cursor.failing.is_some() { 1 } else { WINDOWS_AT_ONCE };
        let (mut samples, mut windows, mut failure) = (Vec::new(), 0, None);
        for window in scores::read_after(store, &end.document.name, Some(after), end.scored_to) {
            let window = window?;
            samples.extend(end.of_window(&window));
            windows += 1;
            let is_last = window.time == end.scored_to;
            if is_last {
                samples.extend(end.of_tick());
            }
            if !is_last && windows < most && samples.len() < SAMPLES_AT_ONCE {
                continue;
            }
            match self.send(&samples) {
                Ok(()) => *samples_sent += samples.len(),
                Err(error) => {
                    // What a server refuses for good it refuses the next time too: it is left
                    // behind, and said, whatever comes after it.
                    let is_final = error.is_final;
                    failure = Some(error);
                    if !is_final {
                        break;
                    }
                }
            }
            cursor.sent_to = window.time;
            samples.clear();
            (windows, most) = (0, WINDOWS_AT_ONCE);
        }
        Ok(failure)
    }

    fn send(&self, samples: &[Sample]) -> Result<(), Failure> {
        let bug = |error| Failure { is_final: true, kind: "bug".to_owned(), error };
        let body = compressed(&encode(samples)).map_err(bug)?;
        let mut result = Ok(());
        for _ in 0..self.attempts {
            result = self.runtime.block_on(self.attempt(body.clone()));
            if result.as_ref().map_or_else(|failure| failure.is_final, |()| true) {
                break;
            }
        }
        result
    }

    async fn attempt(&self, body: Vec<u8>) -> Result<(), Failure> {
        let response = self.client.post(self.url.clone()).body(body).send().await;
        let mut response = response.map_err(|error| {
            let why = if error.is_timeout() {
                "no answer in time".to_owned()
            } else {
                client::causes(&error)
            };
            self.passing("unreachable", &why)
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let said = response.chunk().await.ok().flatten().unwrap_or_default();
        let said = client::masked_headers(&String::from_utf8_lossy(&said), &self.carried);
        let said: String =
            said.lines().next().unwrap_or_default().chars().take(LONGEST_QUOTE).collect();
        let kind = format!("status {}", status.as_u16());
        let what = format!("{kind}: {said}");
        // 401, 403, 404 and 405 are about the server: somebody can mend them.
        if matches!(status.as_u16(), 400 | 413 | 422) {
            let error = StepError::refused(format!("`{}`: {what}", self.shown));
            return Err(Failure { is_final: true, kind, error });
        }
        Err(self.passing(&kind, &what))
    }

    fn passing(&self, kind: &str, what: &str) -> Failure {
        let message = format!("`{}`: {what}; the next tick sends it", self.shown);
        let error = StepError::unavailable(message);
        Failure { is_final: false, kind: kind.to_owned(), error }
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
