//! A proxy between a store and its server that breaks what passes, request by request.
//!
//! It leaves headers as they are, since they are signed, and closes each connection after one
//! request, so where a message ends is plain.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use store::S3Store;

use super::Access;

/// What is done to one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Nothing: it passes, and its answer.
    None,
    /// It is answered with this status and this code, and does not pass.
    Reply(u16, &'static str),
    /// It is answered with what no server of the protocol says, and does not pass.
    Garbage,
    /// It passes, and its answer does not.
    LoseReply,
    /// This many bytes of its body pass, then both sides are hung up on.
    CutRequest(usize),
    /// This many bytes of the answer's body pass, then the connection is closed.
    CutReply(usize),
    /// It passes with this byte of its body changed.
    ChangeRequest(usize),
    /// Its answer passes with this byte of the body changed.
    ChangeReply(usize),
    /// Its answer passes in pieces of this many bytes.
    Pieces(usize),
    /// Its answer passes with this many bytes of the body, and nothing more comes.
    StallReply(usize),
    /// It is never answered.
    Silence,
}

/// What identifies a request: its method, its path with the query, how many requests with
/// both came before it.
pub(crate) struct Seen<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) before: usize,
    /// Whether it carries a checksum of its body in a header, or announces one behind the body.
    pub(crate) has_checksum: bool,
}

/// A running proxy; it takes no more requests when this is dropped.
pub(crate) struct Proxy {
    access: Access,
    port: u16,
    state: Arc<State>,
}

struct State {
    upstream: u16,
    script: Box<dyn Fn(&Seen<'_>) -> Fault + Send + Sync>,
    seen: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// Starts a proxy and opens a store through it.
pub(crate) fn through(
    server: &Access,
    name: &str,
    script: fn(&Seen<'_>) -> Fault,
) -> Result<(Proxy, S3Store)> {
    let proxy = Proxy::start(server, script)?;
    let store = proxy.access().store(name)?;
    Ok((proxy, store))
}

impl Proxy {
    /// Starts a proxy in front of a server; `script` says what is done to each request.
    pub(crate) fn start(
        server: &Access,
        script: impl Fn(&Seen<'_>) -> Fault + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            upstream: server.port()?,
            script: Box::new(script),
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&serving);
                // A side that went away is what most of the faults are for.
                std::thread::spawn(move || drop(state.serve(client)));
            }
        });
        let access = server.by(format!("http://127.0.0.1:{port}"));
        Ok(Self { access, port, state })
    }

    /// The server as it is reached through the proxy.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// Returns the requests so far, as `METHOD target`.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the listener; if that fails it has ended already.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl State {
    fn fault(&self, head: &str) -> Result<Fault> {
        let mut words = head.split(' ');
        let method = words.next().context("no method")?;
        let target = words.next().context("no target")?;
        let request = format!("{method} {target}");
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.iter().filter(|other| **other == request).count();
        seen.push(request.clone());
        let has_checksum = head.to_lowercase().contains("x-amz-checksum-");
        Ok((self.script)(&Seen { method, target, before, has_checksum }))
    }

    fn serve(&self, mut client: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let (head, mut body) = read_request(&mut reader)?;
        let fault = self.fault(&head)?;
        match fault {
            Fault::Reply(status, code) => {
                let body = format!("<Error><Code>{code}</Code><Message>x</Message></Error>");
                let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len());
                write!(client, "{head}Connection: close\r\n\r\n{body}")?;
                return Ok(client.shutdown(Shutdown::Write)?);
            }
            Fault::Garbage => {
                write!(client, "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n<html>hello")?;
                return Ok(client.shutdown(Shutdown::Write)?);
            }
            Fault::Silence => {
                // Ends when the client gives up.
                drop(reader.read_to_end(&mut Vec::new()));
                return Ok(());
            }
            Fault::CutRequest(bytes) => body.truncate(bytes),
            Fault::ChangeRequest(place) => change(&mut body, place)?,
            _ => {}
        }
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream))?;
        // In one piece: a server that needs no body to refuse a request hangs up on the rest.
        let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        server.write_all(&[head.as_bytes(), &body].concat())?;
        if matches!(fault, Fault::CutRequest(_)) {
            server.shutdown(Shutdown::Both)?;
            return Ok(client.shutdown(Shutdown::Both)?);
        }
        let mut reply = Vec::new();
        server.read_to_end(&mut reply)?;
        let start = end_of_head(&reply).context("no reply")?;
        match fault {
            Fault::LoseReply => return Ok(client.shutdown(Shutdown::Both)?),
            Fault::CutReply(bytes) => reply.truncate(start + bytes),
            Fault::ChangeReply(place) => change(&mut reply, start + place)?,
            Fault::StallReply(bytes) => {
                client.write_all(&reply[..reply.len().min(start + bytes)])?;
                // Ends when the client gives up.
                drop(reader.read_to_end(&mut Vec::new()));
                return Ok(());
            }
            Fault::Pieces(bytes) => {
                for piece in reply.chunks(bytes) {
                    client.write_all(piece)?;
                    client.flush()?;
                    std::thread::yield_now();
                }
                return Ok(client.shutdown(Shutdown::Both)?);
            }
            _ => {}
        }
        client.write_all(&reply)?;
        Ok(client.shutdown(Shutdown::Both)?)
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Result<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(reader.read_line(&mut head)? > 0, "the client went away");
    }
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(Ok(0), |length| length.trim().parse())?];
    reader.read_exact(&mut body)?;
    Ok((head, body))
}

fn end_of_head(message: &[u8]) -> Option<usize> {
    Some(message.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4)
}

fn change(bytes: &mut [u8], place: usize) -> Result<()> {
    *bytes.get_mut(place).context("nothing to change there")? ^= 1;
    Ok(())
}
