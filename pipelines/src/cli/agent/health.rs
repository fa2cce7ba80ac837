//! Answers `/healthz` and `/metrics` during the recording, one request at a time.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use collect::follow::Step;
use contract::{Span, StepError, Timestamp};

use crate::cli::context::clock;

/// Deadline of a request's header; a slower client gets no answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a request that are read at most.
const LONGEST_REQUEST: u64 = 8192;
/// Steps without success after which the agent is unhealthy.
const MOST_STEPS: i64 = 3;

/// Progress of the recording.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    steps: u64,
    rows: u64,
    segments: u64,
    failures: u64,
    /// End of the last completed step, and the length of a step.
    last: Option<(Timestamp, Span)>,
    started: Option<Timestamp>,
}

/// The endpoint; it runs until the process ends.
#[derive(Debug)]
pub(crate) struct Health {
    address: SocketAddr,
    figures: Arc<Mutex<Figures>>,
}

impl Health {
    /// Starts the endpoint.
    ///
    /// Errors: usage for an address on which the process cannot listen.
    pub(crate) fn listen(address: SocketAddr) -> Result<Self, StepError> {
        let failed = |error: std::io::Error| {
            StepError::usage(format!("cannot listen at `{address}`: {error}"))
                .hint("set another address with `--listen ADDRESS`; port 0 selects a free port")
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let started = Some(clock());
        let figures = Arc::new(Mutex::new(Figures { started, ..Figures::default() }));
        let shared = Arc::clone(&figures);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let figures = *shared.lock().unwrap_or_else(PoisonError::into_inner);
                // A client that has disconnected needs no answer.
                drop(answer(connection, figures));
            }
        });
        Ok(Self { address, figures })
    }

    /// Returns the address at which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Records the result of a step that ended at `time`.
    pub(crate) fn note(&self, time: Timestamp, step: &Step, length: Span) {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.steps += 1;
        figures.rows += count(step.rows);
        figures.segments += count(step.sent);
        figures.failures += count(step.failures.len());
        figures.last = Some((time, length));
    }
}

impl Figures {
    /// Returns whether a step completed recently; a newly started agent is healthy while it waits
    /// for its first step.
    fn is_healthy(&self, now: Timestamp) -> bool {
        match (self.last, self.started) {
            (Some((last, length)), _) => now - last <= Span::from_ms(MOST_STEPS * length.ms()),
            (None, Some(started)) => now - started <= Span::from_seconds(60),
            (None, None) => false,
        }
    }

    /// Returns the figures in Prometheus' text format.
    fn text(&self) -> String {
        let mut text = String::new();
        for (name, help, value) in [
            ("steps_total", "Recorded steps", self.steps),
            ("rows_total", "Rows that were recorded", self.rows),
            ("segments_total", "Segments that were sent to the store", self.segments),
            ("failures_total", "Scrapes, files and stores that failed", self.failures),
        ] {
            // Writing to a String cannot fail.
            write!(
                text,
                "# HELP lynceus_agent_{name} {help}.\n# TYPE lynceus_agent_{name} counter\nlynceus_agent_{name} {value}\n"
            )
            .unwrap_or_default();
        }
        if let Some((last, _)) = self.last {
            let seconds = last.ms() as f64 / 1000.0;
            let name = "lynceus_agent_last_step_timestamp_seconds";
            write!(
                text,
                "# HELP {name} End of the last step.\n# TYPE {name} gauge\n{name} {seconds}\n"
            )
            .unwrap_or_default();
        }
        text
    }
}

fn answer(mut connection: TcpStream, figures: Figures) -> std::io::Result<()> {
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    let mut reader = (&connection).take(LONGEST_REQUEST);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match reader.read(&mut piece)? {
            0 => break,
            bytes => request.extend_from_slice(piece.get(..bytes).unwrap_or_default()),
        }
    }
    let line = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next().unwrap_or(b""))
        .into_owned();
    let mut words = line.split(' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics")) => ("200 OK", figures.text()),
        (Some("GET"), Some("/healthz")) if figures.is_healthy(clock()) => {
            ("200 OK", "ok\n".to_owned())
        }
        (Some("GET"), Some("/healthz")) => {
            ("503 Service Unavailable", "no recent step\n".to_owned())
        }
        (Some("GET"), _) => ("404 Not Found", "/metrics or /healthz\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET only\n".to_owned()),
    };
    let length = body.len();
    connection.write_all(
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut reply = String::new();
        connection.read_to_string(&mut reply).unwrap();
        reply
    }

    #[test]
    fn metrics_path_answers_and_other_paths_are_not_found() {
        let health = Health::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(get(health.address(), "/healthz").starts_with("HTTP/1.1 200"));
        let step = Step { rows: 3, sent: 1, failures: vec!["x".to_owned()] };
        health.note(clock(), &step, Span::from_seconds(10));
        health.note(clock(), &step, Span::from_seconds(10));
        let metrics = get(health.address(), "/metrics");
        assert!(metrics.contains("\nlynceus_agent_rows_total 6\n"), "{metrics}");
        assert!(metrics.contains("\nlynceus_agent_failures_total 2\n"), "{metrics}");
        assert!(get(health.address(), "/").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn agent_without_recent_step_is_unhealthy() {
        let at = |seconds: i64| Timestamp::from_ms(1000 * seconds);
        let step = Span::from_seconds(10);
        let taken = Figures { last: Some((at(100), step)), ..Figures::default() };
        assert!(taken.is_healthy(at(130)) && !taken.is_healthy(at(131)));
        let starting = Figures { started: Some(at(100)), ..Figures::default() };
        assert!(starting.is_healthy(at(160)) && !starting.is_healthy(at(161)));
    }
}
