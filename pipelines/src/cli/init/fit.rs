//! The text of a document, reduced to the data that a server has.

use std::fmt::Write as _;

use collect::look::Facts;
use contract::{Span, StepError, Timestamp};
use document::Document;
use document::http::Http;
use document::promql::metric_names;
use document::sources::Query;
use document::sources::prometheus::PrometheusSource;

/// Result for one query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) name: String,
    /// The first of its alternatives with data; `None` if there is none.
    pub(super) promql: Option<String>,
    /// Why it is left out, or why another alternative than the first was taken.
    pub(super) why: Option<String>,
}

impl Choice {
    /// Tries the alternatives of a query in their order; `series` returns the number of series of
    /// each.
    pub(super) fn of(
        query: &Query,
        rate_window: Span,
        facts: &Facts,
        series: impl Fn(&str) -> Result<usize, StepError>,
    ) -> Result<Self, StepError> {
        let window = rate_window.to_string();
        let has = |metric: &String| facts.metrics.contains(metric);
        let mut lacking: Vec<String> = Vec::new();
        let mut is_silent = false;
        for promql in std::iter::once(&query.promql).chain(&query.or) {
            let metrics = metric_names(promql);
            let missing: Vec<&String> = metrics.iter().filter(|metric| !has(metric)).collect();
            // A query may have data although one of its metrics is missing, because it may contain
            // `or`.
            if !metrics.is_empty() && missing.len() == metrics.len() {
                lacking.extend(missing.into_iter().cloned());
                continue;
            }
            if series(&promql.replace("$rate_window", &window))? > 0 {
                let why = (!lacking.is_empty()).then(|| format!("no {} here", lacking.join(", ")));
                return Ok(Self { name: query.name.clone(), promql: Some(promql.clone()), why });
            }
            is_silent = true;
        }
        lacking.dedup();
        let why = if is_silent {
            "its metrics exist, but it returns no series now".to_owned()
        } else {
            format!("the server has no {}", lacking.join(", "))
        };
        Ok(Self { name: query.name.clone(), promql: None, why: Some(why) })
    }
}

/// Input of the text.
pub(super) struct Fit<'a> {
    pub(super) name: &'a str,
    pub(super) source: &'a Http<PrometheusSource>,
    pub(super) facts: &'a Facts,
    pub(super) choices: &'a [Choice],
    pub(super) now: Timestamp,
    pub(super) rate_window: Span,
}

impl Fit<'_> {
    /// Returns the bundled text without the queries that have no data on the server, with comments
    /// about them.
    pub(super) fn text(&self, shipped: &str, document: &Document) -> String {
        let mut text = self.heading();
        let body = shipped.find("\nformat: ").map_or(shipped, |at| &shipped[at + 1..]);
        let mut lines = body.lines().peekable();
        while let Some(line) = lines.next() {
            let indent = &line[..line.len() - line.trim_start().len()];
            let replaced = match line.trim() {
                "queries:" => {
                    text.push_str(line);
                    text.push('\n');
                    let deeper = |line: &&str| {
                        line.len() - line.trim_start().len() > indent.len() || line.is_empty()
                    };
                    while lines.next_if(deeper).is_some() {}
                    self.queries(&format!("{indent}  "), document, &mut text);
                    continue;
                }
                // This comment describes the original queries.
                comment if comment.starts_with('#') && !indent.is_empty() => continue,
                _ if line.starts_with("name: ") => format!("name: {}", self.name),
                _ if line.starts_with("rate_window: ") => {
                    format!("rate_window: {}", self.rate_window)
                }
                _ if line.starts_with("step: ") => format!("step: {}", self.step(document)),
                url if url.starts_with("url: ") && !indent.is_empty() => self.settings(indent),
                _ => line.to_owned(),
            };
            text.push_str(&replaced);
            text.push('\n');
        }
        text
    }

    fn heading(&self) -> String {
        let facts = self.facts;
        let mut known: Vec<String> = Vec::new();
        known.extend(facts.server.clone());
        known.push(format!("{} metrics", facts.metrics.len()));
        known.extend(facts.series.map(|series| format!("{series} series")));
        let interval = facts.scrape_interval;
        known.extend(interval.map(|interval| format!("scraped every {interval}")));
        known.extend(facts.retention.as_ref().map(|kept| format!("kept for {kept}")));
        known.extend(super::since(facts, self.now));
        let left_out = self.choices.iter().filter(|choice| choice.promql.is_none()).count();
        let (all, now) = (self.choices.len(), self.now);
        format!(
            "# Written by `lynceus init` at {now} for this server:\n#   {}\n# {} of {all} queries \
             have data; the others are comments below.\n",
            known.join(", "),
            all - left_out
        )
    }

    /// Returns the step: with one shorter than the scrape interval, each sample would count several
    /// times.
    fn step(&self, document: &Document) -> Span {
        document.step.max(self.facts.scrape_interval.unwrap_or(Span::ZERO))
    }

    fn settings(&self, indent: &str) -> String {
        let server = &self.source.server;
        let mut lines = vec![format!("{indent}url: {}", quoted(&server.url.with_its_query()))];
        let token = server.auth.as_ref().and_then(|auth| auth.secret().file());
        for (name, file) in
            [("auth: {bearer_token: {file", token), ("tls: {ca_file", server.tls.ca_file.as_ref())]
        {
            let file = file.map(|file| quoted(&file.display().to_string()));
            let ends = "}".repeat(name.matches('{').count());
            lines.extend(file.map(|file| format!("{indent}{name}: {file}{ends}")));
        }
        lines.join("\n")
    }

    fn queries(&self, indent: &str, document: &Document, text: &mut String) {
        let queries: Vec<&Query> =
            document.sources.values().flat_map(|source| &source.queries).collect();
        for (query, Choice { name, promql, why }) in queries.iter().zip(self.choices) {
            let why = why.as_deref().unwrap_or_default();
            // Writing to a String cannot fail.
            let written = match promql {
                None => writeln!(text, "{indent}# left out: {name}: {why}"),
                Some(promql) => {
                    if !why.is_empty() {
                        text.push_str(&format!("{indent}# {why}\n"));
                    }
                    let unit = match query.unit.as_str() {
                        "" => String::new(),
                        unit => format!("{indent}  unit: {unit}\n"),
                    };
                    let promql = quoted(promql);
                    writeln!(text, "{indent}- name: {name}\n{unit}{indent}  promql: {promql}")
                }
            };
            written.unwrap_or_default();
        }
    }
}

