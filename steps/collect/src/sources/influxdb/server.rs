//! One server: sends queries and classifies failures.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use client::{Failed, Reply, Request, Server as Client};
use contract::{SYSTEM_HINT, StepError, Timestamp};
use document::http::Http;
use document::sources::influxdb::{InfluxLanguage, InfluxdbSource};
use reqwest::header::{ACCEPT, DATE, HeaderMap, HeaderValue};

use super::question::Question;
use super::reply::{Lines, Series, Wrong};
use super::{flux, sql};

/// Maximum number of bytes of a reply.
const LONGEST_REPLY_BYTES: usize = 512 << 20;
/// Status for a request that exceeds a limit of the server, which `InfluxDB` reports in a reply with
/// the status 200.
const TOO_LARGE: u16 = 413;

/// A server, with the common parts of all requests.
pub(super) struct Server {
    client: Client,
    runtime: tokio::runtime::Runtime,
    language: InfluxLanguage,
    database: String,
    /// Organization of 2.x.
    organization: Option<String>,
    /// Time of the server's clock in its last reply.
    clock: Mutex<Option<Timestamp>>,
}

/// Reason why a query failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// A final error.
    Final(StepError),
    /// The reply would exceed a limit of the server.
    TooLarge(StepError),
    /// The server failed until the last retry.
    Down(StepError),
}

impl Failure {
    /// Returns the error of the failure.
    pub(super) fn error(self) -> StepError {
        match self {
            Self::Final(error) | Self::TooLarge(error) | Self::Down(error) => error,
        }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        match failed.status {
            _ if failed.is_passing => Self::Down(failed.error),
            Some(TOO_LARGE) => Self::TooLarge(failed.error),
            Some(_) | None => Self::Final(failed.error),
        }
    }
}

