//! The settings of the source `prometheus`.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{SampleColumn, of_queries};
use super::{Source, SourceKind};
use crate::http::{Http, HttpSettings};
use crate::problem::{Problem, require};

/// A Prometheus HTTP API. Its `url` is the base, without `/api/v1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSource {
    /// Number of parallel requests, 1 or more. More requests put more load on the server.
    #[serde(default = "four")]
    pub parallel: u8,
    /// Most points of each series per request, 1 to 11000. A request that the server refuses as too
    /// large is halved in any case; this limit avoids such requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_points: Option<u16>,
    /// Longest time range of one request, greater than 0s, such as the query length limit of Mimir.
    /// The default is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_range: Option<Span>,
    /// Most values per answer (series times points), 1 or more. The default is 1000000 for all
    /// queries together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_samples: Option<u32>,
}

fn four() -> u8 {
    4
}

impl Default for PrometheusSource {
    fn default() -> Self {
        Self { parallel: four(), max_points: None, max_range: None, max_samples: None }
    }
}

impl HttpSettings for PrometheusSource {
    const NAME: &'static str = "prometheus";
    const TIMEOUT: Span = Span::from_seconds(30);
    const RETRIES: u8 = 5;

    fn check(&self) -> Result<(), Problem> {
        require(self.parallel >= 1, "parallel", || "must be at least 1".to_owned())?;
        let max_points = self.max_points.unwrap_or(1);
        require((1..=11_000).contains(&max_points), "max_points", || {
            format!("`{max_points}` is not between 1 and 11000")
        })?;
        let range = self.max_range.unwrap_or(Span::from_seconds(1));
        require(range > Span::ZERO, "max_range", || "must be greater than 0s".to_owned())?;
        require(self.max_samples != Some(0), "max_samples", || "must be at least 1".to_owned())
    }
}

impl SourceKind for Http<PrometheusSource> {
    fn takes_queries(&self) -> bool {
        true
    }

    fn columns(&self, source: &Source, rate_window: Span) -> Vec<SampleColumn> {
        of_queries(source, rate_window)
    }
}
