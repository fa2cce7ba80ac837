//! The settings of the source `exporter`.

mod node;

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnValues, SampleColumn};
use super::{OfNode, Source, SourceKind, check_column};
use crate::HttpUrl;
use crate::extension::{Destination, Extension, FileUse};
use crate::http::{Auth, HttpServer, InCluster, Proxy, Tls};
use crate::problem::{Problem, problem, require};
use crate::secret::Secret;

/// Exporters with Prometheus' text format or `OpenMetrics`, such as `node_exporter`, scraped
/// without a Prometheus. They keep no history: `collect --follow` records them, and other runs of
/// `collect` read the recorded samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExporterSource {
    /// URLs of endpoints, such as `http://10.1.2.3:9100/metrics`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<HttpUrl>,
    /// URL whose host is the DNS name of a headless Service: each address behind it is an endpoint.
    /// It is resolved at each scrape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<HttpUrl>,
    /// File with the URL of one endpoint a line, relative to the document, and behind it labels
    /// for `entity.texts`, such as `http://10.1.2.3:9100/metrics role=worker`; `#` begins a comment.
    /// It is read at each scrape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Deadline of one scrape, greater than 0s. If an endpoint needs longer, its samples are
    /// missing.
    pub timeout: Span,
    /// Number of endpoints that are scraped in parallel, 1 or more.
    pub parallel: u16,
    /// Credentials, sent to every endpoint; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Certificates; those of the system by default.
    #[serde(skip_serializing_if = "Tls::is_default")]
    pub tls: Tls,
    /// Further headers of each request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// URL of an HTTP proxy, or `none` (the default, because exporters are usually in the same
    /// network).
    #[serde(skip_serializing_if = "is_none")]
    pub proxy: Proxy,
    /// The pods of the exporters, for the network policy of a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
    /// Longest reply in bytes. A longer reply is refused, and its samples are missing.
    pub max_bytes: u64,
    /// Metric whose labels name the entity, for `entity.labels`, and have its texts, for
    /// `entity.texts`; without labels there the entity is host and port of the endpoint.
    pub info: String,
    /// The columns; by default 24 metrics of `node_exporter`.
    pub metrics: Vec<ExporterMetric>,
}

impl Default for ExporterSource {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            service: None,
            file: None,
            timeout: Span::from_seconds(5),
            parallel: 64,
            auth: None,
            tls: Tls::default(),
            headers: BTreeMap::new(),
            proxy: Proxy::None,
            in_cluster: None,
            max_bytes: 64 << 20,
            info: "node_uname_info".to_owned(),
            metrics: node::metrics(),
        }
    }
}

fn is_none(proxy: &Proxy) -> bool {
    *proxy == Proxy::None
}

impl ExporterSource {
    /// Returns one endpoint as a server. A scrape is not retried: the next one comes soon.
    pub fn server(&self, url: &HttpUrl) -> HttpServer {
        HttpServer {
            url: url.clone(),
            timeout: self.timeout,
            retries: 0,
            auth: self.auth.clone(),
            tls: self.tls.clone(),
            headers: self.headers.clone(),
            proxy: Some(self.proxy.clone()),
            in_cluster: self.in_cluster.clone(),
        }
    }
}

/// A column that is computed from the series of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExporterMetric {
    /// Name of the column: lower-case letters, digits and `_`.
    pub name: String,
    /// Unit of its values.
    #[serde(default)]
    pub unit: String,
    /// Name of the metric, with its suffix such as `_total`.
    pub metric: String,
    /// Whether the metric is a counter. Then the column has its increase per second, with resets
    /// handled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counter: bool,
    /// Labels that a series must have to count: `*` matches all values, `name*` those that begin
    /// with `name`, and a leading `!` excludes values. A series without the label has an empty
    /// value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Vec<String>>,
    /// How several series are combined into one number.
    #[serde(default)]
    pub combine: Combine,
    /// Metric by which the value is divided. Its series are selected and combined in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divide_by: Option<String>,
}

/// How several series are combined into one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Their sum.
    #[default]
    Sum,
    /// Their arithmetic mean.
    Mean,
    /// The largest value.
    Max,
    /// The smallest value.
    Min,
}

impl ExporterMetric {
    fn formula(&self) -> String {
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(label, patterns)| format!("{label}={}", patterns.join("|")))
            .collect();
        let series = |name: &str| format!("{name}{{{}}}", labels.join(", "));
        let combine = match self.combine {
            Combine::Sum => "sum",
            Combine::Mean => "mean",
            Combine::Max => "max",
            Combine::Min => "min",
        };
        let value = if self.counter {
            format!("{combine}(rate({}))", series(&self.metric))
        } else {
            format!("{combine}({})", series(&self.metric))
        };
        match &self.divide_by {
            Some(divisor) => format!("{value} / {combine}({})", series(divisor)),
            None => value,
        }
    }
}

impl Extension for ExporterSource {
    fn name(&self) -> &'static str {
        "exporter"
    }

    fn check(&self) -> Result<(), Problem> {
        let some = !self.endpoints.is_empty() || self.service.is_some() || self.file.is_some();
        if !some {
            return Err(problem("", "has no endpoint").hint(
                "set endpoints, service or file, as in endpoints: [http://localhost:9100/metrics]",
            ));
        }
        if let Some(url) = self.endpoints.iter().chain(&self.service).next() {
            self.server(url).check()?;
        }
        require(self.timeout > Span::ZERO, "timeout", || "must be greater than 0s".to_owned())?;
        require(self.parallel >= 1, "parallel", || "must be at least 1".to_owned())?;
        require(!self.metrics.is_empty(), "metrics", || "is empty".to_owned())?;
        for (index, metric) in self.metrics.iter().enumerate() {
            let field = format!("metrics.{index}.name");
            check_column(&metric.name, &field)?;
            let twice = self.metrics[..index].iter().any(|other| other.name == metric.name);
            require(!twice, &field, || format!("two metrics are named `{}`", metric.name))?;
        }
        Ok(())
    }

    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        self.auth.as_mut().map(Auth::secret_mut).into_iter().collect()
    }

    fn files_mut(&mut self) -> Vec<(FileUse, &mut PathBuf)> {
        let files = self.tls.files_mut().into_iter().chain(&mut self.file);
        files.map(|path| (FileUse::Read, path)).collect()
    }

    fn destinations(&self) -> Vec<Destination> {
        let urls = self.endpoints.iter().chain(&self.service);
        urls.map(|url| self.server(url).destination()).collect()
    }
}

impl SourceKind for ExporterSource {
    fn takes_texts(&self) -> bool {
        true
    }

    fn columns(&self, _: &Source, _: Span) -> Vec<SampleColumn> {
        let of = |metric: &ExporterMetric| SampleColumn {
            name: metric.name.clone(),
            unit: metric.unit.clone(),
            formula: metric.formula(),
            is_promql: false,
            is_asked: false,
            is_required: true,
            values: ColumnValues::Numbers,
            entity: Some("instance".to_owned()),
        };
        self.metrics.iter().map(of).collect()
    }

    fn is_recorded(&self) -> bool {
        true
    }

    fn of_node(&self) -> Option<OfNode<'_>> {
        let url = self.service.iter().chain(&self.endpoints).next();
        let only =
            |endpoint: &str| format!("{{service: null, file: null, endpoints: [\"{endpoint}\"]}}");
        Some(OfNode::Endpoint { url, only })
    }
}