impl Server {
    /// Makes the client of a source; its files are relative to `folder`, the document's.
    pub(super) fn new(
        field: &str,
        settings: &Http<InfluxdbSource>,
        folder: &Path,
    ) -> Result<Self, StepError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(
            |error| {
                StepError::unavailable(format!("cannot start to fetch: {error}")).hint(SYSTEM_HINT)
            },
        )?;
        Ok(Self {
            client: Client::open(&settings.server, field, folder)?,
            runtime,
            language: settings.own.language,
            database: settings.own.database.clone(),
            organization: settings.own.organization.clone(),
            clock: Mutex::new(None),
        })
    }

    /// Returns the URL as errors show it.
    pub(super) fn shown(&self) -> String {
        self.client.url().to_string()
    }

    /// Returns the time of the server's clock in its last reply.
    pub(super) fn clock(&self) -> Option<Timestamp> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many requests were sent, and how many of them were retries.
    pub(super) fn counts(&self) -> (usize, usize) {
        self.client.counts()
    }

    /// Sends a query. Each series of the reply is passed to `take`, with a value from `start` for
    /// each attempt, so that a failed attempt does not affect the next.
    pub(super) fn ask<T>(
        &self,
        question: &Question,
        start: impl Fn() -> T,
        take: impl Fn(&mut T, Series),
    ) -> Result<T, Failure> {
        let request = self.request(&question.text);
        let judge = |reply: Reply| {
            if let Some(date) = date_of(&reply.headers) {
                *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(date);
            }
            if !reply.is_success() {
                return Err(self.status(&request, &reply));
            }
            let mut taken = start();
            let mut add = |series| take(&mut taken, series);
            let read = match self.language {
                InfluxLanguage::Influxql => {
                    let mut lines = Lines::default();
                    lines.push(&reply.body, &mut add).and_then(|()| lines.finish(&mut add))
                }
                InfluxLanguage::Flux => flux::read(&reply.body, &mut add),
                InfluxLanguage::Sql => {
                    sql::read(&reply.body, &question.fields, &question.tags, &mut add)
                }
            };
            read.map_err(|wrong| self.wrong(&request, wrong))?;
            Ok(taken)
        };
        Ok(self.runtime.block_on(self.client.send(&request, judge))?)
    }

    /// Sends a query with few rows; returns its series.
    pub(super) fn list(&self, question: &Question) -> Result<Vec<Series>, Failure> {
        self.ask(question, Vec::new, Vec::push)
    }

    /// Makes the request of a query. A query in the body may have any length and is not logged by
    /// proxies.
    fn request(&self, text: &str) -> Request {
        let url = self.client.url();
        let database = self.database.as_str();
        let mut request = match self.language {
            InfluxLanguage::Influxql => {
                let form = [("db", database), ("q", text), ("epoch", "ms"), ("chunked", "true")];
                Request::form(url.join("/query"), form)
            }
            InfluxLanguage::Flux => {
                let dialect = serde_json::json!({
                    "annotations": ["datatype", "group", "default"],
                    "header": true,
                    "delimiter": ",",
                    "dateTimeFormat": "RFC3339",
                });
                let body = serde_json::json!({"query": text, "type": "flux", "dialect": dialect});
                let organization = self.organization.as_deref().unwrap_or_default();
                let url = url.join("/api/v2/query").with_query([("org", organization)]);
                let body = body.to_string().into_bytes();
                let mut request = Request::post(url, "application/json", body);
                request.headers.insert(ACCEPT, HeaderValue::from_static("application/csv"));
                request
            }
            InfluxLanguage::Sql => {
                let body = serde_json::json!({"db": database, "q": text, "format": "jsonl"});
                let body = body.to_string().into_bytes();
                Request::post(url.join("/api/v3/query_sql"), "application/json", body)
            }
        };
        request.longest_reply_bytes = LONGEST_REPLY_BYTES;
        request
    }

    fn message(&self, request: &Request, what: &str) -> String {
        format!("`{}`: {}", request.url, self.client.quote(request, what))
    }

    fn wrong(&self, request: &Request, wrong: Wrong) -> Failed {
        let field = self.client.field();
        match wrong {
            Wrong::Broken(what) => {
                let error = StepError::unavailable(self.message(request, &what));
                Failed::passing(error.hint(
                    "check whether a proxy changes or truncates replies. The request is \
                     repeated",
                ))
            }
            Wrong::WebPage => Failed::for_good(
                StepError::usage(self.message(request, "the reply is a web page"))
                    .hint(format!("{field}.url must be the URL of the InfluxDB API")),
            ),
            Wrong::Said(text) => self.said(request, &text),
        }
    }

    /// Makes the failure for an error in a reply with the status 200.
    fn said(&self, request: &Request, text: &str) -> Failed {
        let field = self.client.field();
        let message = self.message(request, text);
        let lower = text.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if says(&["max-select"]) {
            let error =
                StepError::usage(message).hint("even a single window exceeds the server's limit");
            return Failed { status: Some(TOO_LARGE), ..Failed::for_good(error) };
        }
        if says(&["timeout", "interrupted", "killed", "max-concurrent", "shutting down"]) {
            return Failed::passing(StepError::unavailable(message));
        }
        let error = StepError::usage(message);
        Failed::for_good(if says(&["bucket"]) {
            error.hint(format!(
                "{field}.database is the bucket, and {field}.organization is its \
                 owner"
            ))
        } else if says(&["retention policy not found"]) {
            error.hint(format!("{field}.retention_policy names it"))
        } else if says(&["database not found", "database name required"]) {
            let mapping = "2.x needs a DBRP mapping of the bucket to a database";
            error.hint(format!("{field}.database names it; {mapping}"))
        } else if says(&["authoriz", "permission", "forbidden", "credentials"]) {
            error.hint(self.credentials())
        } else {
            error
        })
    }

    fn credentials(&self) -> String {
        let (field, database) = (self.client.field(), &self.database);
        match self.language {
            InfluxLanguage::Influxql => {
                format!("set {field}.auth; the user needs GRANT READ ON \"{database}\"")
            }
            InfluxLanguage::Flux => format!(
                "set {field}.auth.header: `Authorization` with `Token ...`, of a token that may read the bucket `{database}`"
            ),
            InfluxLanguage::Sql => format!(
                "set {field}.auth.bearer_token to a token that may read the database `{database}`"
            ),
        }
    }

    /// Makes the failure of a reply whose status is an error.
    fn status(&self, request: &Request, reply: &Reply) -> Failed {
        let said = serde_json::from_slice::<serde_json::Value>(&reply.body).ok().and_then(|body| {
            let text = body.get("error").or_else(|| body.get("message"))?.as_str()?;
            Some(text.to_owned())
        });
        let said = said.unwrap_or_else(|| reply.text().into_owned());
        let failed = self.client.refusal(request, reply, &said);
        match reply.status {
            404 if self.language == InfluxLanguage::Flux => {
                let hint =
                    "`language: flux` is for 2.x; check `database`, the bucket, and `organization`";
                Failed { error: failed.error.hint(hint), ..failed }
            }
            404 if self.language == InfluxLanguage::Sql => {
                let hint = "`language: sql` is for 3.x; check `database`";
                Failed { error: failed.error.hint(hint), ..failed }
            }
            401 | 403 => Failed { error: failed.error.hint(self.credentials()), ..failed },
            _ => failed,
        }
    }
}

fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let time = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(Timestamp::from_ms(time.as_millisecond()))
}
