//! The sink `remote_write`: Prometheus remote write, version 1: protocol buffers, compressed with
//! snappy, in a POST.

use std::collections::BTreeMap;
use std::path::Path;

use client::{Failed, Request, Server};
use contract::StepError;
use document::http::Http;
use document::sinks::remote_write::RemoteWriteSink;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

use super::{Batch, Failure, Opener, Sink};
use crate::metrics::{Labels, Sample, Series};

/// A server that accepts samples.
struct RemoteWrite {
    server: Server,
    runtime: tokio::runtime::Runtime,
}

impl Opener for Http<RemoteWriteSink> {
    fn open(&self, name: &str, folder: &Path) -> Result<Box<dyn Sink>, StepError> {
        let field = format!("exports.{name}.remote_write");
        let (server, runtime) = super::connect(&self.server, &field, folder)?;
        Ok(Box::new(RemoteWrite { server, runtime }))
    }
}

impl Sink for RemoteWrite {
    fn publish(&mut self, batch: &Batch<'_>) -> Result<usize, Failure> {
        let series = Series { pipeline: batch.pipeline, shard: batch.store.shard() };
        let mut samples = Vec::new();
        for window in batch.windows {
            samples.extend(series.of_window(window));
            let drift = window.drift.iter();
            samples.extend(drift.flat_map(|drift| series.of_drift(drift, window.time)));
        }
        samples.extend(batch.end.iter().flat_map(|end| series.of_run(end)));
        let bug = |error| Failure { is_final: true, kind: "bug".to_owned(), error };
        let body = compressed(&encode(&samples)).map_err(bug)?;
        let mut request = Request::post(self.server.url().clone(), "application/x-protobuf", body);
        request.headers.extend(protocol());
        let sent = self.server.send(&request, |reply| {
            if reply.is_success() {
                return Ok(());
            }
            Err(self.server.refusal(&request, &reply, &reply.text()))
        });
        self.runtime.block_on(sent).map_err(Failure::from)?;
        Ok(samples.len())
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        let Failed { mut error, status, .. } = failed;
        let kind = status.map_or("unreachable".to_owned(), |status| format!("status {status}"));
        // 401, 403, 404 and 405 concern the server or its configuration, which an operator can
        // correct.
        let is_final = matches!(status, Some(400 | 413 | 422));
        if !is_final {
            error.message.push_str("; the next run sends it");
        }
        Self { is_final, kind, error }
    }
}

/// Returns the headers that make a POST a remote write.
fn protocol() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    headers.insert("x-prometheus-remote-write-version", HeaderValue::from_static("0.1.0"));
    headers
}

fn compressed(bytes: &[u8]) -> Result<Vec<u8>, StepError> {
    snap::raw::Encoder::new()
        .compress_vec(bytes)
        .map_err(|e| StepError::bug(format!("cannot compress samples: {e}")))
}

/// Encodes samples as a `prometheus.WriteRequest`: one `TimeSeries` (field 1) per series, which has
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

/// Appends an integer, seven bits per byte, the lowest first.
fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}
