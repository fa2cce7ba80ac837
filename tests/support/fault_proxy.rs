//! A small HTTP proxy that injects faults into its traffic according to a script.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};

/// Fault of one request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// No fault: it is forwarded.
    None,
    /// It is answered with this status, these header lines (each ends with `\r\n`) and this body.
    Reply(u16, &'static str, &'static str),
    /// It is never answered; the connection stays open until the client closes it.
    Silence,
    /// The connection is closed without an answer.
    HangUp,
    /// Half of the answer's body is sent, then the connection is closed.
    CutBody,
    /// Half of the answer is sent as if it were the whole.
    HalfBody,
    /// In the request's body, the first text is replaced by the second.
    Ask(&'static str, &'static str),
    /// In the answer's body, every first text is replaced by the second.
    Answer(&'static str, &'static str),
}

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Request line and header lines.
    pub(crate) head: String,
    /// The body as text; invalid characters are replaced.
    pub(crate) body: String,
    /// The body in bytes.
    bytes: Vec<u8>,
}

/// A proxy on a free port of 127.0.0.1; it ends when this is dropped.
pub(crate) struct FaultProxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    upstream: Option<u16>,
    script: Mutex<VecDeque<Fault>>,
    afterwards: Fault,
    requests: Mutex<Vec<Request>>,
    active: AtomicUsize,
    most_active: AtomicUsize,
    ended: AtomicBool,
}

impl FaultProxy {
    /// Starts a proxy in front of a local port. The requests get the script's faults in the order
    /// of their arrival, and all later requests get `afterwards`.
    pub(crate) fn start(
        upstream: Option<u16>,
        script: &[Fault],
        afterwards: Fault,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            upstream,
            script: Mutex::new(script.iter().cloned().collect()),
            afterwards,
            requests: Mutex::default(),
            active: AtomicUsize::new(0),
            most_active: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&serving);
                std::thread::spawn(move || {
                    let active = state.active.fetch_add(1, Ordering::SeqCst) + 1;
                    state.most_active.fetch_max(active, Ordering::SeqCst);
                    // Some of the faults make the client disconnect, so errors are ignored.
                    drop(state.serve(client));
                    state.active.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { port, state })
    }

    /// Returns its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the largest number of concurrent requests.
    pub(crate) fn most_active(&self) -> usize {
        self.state.most_active.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the listener; if that fails it has ended already.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl State {
    fn serve(&self, mut client: TcpStream) -> Result<()> {
        let mut request = read_request(&client)?;
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let fault = self.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let fault = fault.unwrap_or_else(|| self.afterwards.clone());
        match &fault {
            Fault::Reply(status, headers, body) => {
                let length = body.len();
                write!(
                    client,
                    "HTTP/1.1 {status} x\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                )?;
                return Ok(client.shutdown(Shutdown::Both)?);
            }
            Fault::Silence => {
                // Ends when the client gives up and closes its side.
                client.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
            Fault::HangUp => return Ok(client.shutdown(Shutdown::Both)?),
            Fault::Ask(from, to) => {
                request.bytes = request.body.replacen(from, to, 1).into_bytes();
            }
            Fault::None | Fault::CutBody | Fault::HalfBody | Fault::Answer(..) => {}
        }
        let (status, mut body) = self.pass_on(&request)?;
        let mut length = body.len();
        match fault {
            Fault::CutBody => body.truncate(length / 2),
            Fault::HalfBody => {
                body.truncate(length / 2);
                length = body.len();
            }
            Fault::Answer(from, to) => {
                body = String::from_utf8(body)?.replace(from, to).into_bytes();
                length = body.len();
            }
            _ => {}
        }
        write!(client, "{status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
        client.write_all(&body)?;
        Ok(client.shutdown(Shutdown::Both)?)
    }

    /// Returns the upstream's status line and body.
    fn pass_on(&self, request: &Request) -> Result<(String, Vec<u8>)> {
        let port = self.upstream.context("the script of a proxy without upstream is over")?;
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        let line = request.head.lines().next().unwrap_or_default().replace("HTTP/1.1", "HTTP/1.0");
        let content = request.head.lines().filter(|line| {
            let name = line.to_lowercase();
            name.starts_with("content-type:") || name.starts_with("content-encoding:")
        });
        let content: String = content.flat_map(|line| [line, "\r\n"]).collect();
        let length = request.bytes.len();
        write!(stream, "{line}\r\nHost: x\r\n{content}Content-Length: {length}\r\n\r\n")?;
        stream.write_all(&request.bytes)?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let head = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("no reply")?;
        let body = reply.split_off(head + 4);
        let status = String::from_utf8_lossy(&reply);
        let status = status.lines().next().unwrap_or_default().replace("HTTP/1.0", "HTTP/1.1");
        Ok((status, body))
    }
}

fn read_request(client: &TcpStream) -> Result<Request> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        anyhow::ensure!(reader.read_line(&mut head)? > 0, "the client went away");
    }
    let length = head.to_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(Ok(0), |length| length.trim().parse())?];
    reader.read_exact(&mut body)?;
    Ok(Request { head, body: String::from_utf8_lossy(&body).into_owned(), bytes: body })
}
