//! The body of a `query_range` reply, as the Prometheus HTTP API documents it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

/// Labels of a series, by name.
pub(crate) type LabelSet = BTreeMap<String, String>;

/// A reply with a matrix.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reply {
    pub(crate) series: Vec<Series>,
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
    /// Whether the server reported that its answer is incomplete: `isPartial` of `VictoriaMetrics`.
    pub(crate) is_partial: bool,
}

impl Reply {
    /// Returns the missing parts that the server reports; `None` for a complete reply.
    ///
    /// Thanos, Mimir and remote reads name a store that did not answer in `warnings`. Prometheus
    /// also writes notes about a query there; they begin with `PromQL` and do not mean missing
    /// data.
    pub(crate) fn lacks(&self) -> Option<String> {
        let about_data = |warning: &&String| !warning.starts_with("PromQL");
        let warning = self.warnings.iter().find(about_data).map(|warning| one_line(warning));
        warning.or_else(|| self.is_partial.then(|| "the server says isPartial: true".to_owned()))
    }

    /// Adds the reply to the same query for a later time.
    pub(crate) fn append(&mut self, later: Self) {
        if self.series.is_empty() {
            self.series = later.series;
        } else {
            let mut known: BTreeMap<LabelSet, usize> =
                self.series.iter().map(|series| series.labels.clone()).zip(0..).collect();
            for series in later.series {
                if let Some(index) = known.get(&series.labels) {
                    self.series[*index].points.extend(series.points);
                } else {
                    known.insert(series.labels.clone(), self.series.len());
                    self.series.push(series);
                }
            }
        }
        self.warnings.extend(later.warnings);
        self.infos.extend(later.infos);
        self.is_partial |= later.is_partial;
    }
}

/// One series of a matrix.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Series {
    #[serde(rename = "metric")]
    pub(crate) labels: LabelSet,
    #[serde(default, rename = "values")]
    pub(crate) points: Vec<Point>,
    #[serde(default)]
    histograms: Option<IgnoredAny>,
}

impl Series {
    /// Makes a series of points in order of time.
    pub(crate) fn of(labels: LabelSet, points: Vec<Point>) -> Self {
        Self { labels, points, histograms: None }
    }

    #[cfg(test)]
    pub(crate) fn new(labels: &[(&str, &str)], points: &[(i64, f64)]) -> Self {
        Self {
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            points: points.iter().map(|&(time_ms, value)| Point { time_ms, value }).collect(),
            histograms: None,
        }
    }
}

/// A point of a series; its value may be `NaN` or infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) time_ms: i64,
    pub(crate) value: f64,
}

/// Reason why a body is not a reply with a matrix.
#[derive(Debug, PartialEq)]
pub(crate) enum ReplyError {
    /// It is not valid JSON: truncated or corrupted; it may be complete the next time.
    Broken(String),
    /// It is a web page.
    WebPage,
    /// It is JSON, but not a reply of `query_range`.
    Foreign(String),
    /// The server reports a failure.
    Failed {
        /// Prometheus' name of the kind of failure: `bad_data`, `timeout`, ...
        kind: String,
        /// Its message.
        message: String,
    },
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(message) => write!(f, "the reply is cut or no JSON: {message}"),
            Self::WebPage => f.write_str("the reply is a web page, not JSON"),
            Self::Foreign(message) => write!(f, "the reply is not one of `query_range`: {message}"),
            Self::Failed { kind, message } => write!(f, "{kind}: {message}"),
        }
    }
}

impl ReplyError {
    /// Returns whether the query timed out on the server.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Failed { kind, .. } if kind == "timeout")
    }

    /// Returns whether the same query may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        const PASSING: [&str; 5] =
            ["timeout", "canceled", "internal", "unavailable", "too_many_requests"];
        match self {
            Self::Broken(_) => true,
            Self::WebPage | Self::Foreign(_) => false,
            Self::Failed { kind, .. } => PASSING.contains(&kind.as_str()),
        }
    }
}

