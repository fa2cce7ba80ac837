//! A small HTTP server that replies as the test sets and records its requests.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// One received request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A reply: status, further headers, body.
#[derive(Debug, Clone)]
pub(crate) struct Answer(pub(crate) u16, pub(crate) &'static str, pub(crate) &'static str);

/// The server; it ends when this is dropped.
pub(crate) struct Double {
    port: u16,
    answer: Arc<Mutex<Option<Answer>>>,
    exception: Arc<Mutex<Option<(&'static str, Answer)>>>,
    asked: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Double {
    pub(crate) fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new(Some(answer)));
        let exception = Arc::new(Mutex::new(None));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (answers, requests, ended) = (answer.clone(), asked.clone(), over.clone());
        let exceptions = exception.clone();
        let thread = std::thread::spawn(move || {
            // Connections without a reply stay open until the server ends.
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let mut stream = stream.unwrap();
                let Some(request) = read(&stream) else { continue };
                let exception: Option<(&str, Answer)> = exceptions.lock().unwrap().clone();
                let is_meant = |(word, _): &(&str, Answer)| request.body.contains(word);
                let exception = exception.filter(is_meant).map(|(_, answer)| answer);
                requests.lock().unwrap().push(request);
                match exception.or(answers.lock().unwrap().clone()) {
                    None => silent.push(stream),
                    Some(answer) => write(&mut stream, &answer),
                }
            }
        });
        Self { port, answer, exception, asked, over, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets the reply from now on; `None` means no reply.
    pub(crate) fn answers(&self, answer: Option<Answer>) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Sets the reply to requests with a word in their body.
    pub(crate) fn answers_to(&self, word: &'static str, answer: Answer) {
        *self.exception.lock().unwrap() = Some((word, answer));
    }

    /// Returns the requests since the last call.
    pub(crate) fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8(body).unwrap() })
}

fn write(stream: &mut TcpStream, Answer(status, headers, body): &Answer) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n");
    // The client may have disconnected.
    drop(write!(stream, "{head}{headers}\r\n{body}"));
}
