//! HTTP servers on this machine that reply like working or faulty exporters.

#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use collect::follow::{Recorder, Recording};
use contract::{Span, Timestamp};
use document::sections::Collect;
use document::sinks::Sink;
use store::ObjectStore;

/// What an exporter answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// This text.
    Text(String),
    /// Half of this text, and then the connection ends.
    Truncated(String),
    /// This status.
    Status(u16),
    /// Nothing, while the connection stays open.
    Silence,
    /// Half of this text, while the connection stays open.
    Stalled(String),
}

/// Exporters, each on a separate port; they end with the process.
pub(crate) struct Exporters {
    answers: Vec<Arc<Mutex<Answer>>>,
    urls: Vec<String>,
}

impl Exporters {
    /// Starts this number of exporters.
    pub(crate) fn start(count: usize) -> Result<Self> {
        let (mut answers, mut urls) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            urls.push(format!("http://{}/metrics", listener.local_addr()?));
            let answer = Arc::new(Mutex::new(Answer::Status(404)));
            answers.push(Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut silent = Vec::new();
                for stream in listener.incoming().flatten() {
                    let answer = answer.lock().map(|answer| answer.clone());
                    // The server ignores a client that has disconnected.
                    silent.extend(answer.ok().and_then(|answer| serve(stream, answer)));
                }
            });
        }
        Ok(Self { answers, urls })
    }

    /// Returns their URLs.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.urls.clone()
    }

    /// Sets the reply of one exporter from now on.
    pub(crate) fn answer(&self, index: usize, answer: Answer) {
        if let Ok(mut current) = self.answers[index].lock() {
            *current = answer;
        }
    }
}

/// Answers a request; returns the connection if it stays open.
fn serve(mut stream: TcpStream, answer: Answer) -> Option<TcpStream> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
    let head = |status: u16, length: usize| {
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
    };
    let reply = match answer {
        Answer::Text(text) => head(200, text.len()) + &text,
        Answer::Truncated(text) => head(200, text.len()) + &text[..text.len() / 2],
        Answer::Status(status) => head(status, 0),
        Answer::Silence => return Some(stream),
        Answer::Stalled(text) => {
            let half = head(200, text.len()) + &text[..text.len() / 2];
            drop(stream.write_all(half.as_bytes()));
            return Some(stream);
        }
    };
    drop(stream.write_all(reply.as_bytes()));
    None
}

pub(crate) const METRICS: &str = "metrics: [{name: load, metric: node_load1}, \
    {name: bytes, metric: bytes_total, counter: true, labels: {device: ['!lo']}}]";

static NO_EXPORTS: BTreeMap<String, Sink> = BTreeMap::new();

pub(crate) fn time(minute: i64, second: i64) -> Timestamp {
    Timestamp::from_ms(1_795_252_800_000) + Span::from_seconds(60 * minute + second)
}

/// Opens the recorder `central` of a document.
pub(crate) fn central<'a>(
    document: &'a Collect,
    folder: &'a Path,
    store: &Arc<dyn ObjectStore>,
    spool: &'a Path,
) -> Result<Recorder<'a>> {
    let store = Arc::clone(store);
    let exports = &NO_EXPORTS;
    let recorder = "central";
    Ok(Recorder::open(Recording { document, exports, folder, store, recorder, spool })?)
}

pub(crate) fn open(url: &str) -> Result<Arc<dyn ObjectStore>> {
    Ok(store::open(url)?.into())
}

pub(crate) fn document(urls: &[String], more: &str) -> Result<Collect> {
    let text = format!(
        "format: 1\nname: node\nstep: 10s\nrange: 5m\nsources:\n  nodes: {{exporter: {{endpoints: [{}], \
         timeout: 500ms, {METRICS}}}{more}}}\nfeatures: [raw: {{}}]\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n",
        urls.iter().map(|url| format!("'{url}'")).collect::<Vec<_>>().join(", ")
    );
    Ok(document::parse("x.yaml", &text)?.into())
}

pub(crate) fn exposition(load: f64, bytes: i64) -> String {
    format!(
        "# TYPE node_load1 gauge\nnode_load1 {load}\nbytes_total{{device=\"lo\"}} 7\n\
         bytes_total{{device=\"eth0\"}} {bytes}\n"
    )
}
