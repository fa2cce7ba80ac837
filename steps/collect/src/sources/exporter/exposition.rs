//! The text that an exporter sends: Prometheus' text format 0.0.4 and `OpenMetrics` 1.0.
//!
//! Formats: <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>. Only the
//! requested series are kept, so that a reply of many megabytes takes little memory. An incomplete
//! reply is refused, because half of a scrape would look like a decrease of all sums.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// A series of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    /// Labels in the order in which they were sent.
    pub(crate) labels: Vec<(String, String)>,
    /// May be NaN or infinite.
    pub(crate) value: f64,
    /// Unique key of the series.
    pub(crate) key: Arc<str>,
}

impl Sample {
    /// Returns the value of a label.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the unique key of a series.
fn key(name: &str, labels: &[(String, String)]) -> Arc<str> {
    let mut sorted: Vec<&(String, String)> = labels.iter().collect();
    sorted.sort();
    let mut key = name.to_owned();
    for (name, value) in sorted {
        key.extend(["\0", name, "\0", value]);
    }
    key.into()
}

/// The wanted series of a scrape.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scrape {
    pub(crate) samples: Vec<Sample>,
    /// Series that were sent again with another value; the first value counts.
    pub(crate) duplicates: usize,
}

/// Reason why a reply is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is a web page.
    WebPage,
    /// It is truncated; it may be complete the next time.
    Truncated,
    /// It has no sample at all.
    Empty,
    /// A line is in neither format.
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebPage => f.write_str("the reply is a web page, not metrics"),
            Self::Truncated => f.write_str("the reply ends in the middle"),
            Self::Empty => f.write_str("the reply holds no metric"),
            Self::Line { line, what } => write!(f, "line {line} of the reply: {what}"),
        }
    }
}

/// Parses a reply and keeps the series whose name `wants` accepts.
pub(crate) fn parse(
    body: &[u8],
    is_open_metrics: bool,
    wants: impl Fn(&str) -> bool,
) -> Result<Scrape, Unreadable> {
    let start = body.trim_ascii_start();
    if start.starts_with(b"<") {
        return Err(Unreadable::WebPage);
    }
    if start.is_empty() {
        return Err(Unreadable::Empty);
    }
    // Both formats end every line; OpenMetrics also marks the end of the reply.
    let ended = if is_open_metrics {
        body.trim_ascii_end().ends_with(b"# EOF")
    } else {
        body.ends_with(b"\n")
    };
    if !ended {
        return Err(Unreadable::Truncated);
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        let before = body.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        Unreadable::Line { line, what: "it is not UTF-8 text" }
    })?;
    let mut scrape = Scrape::default();
    let mut seen: HashSet<Arc<str>> = HashSet::new();
    let mut any = false;
    // Series with the same name are consecutive.
    let (mut known, mut is_wanted) = ("", false);
    for (index, line) in text.split('\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        any = true;
        let wrong = |what| Unreadable::Line { line: index + 1, what };
        let (name, rest) = name_of(line).map_err(wrong)?;
        if name != known {
            (known, is_wanted) = (name, wants(name));
        }
        if !is_wanted {
            continue;
        }
        let sample = sample(name, rest).map_err(wrong)?;
        if seen.insert(Arc::clone(&sample.key)) {
            scrape.samples.push(sample);
        } else {
            scrape.duplicates += 1;
        }
    }
    if any { Ok(scrape) } else { Err(Unreadable::Empty) }
}

/// Splits a line after the name of its metric.
fn name_of(line: &str) -> Result<(&str, &str), &'static str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    let end = line.bytes().position(|byte| !is_part(byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    match (name.bytes().next(), rest.bytes().next()) {
        (None | Some(b'0'..=b'9'), _) => Err("it begins with no metric name"),
        (Some(_), Some(b'{' | b' ' | b'\t')) => Ok((name, rest)),
        (Some(_), None) => Err("it has no value"),
        (Some(_), Some(_)) => Err("it begins with no metric name"),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Parses what follows the name: labels, value, and a timestamp or an exemplar, which are ignored.
fn sample(name: &str, rest: &str) -> Result<Sample, &'static str> {
    let mut labels = Vec::new();
    let mut rest = rest.trim_ascii_start();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner.trim_ascii_start();
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once('=').ok_or("a label has no value")?;
            let label = label.trim_ascii();
            if !is_name(label) {
                return Err("a label has no name");
            }
            let quoted = after.trim_ascii_start().strip_prefix('"');
            let (value, after) = text(quoted.ok_or("a label has no quotes")?)?;
            labels.push((label.to_owned(), value));
            rest = after.trim_ascii_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after.trim_ascii_start(),
                None if rest.starts_with('}') => {}
                None => return Err("labels are not separated by commas"),
            }
        }
        rest = &rest[1..];
    }
    let value = number(rest.split_whitespace().next().ok_or("it has no value")?)?;
    Ok(Sample { key: key(name, &labels), name: name.to_owned(), labels, value })
}

/// Parses a number as Go writes it.
fn number(text: &str) -> Result<f64, &'static str> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        text => text.parse().map_err(|_| "its value is not a number"),
    }
}

