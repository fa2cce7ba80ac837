//! A fake server of the Prometheus API, with replies from a test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

/// A received range query; times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Parameters of the URL that do not belong to the range query.
    pub(crate) others: Vec<String>,
    pub(crate) query: String,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) step: i64,
}

impl Asked {
    /// Returns the times of the points.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let step = usize::try_from(self.step).unwrap_or(1);
        (self.start..=self.end).step_by(step)
    }

    /// Returns how many points are asked for.
    pub(crate) fn points(&self) -> usize {
        self.times().count()
    }

    /// Returns a series in JSON: `labels` is in JSON, and there is a point wherever `value` returns
    /// one.
    pub(crate) fn series(&self, labels: &str, value: impl Fn(i64) -> Option<f64>) -> String {
        let points = self.times().filter_map(|time| Some(format!("[{time},\"{}\"]", value(time)?)));
        let points: Vec<String> = points.collect();
        format!(r#"{{"metric":{labels},"values":[{}]}}"#, points.join(","))
    }
}

/// A reply: status, header lines (each ends with `\r\n`) and body. Status 0 means no reply.
pub(crate) type Answer = (u16, &'static str, Vec<u8>);

/// Makes a successful reply with series.
pub(crate) fn matrix(series: &[String]) -> Answer {
    with("", series)
}

/// Makes a successful reply with further fields, such as `"isPartial":true,`.
pub(crate) fn with(fields: &str, series: &[String]) -> Answer {
    let series = series.join(",");
    let body = format!(
        r#"{{"status":"success",{fields}"data":{{"resultType":"matrix","result":[{series}]}}}}"#
    );
    (200, "", body.into_bytes())
}

/// Makes an error reply in Prometheus' format.
pub(crate) fn refusal(status: u16, kind: &str, error: &str) -> Answer {
    let body =
        serde_json::json!({"status": "error", "errorType": kind, "error": error}).to_string();
    (status, "", body.into_bytes())
}

/// A server on a free port of 127.0.0.1; it ends when this is dropped.
pub(crate) struct Fake {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
}

impl Fake {
    /// Starts a server that replies to each query with the result of `answer`.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (asked, ended) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let fake = Self { port, asked: Arc::clone(&asked), ended: Arc::clone(&ended) };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                // Errors are ignored, because in some tests the client disconnects.
                std::thread::spawn(move || drop(serve(client, &asked, &*answer)));
            }
        });
        Ok(fake)
    }

    /// Returns its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the queries so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener; if that fails, the listener has already ended.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(
    mut client: TcpStream,
    asked: &Mutex<Vec<Asked>>,
    answer: &dyn Fn(&Asked) -> Answer,
) -> Result<()> {
    let query = read(&client)?;
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(query.clone());
    let (status, headers, body) = answer(&query);
    if status == 0 {
        // Ends when the client gives up and closes its side.
        client.read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status} x\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    client.write_all(&body)?;
    Ok(client.flush()?)
}

fn read(client: &TcpStream) -> Result<Asked> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(reader.read_line(&mut head)? > 0, "the client went away");
    }
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(Ok(0), |length| length.trim().parse())?];
    reader.read_exact(&mut body)?;
    let mut words = head.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let in_url = words.next().and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
    let body = String::from_utf8(body)?;
    let pairs = in_url.split('&').chain(body.split('&')).filter(|pair| !pair.is_empty());
    let mut asked =
        Asked { method, others: Vec::new(), query: String::new(), start: 0, end: 0, step: 1 };
    for pair in pairs {
        // A body of JSON is not a form.
        if pair.starts_with('{') {
            asked.others.push(body.clone());
            break;
        }
        let (name, value) = pair.split_once('=').context("no pair")?;
        match name {
            "query" => value.clone_into(&mut asked.query),
            "start" => asked.start = value.parse()?,
            "end" => asked.end = value.parse()?,
            "step" => asked.step = value.parse()?,
            _ => asked.others.push(pair.to_owned()),
        }
    }
    Ok(asked)
}
