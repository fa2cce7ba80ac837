//! Discovers the kind, metrics and history of a Prometheus server. Used for writing a suitable
//! document, not for collecting.

use std::collections::BTreeMap;
use std::path::Path;

use contract::{SYSTEM_HINT, Span, StepError, Timestamp};
use document::http::HttpServer;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::sources::prometheus::client::Endpoint;
use crate::sources::prometheus::reply::one_line;

/// A reply of more bytes than this is not read to its end.
const LONGEST_REPLY_BYTES: usize = 64 << 20;
/// Number of points of the range query that finds the beginning of the data.
const BEGIN_POINTS: i64 = 240;

/// A server to inspect.
#[derive(Debug)]
pub struct Look {
    endpoint: Endpoint,
    runtime: tokio::runtime::Runtime,
}

/// Properties that a server reports; unreported ones are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Kind of server and its version, such as `Prometheus 3.5.0`.
    pub server: Option<String>,
    /// Retention time of samples, as the server writes it.
    pub retention: Option<String>,
    /// Series in memory.
    pub series: Option<u64>,
    /// The usual time between two scrapes of a target.
    pub scrape_interval: Option<Span>,
    /// Names of all metrics.
    pub metrics: Vec<String>,
    /// Beginning of the samples, no earlier than the requested range.
    pub begin: Option<Timestamp>,
}

impl Look {
    /// Prepares the inspection of a server; nothing is sent yet.
    pub fn new(server: &HttpServer, folder: &Path) -> Result<Self, StepError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(
            |error| {
                StepError::unavailable(format!("cannot start the requests: {error}"))
                    .hint(SYSTEM_HINT)
            },
        )?;
        Ok(Self { endpoint: Endpoint::new("prometheus", server, folder)?, runtime })
    }

    /// Returns the properties of the server; the time `range` before `now` is inspected.
    ///
    /// Errors: unavailable if it does not reply, usage if it is not a Prometheus.
    pub fn facts(&self, now: Timestamp, range: Span) -> Result<Facts, StepError> {
        let metrics: Vec<String> = self.ask("/api/v1/label/__name__/values", &[])?;
        let known = |path: &str| self.ask::<BTreeMap<String, serde_json::Value>>(path, &[]).ok();
        let text = |map: &Option<BTreeMap<String, serde_json::Value>>, name: &str| {
            let value = map.as_ref()?.get(name)?.as_str()?;
            Some(one_line(value)).filter(|text| !text.is_empty())
        };
        let build = known("/api/v1/status/buildinfo");
        let application = text(&build, "application").unwrap_or_else(|| kind_of(&metrics));
        let version = text(&build, "version");
        let head = known("/api/v1/status/tsdb");
        let series = head.and_then(|head| head.get("headStats")?.get("numSeries")?.as_u64());
        Ok(Facts {
            server: version.map(|version| format!("{application} {version}")),
            retention: text(&known("/api/v1/status/runtimeinfo"), "storageRetention"),
            series,
            scrape_interval: self.scrape_interval(now),
            begin: self.begin(now, range)?,
            metrics,
        })
    }

    /// Returns how many series a query returns at a time.
    ///
    /// Errors: usage for a query that the server refuses, with its message.
    pub fn series(&self, promql: &str, at: Timestamp) -> Result<usize, StepError> {
        let time = seconds(at);
        Ok(self.vector(&[("query", promql), ("time", &time)])?.len())
    }

    /// The samples of `up` in ten minutes show the scrape interval of most targets.
    fn scrape_interval(&self, now: Timestamp) -> Option<Span> {
        let time = seconds(now);
        let query = "quantile(0.5, count_over_time(up[10m]))";
        let samples = self.vector(&[("query", query), ("time", &time)]).ok()?;
        let count: f64 = samples.first()?.value.1.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and 600")]
        (count >= 1.0).then(|| Span::from_seconds((600.0 / count).round() as i64))
    }

    fn begin(&self, now: Timestamp, range: Span) -> Result<Option<Timestamp>, StepError> {
        let step = Span::from_ms((range.ms() / BEGIN_POINTS).max(1000));
        let (start, end) = (seconds(now - range), seconds(now));
        let step_seconds = format!("{}", step.seconds());
        let form = [
            ("query", "count(up)"),
            ("start", &start),
            ("end", &end),
            ("step", step_seconds.as_str()),
        ];
        let matrix: Answer<Series> = self.ask("/api/v1/query_range", &form)?;
        let times = matrix.result.unwrap_or_default().into_iter().flat_map(|series| series.values);
        #[expect(clippy::cast_possible_truncation, reason = "seconds of this age")]
        Ok(times.map(|(time, _)| Timestamp::from_ms((time * 1000.0) as i64)).min())
    }

    fn vector(&self, form: &[(&str, &str)]) -> Result<Vec<Sample>, StepError> {
        let answer: Answer<Sample> = self.ask("/api/v1/query", form)?;
        Ok(answer.result.unwrap_or_default())
    }

    /// Requests a path of the API, and reads the `data` of the reply.
    fn ask<T: DeserializeOwned>(&self, path: &str, form: &[(&str, &str)]) -> Result<T, StepError> {
        let url = self.endpoint.beside(path, form);
        let shown = format!("`{url}`");
        let (status, body) = self.runtime.block_on(async {
            let failed = |error: reqwest::Error| {
                let what = if error.is_connect() { "cannot connect" } else { "no answer" };
                StepError::unavailable(format!("{shown}: {what}: {}", client::causes(&error)))
                    .hint("check that the server is running and reachable from here")
            };
            let mut response = self.endpoint.get(&url).send().await.map_err(failed)?;
            let status = response.status();
            let mut body = Vec::new();
            while let Some(bytes) = response.chunk().await.map_err(failed)? {
                body.extend_from_slice(&bytes);
                if body.len() > LONGEST_REPLY_BYTES {
                    return Err(StepError::refused(format!("{shown}: the answer is too long"))
                        .hint("check that the URL is that of a Prometheus"));
                }
            }
            Ok((status, body))
        })?;
        let no_prometheus = |what: &str| {
            StepError::usage(format!("{shown}: {what}"))
                .hint("the URL is the base of the API, without /api/v1")
        };
        let reply: Reply<T> = serde_json::from_slice(&body).map_err(|_| {
            no_prometheus(&format!("{status}: {}", one_line(&String::from_utf8_lossy(&body))))
        })?;
        match reply.data {
            Some(data) if reply.status == "success" => Ok(data),
            _ => Err(no_prometheus(&format!("{status}: {}", one_line(&reply.error)))),
        }
    }
}

fn seconds(time: Timestamp) -> String {
    crate::sources::prometheus::request::seconds(time.ms())
}

/// Returns the kind of a server that does not report it, from the metrics about itself.
fn kind_of(metrics: &[String]) -> String {
    let has = |beginning: &str| metrics.iter().any(|metric| metric.starts_with(beginning));
    let known = [("vm_", "VictoriaMetrics"), ("thanos_", "Thanos"), ("cortex_", "Mimir or Cortex")];
    let found = known.into_iter().find(|(beginning, _)| has(beginning));
    found.map_or("Prometheus", |(_, name)| name).to_owned()
}

#[derive(Deserialize)]
struct Reply<T> {
    #[serde(default)]
    status: String,
    data: Option<T>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Answer<T> {
    result: Option<Vec<T>>,
}

#[derive(Deserialize)]
struct Sample {
    value: (f64, String),
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    values: Vec<(f64, String)>,
}
