//! Requests to a server of `MLflow`, or to one that receives `OpenLineage` events.

use std::path::Path;

use client::{Failed, Reply, Request, Server};
use contract::{SYSTEM_HINT, StepError};
use document::http::HttpServer;
use reqwest::Method;
use serde_json::Value;
use tokio::runtime::Runtime;

/// Bytes of an answer that are read.
const LONGEST_REPLY_BYTES: usize = 16 << 20;
const JSON: &str = "application/json";

/// A server and the requests to it.
#[derive(Debug)]
pub(crate) struct Rest {
    server: Server,
    runtime: Runtime,
}

/// Answer of the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The requested value.
    Done(Value),
    /// An error that the caller expects.
    Known,
}

impl Answer {
    /// Returns the requested value; `None` for an error.
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            Self::Done(value) => Some(value),
            Self::Known => None,
        }
    }
}

impl Rest {
    /// Prepares requests; nothing is sent yet. `field` is the field of the server in the document,
    /// and `folder` the folder of the document.
    pub(crate) fn open(server: &HttpServer, field: &str, folder: &Path) -> Result<Self, StepError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(
            |error| {
                StepError::unavailable(format!("cannot start the requests: {error}"))
                    .hint(SYSTEM_HINT)
            },
        )?;
        Ok(Self { server: Server::open(server, field, folder)?, runtime })
    }

    /// Sends JSON to a path below `api/2.0/mlflow/`; `known` are error codes that the caller
    /// expects.
    pub(crate) fn post(
        &self,
        path: &str,
        body: &Value,
        known: &[&str],
    ) -> Result<Answer, StepError> {
        let url = self.server.url().join(&format!("/api/2.0/mlflow/{path}"));
        let body = body.to_string().into_bytes();
        self.send(Request { what: path.to_owned(), ..Request::post(url, JSON, body) }, known)
    }

    /// Sends a GET request to a path below `api/2.0/mlflow/` with parameters.
    pub(crate) fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        known: &[&str],
    ) -> Result<Answer, StepError> {
        let url = self.server.url().join(&format!("/api/2.0/mlflow/{path}"));
        let url = url.with_query(parameters.iter().copied());
        self.send(Request { what: path.to_owned(), ..Request::get(url) }, known)
    }

    /// Uploads a file to a path below the server's artifacts.
    pub(crate) fn put_file(&self, path: &str, bytes: Vec<u8>) -> Result<(), StepError> {
        let url = self.server.url().join(&format!("/api/2.0/mlflow-artifacts/artifacts/{path}"));
        let request = Request { method: Method::PUT, body: bytes, ..Request::get(url) };
        let what = "keeping an artifact".to_owned();
        self.send(Request { what, ..request }, &[]).map(drop)
    }

    /// Sends JSON to the server's own URL.
    pub(crate) fn post_here(&self, body: &Value) -> Result<(), StepError> {
        let url = self.server.url().clone();
        let body = body.to_string().into_bytes();
        let what = "sending an event".to_owned();
        self.send(Request { what, ..Request::post(url, JSON, body) }, &[]).map(drop)
    }

    fn send(&self, mut request: Request, known: &[&str]) -> Result<Answer, StepError> {
        request.longest_reply_bytes = LONGEST_REPLY_BYTES;
        let judge = |reply: Reply| self.judge(&request, &reply, known);
        let sent = self.runtime.block_on(self.server.send(&request, judge));
        sent.map_err(|failed| failed.error)
    }

    fn judge(&self, request: &Request, reply: &Reply, known: &[&str]) -> Result<Answer, Failed> {
        let text = reply.text();
        let json: Option<Value> = serde_json::from_str(&text).ok();
        if reply.is_success() {
            // The reply to an artifact or an event may be empty, or not JSON.
            return Ok(Answer::Done(json.unwrap_or(Value::Null)));
        }
        let field = |name: &str| json.as_ref()?.get(name)?.as_str();
        if field("error_code").is_some_and(|code| known.contains(&code)) {
            return Ok(Answer::Known);
        }
        let mut failed = self.server.refusal(request, reply, field("message").unwrap_or(&text));
        if text.contains("Invalid Host header") {
            failed.error = failed.error.hint(
                "start the server with --allowed-hosts and the name by which it is asked here",
            );
        }
        Err(failed)
    }
}