/// Writes a text as YAML in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped;

    fn facts(metrics: &[&str]) -> Facts {
        Facts {
            server: Some("Prometheus 3.5.0".to_owned()),
            scrape_interval: Some(Span::from_seconds(120)),
            metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
            begin: Some(Timestamp::from_ms(0)),
            ..Facts::default()
        }
    }

    fn query(promql: &str, or: &[&str]) -> Query {
        let value = serde_json::json!({"name": "x", "promql": promql, "or": or});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_first_alternative_that_finds_something_is_taken_with_the_reason() {
        let facts = facts(&["b", "c"]);
        let window = Span::from_seconds(300);
        let choice = |query: &Query, found: &'static str| {
            let series = move |promql: &str| Ok(usize::from(promql.contains(found)));
            Choice::of(query, window, &facts, series).unwrap()
        };
        let one = choice(&query("sum(a)", &["sum(rate(b[$rate_window]))"]), "b[5m]");
        assert_eq!(one.promql.as_deref(), Some("sum(rate(b[$rate_window]))"));
        assert_eq!(one.why.as_deref(), Some("no a here"));
        let none = choice(&query("sum(a)", &["sum(d)"]), "a");
        assert_eq!(none.why.as_deref(), Some("the server has no a, d"));
        let silent = choice(&query("sum(b > 9)", &[]), "nothing");
        assert!(silent.promql.is_none() && silent.why.unwrap().contains("no series now"));
        let first = choice(&query("sum(b) or sum(a)", &[]), "b");
        assert_eq!((first.promql.is_some(), first.why), (true, None));
    }

    #[test]
    fn init_text_omits_queries_without_data() {
        let shipped = &shipped::ALL[0];
        let document = document::parse("cluster", shipped.text).unwrap();
        let facts = facts(&["up"]);
        let choices: Vec<Choice> = document
            .sources
            .values()
            .flat_map(|source| &source.queries)
            .map(|query| Choice {
                name: query.name.clone(),
                promql: (query.name != "workqueue_depth").then(|| query.promql.clone()),
                why: (query.name == "workqueue_depth").then(|| "the server has no it".to_owned()),
            })
            .collect();
        let source: Result<Http<PrometheusSource>, _> = serde_json::from_value(serde_json::json!({
            "url": "http://h:9090/it's?a=b", "auth": {"bearer_token": {"file": "token"}}
        }));
        let fit = Fit {
            name: "mine",
            source: &source.unwrap(),
            facts: &facts,
            choices: &choices,
            now: Timestamp::from_ms(600_000),
            rate_window: Span::from_seconds(480),
        };
        let text = fit.text(shipped.text, &document);
        let made = document::parse("mine", &text).unwrap();
        assert_eq!(made.name, "mine");
        assert_eq!(
            (made.step, made.rate_window),
            (Span::from_seconds(120), Span::from_seconds(480))
        );
        let source = &made.sources["metrics"];
        let prometheus = source.prometheus.as_ref().unwrap();
        assert_eq!(prometheus.server.url.with_its_query(), "http://h:9090/it's?a=b");
        assert!(prometheus.server.auth.is_some());
        assert_eq!(source.queries.len() + 1, document.sources["metrics"].queries.len());
        assert!(text.contains("# left out: workqueue_depth: the server has no it"), "{text}");
        assert!(text.starts_with("# Written by `lynceus init` at 1970-01-01T00:10:00Z"), "{text}");
        assert_eq!(made.expectations, document.expectations);
    }
}