#[derive(Deserialize)]
struct Body {
    status: String,
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    #[serde(default)]
    infos: Option<Vec<String>>,
    #[serde(default, rename = "isPartial")]
    is_partial: Option<bool>,
}

/// Some servers write an empty answer as `"result": null`, with an empty or no result type.
#[derive(Deserialize)]
struct Data {
    #[serde(default, rename = "resultType")]
    result_type: Option<String>,
    #[serde(deserialize_with = "or_null")]
    result: Vec<Series>,
}

/// Reads a list, or `null` as an empty one; it must be there.
fn or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Series>, D::Error> {
    Ok(Option::<Vec<Series>>::deserialize(deserializer)?.unwrap_or_default())
}

/// Parses a body.
pub(crate) fn parse(body: &[u8]) -> Result<Reply, ReplyError> {
    let parsed: Body = serde_json::from_slice(body).map_err(|error| broken(body, &error))?;
    if parsed.status != "success" {
        let kind =
            if parsed.error_type.is_empty() { "error".to_owned() } else { parsed.error_type };
        return Err(ReplyError::Failed { kind, message: one_line(&parsed.error) });
    }
    let Some(data) = parsed.data else {
        return Err(ReplyError::Foreign("it has no `data`".to_owned()));
    };
    let series = data.result;
    let result_type = data.result_type.unwrap_or_default();
    if result_type != "matrix" && !(result_type.is_empty() && series.is_empty()) {
        return Err(wrong_type(&result_type));
    }
    if series.iter().any(|series| series.histograms.is_some()) {
        let message = "a series of native histograms; take a number of it with histogram_quantile, histogram_sum or histogram_count";
        return Err(ReplyError::Foreign(message.to_owned()));
    }
    Ok(Reply {
        series,
        warnings: parsed.warnings.unwrap_or_default(),
        infos: parsed.infos.unwrap_or_default(),
        is_partial: parsed.is_partial.unwrap_or_default(),
    })
}

fn wrong_type(found: &str) -> ReplyError {
    ReplyError::Foreign(format!("resultType is `{}`, expected `matrix`", one_line(found)))
}

fn broken(body: &[u8], error: &serde_json::Error) -> ReplyError {
    #[derive(Deserialize)]
    struct Probe {
        data: ProbeData,
    }
    #[derive(Deserialize)]
    struct ProbeData {
        #[serde(rename = "resultType")]
        result_type: String,
    }
    if body.trim_ascii_start().first() == Some(&b'<') {
        return ReplyError::WebPage;
    }
    match error.classify() {
        // Another result type has another shape of result, so the type is checked first, for a
        // better error.
        serde_json::error::Category::Data => match serde_json::from_slice::<Probe>(body) {
            Ok(probe) if probe.data.result_type != "matrix" => wrong_type(&probe.data.result_type),
            _ => ReplyError::Foreign(one_line(&error.to_string())),
        },
        _ => ReplyError::Broken(one_line(&error.to_string())),
    }
}

/// Returns the start of a foreign text as one printable line.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PointVisitor)
    }
}

struct PointVisitor;

impl<'de> Visitor<'de> for PointVisitor {
    type Value = Point;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a point such as [1795247400, \"0.25\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Point, A::Error> {
        let (Some(seconds), Some(Value(value)), None) =
            (seq.next_element::<f64>()?, seq.next_element()?, seq.next_element::<IgnoredAny>()?)
        else {
            return Err(A::Error::custom("a point is not [time, \"value\"]"));
        };
        let ms = (seconds * 1000.0).round();
        if ms.abs() > 2.5e14 {
            return Err(A::Error::custom(format!("`{seconds:?}` is not a time in seconds")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked to be far inside i64")]
        Ok(Point { time_ms: ms as i64, value })
    }
}

/// A sample value, which the API writes as text because JSON has no `NaN` and no infinities.
struct Value(f64);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number written as text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
                text.parse()
                    .map(Value)
                    .map_err(|_| E::custom(format!("value `{}` is not a number", one_line(text))))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests;