/// Reads a label's value up to its closing quote; returns it with what follows the quote.
fn text(quoted: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let at = rest.find(['"', '\\']).ok_or("a label's value does not end")?;
        let (plain, after) = rest.split_at(at);
        value.push_str(plain);
        let mut after = after.chars();
        if after.next() == Some('"') {
            return Ok((value, after.as_str()));
        }
        match after.next() {
            Some('n') => value.push('\n'),
            Some(c @ ('"' | '\\')) => value.push(c),
            Some(c) => value.extend(['\\', c]),
            None => return Err("a label's value does not end"),
        }
        rest = after.as_str();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(body: &str) -> Result<Scrape, Unreadable> {
        parse(body.as_bytes(), false, |_| true)
    }

    #[test]
    fn series_are_read_with_labels_escapes_and_special_values() {
        let body = "# HELP a Some text with {braces} and \"quotes\".\n# TYPE a counter\n\
            a 1\na{x=\"1\"} 2.5e3 1395066363000\na { x = \"a\\\"b\\\\c\\nd\" , y=\"\",} +Inf\n\n\
            b{le=\"+Inf\"} NaN\n  c{z=\"} 7\"} -1\n";
        let scrape = all(body).unwrap();
        let values: Vec<f64> = scrape.samples.iter().map(|sample| sample.value).collect();
        assert_eq!(values[..3], [1.0, 2500.0, f64::INFINITY]);
        assert!(values[3].is_nan());
        assert_eq!(scrape.samples[2].label("x"), Some("a\"b\\c\nd"));
        assert_eq!((scrape.samples[4].label("z"), values[4]), (Some("} 7"), -1.0));
    }

    #[test]
    fn open_metrics_with_exemplars_is_read_and_must_reach_its_end() {
        let body =
            "# TYPE a counter\na_total{b=\"c\"} 17 # {trace_id=\"x\"} 0.67\na_created 1.5\n# EOF\n";
        let scrape = parse(body.as_bytes(), true, |name| name == "a_total").unwrap();
        assert_eq!(scrape.samples.len(), 1);
        let cut = &body.as_bytes()[..body.len() - 6];
        assert_eq!(parse(cut, true, |_| true), Err(Unreadable::Truncated));
    }

    #[test]
    fn partial_reply_is_refused() {
        for (body, expected) in [
            ("", Unreadable::Empty),
            ("# TYPE a counter\n", Unreadable::Empty),
            ("<!DOCTYPE html><html>\n", Unreadable::WebPage),
            ("a 1\nb 2", Unreadable::Truncated),
            ("a 1\nb{x=\"y", Unreadable::Truncated),
            ("a 1\nb\n", Unreadable::Line { line: 2, what: "it has no value" }),
            ("a one\n", Unreadable::Line { line: 1, what: "its value is not a number" }),
            ("{\"a\": 1}\n", Unreadable::Line { line: 1, what: "it begins with no metric name" }),
            ("1a 1\n", Unreadable::Line { line: 1, what: "it begins with no metric name" }),
            ("a-b 1\n", Unreadable::Line { line: 1, what: "it begins with no metric name" }),
            ("a{x=\"y\\\n", Unreadable::Line { line: 1, what: "a label's value does not end" }),
            (
                "a{x=\"1\" y=\"2\"} 1\n",
                Unreadable::Line { line: 1, what: "labels are not separated by commas" },
            ),
            ("a{x} 1\n", Unreadable::Line { line: 1, what: "a label has no value" }),
        ] {
            assert_eq!(all(body).unwrap_err(), expected, "{body}");
        }
        assert!(matches!(
            parse(b"a 1\n\xff 2\n", false, |_| true),
            Err(Unreadable::Line { line: 2, .. })
        ));
    }

    #[test]
    fn a_series_that_is_sent_twice_counts_once() {
        let scrape = all("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 5\n").unwrap();
        assert_eq!((scrape.samples.len(), scrape.samples[0].value), (1, 1.0));
        assert_eq!(scrape.duplicates, 1);
    }

    #[test]
    fn a_reply_of_ten_megabytes_keeps_only_what_is_wanted() {
        let mut body = String::new();
        while body.len() < 10 << 20 {
            body.push_str(
                "go_gc_duration_seconds{quantile=\"0.25\",instance=\"some-long-name\"} 1.7e-05\n",
            );
        }
        body.push_str("node_load1 0.5\n");
        let scrape = parse(body.as_bytes(), false, |name| name == "node_load1").unwrap();
        assert_eq!(scrape.samples.len(), 1);
    }

    proptest! {
        #[test]
        fn no_reply_breaks_the_parser(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&body, false, |_| true));
            drop(parse(&body, true, |_| true));
        }

        #[test]
        fn written_rows_are_read_back(value in "[^\\\\\"\n]{0,20}", number in any::<f64>()) {
            let body = format!("a{{x=\"{value}\"}} {number}\n").replace("inf", "Inf").replace(" Inf", " +Inf");
            let scrape = all(&body).unwrap();
            prop_assert_eq!(scrape.samples[0].label("x"), Some(value.as_str()));
            let read = scrape.samples[0].value;
            prop_assert!(read.to_bits() == number.to_bits() || (read.is_nan() && number.is_nan()));
        }
    }
}
