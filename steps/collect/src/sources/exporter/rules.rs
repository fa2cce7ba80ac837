//! Converts the series of a scrape to the columns of a row: filters, sums, rates.

use std::collections::HashMap;
use std::sync::Arc;

use contract::{Span, Timestamp};
use document::sources::exporter::{Combine, ExporterMetric};
use frames::columns::matches;

use super::exposition::{Sample, Scrape};

/// A counter that was last seen longer ago gives no rate.
const LONGEST_GAP: Span = Span::from_seconds(300);

/// Last reply of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Previous {
    time: Option<Timestamp>,
    counters: HashMap<Arc<str>, f64>,
}

/// Returns whether a metric of this name is requested.
pub(crate) fn wants(metrics: &[ExporterMetric], name: &str) -> bool {
    metrics.iter().any(|it| it.metric == name || it.divide_by.as_deref() == Some(name))
}

/// Makes the values of a row and remembers the counters; `None` is a gap.
///
/// A counter gives the increase per second since the previous scrape; the first scrape gives none.
/// A counter that fell was reset, and has grown from 0 to its value since, as in Prometheus'
/// `rate`. A new series gives no value yet.
pub(crate) fn values(
    metrics: &[ExporterMetric],
    scrape: &Scrape,
    time: Timestamp,
    previous: &mut Previous,
) -> Vec<Option<f64>> {
    let seconds = previous
        .time
        .map(|before| time - before)
        .filter(|gap| *gap > Span::ZERO && *gap <= LONGEST_GAP)
        .map(Span::seconds);
    let mut counters = HashMap::new();
    let mut values = Vec::with_capacity(metrics.len());
    for metric in metrics {
        let series: Vec<&Sample> = scrape
            .samples
            .iter()
            .filter(|sample| is_meant(metric, &metric.metric, sample))
            .collect();
        let value = if metric.counter {
            let rates = series.iter().filter_map(|sample| {
                let before = previous.counters.get(&sample.key).copied();
                counters.insert(Arc::clone(&sample.key), sample.value);
                let increase = match before? {
                    before if sample.value >= before => sample.value - before,
                    _ => sample.value,
                };
                Some(increase / seconds?)
            });
            combined(metric.combine, rates)
        } else {
            combined(metric.combine, series.iter().map(|sample| sample.value))
        };
        let divisor = metric.divide_by.as_ref().map(|name| {
            let of = scrape.samples.iter().filter(|sample| is_meant(metric, name, sample));
            combined(metric.combine, of.map(|sample| sample.value)).filter(|value| *value > 0.0)
        });
        values.push(match divisor {
            None => value,
            Some(divisor) => value.zip(divisor).map(|(value, divisor)| value / divisor),
        });
    }
    *previous = Previous { time: Some(time), counters };
    values
}

/// Returns whether a series belongs to a metric, by its name and labels.
fn is_meant(metric: &ExporterMetric, name: &str, sample: &Sample) -> bool {
    let is_allowed = |(label, patterns): (&String, &Vec<String>)| {
        matches(patterns, sample.label(label).unwrap_or_default())
    };
    sample.name == name && sample.value.is_finite() && metric.labels.iter().all(is_allowed)
}

fn combined(combine: Combine, values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut count = 0_usize;
    let folded = values.inspect(|_| count += 1).reduce(|a, b| match combine {
        Combine::Sum | Combine::Mean => a + b,
        Combine::Max => a.max(b),
        Combine::Min => a.min(b),
    });
    match combine {
        Combine::Mean => folded.map(|sum| sum / count as f64),
        Combine::Sum | Combine::Max | Combine::Min => folded,
    }
}

#[cfg(test)]
mod tests {
    use super::super::exposition::parse;
    use super::*;

    fn scrape(text: &str) -> Scrape {
        parse(text.as_bytes(), false, |_| true).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1000 * seconds)
    }

    fn metric(yaml: &str) -> ExporterMetric {
        serde_json::from_str(yaml).unwrap()
    }

    #[test]
    fn counters_become_rates_and_a_fall_is_a_reset() {
        let metrics = [metric(
            r#"{"name":"bytes","metric":"bytes_total","counter":true,"labels":{"device":["*","!lo","!veth*"]}}"#,
        )];
        let mut previous = Previous::default();
        let mut next =
            |seconds, text: &str| values(&metrics, &scrape(text), at(seconds), &mut previous)[0];
        assert_eq!(next(0, "bytes_total{device=\"a\"} 100\nbytes_total{device=\"lo\"} 5\n"), None);
        let both = "bytes_total{device=\"a\"} 150\nbytes_total{device=\"b\"} 1000\nbytes_total{device=\"veth1\"} 7\n";
        assert_eq!(next(10, both), Some(5.0), "the new device and the left out ones give nothing");
        let reset = "bytes_total{device=\"a\"} 20\nbytes_total{device=\"b\"} 1100\n";
        assert_eq!(next(20, reset), Some(2.0 + 10.0));
        assert_eq!(next(20, reset), None, "no time has passed");
        assert_eq!(next(10_000, reset), None, "too long ago");
        assert_eq!(next(10_010, "other 1\n"), None);
    }

    #[test]
    fn gauges_are_combined_and_divided() {
        let metrics = [
            metric(
                r#"{"name":"free","metric":"avail","divide_by":"size","labels":{"fstype":["ext4","xfs"]}}"#,
            ),
            metric(r#"{"name":"hottest","metric":"temperature","combine":"max"}"#),
            metric(r#"{"name":"mean","metric":"temperature","combine":"mean"}"#),
            metric(r#"{"name":"none","metric":"absent"}"#),
        ];
        let text = "avail{fstype=\"ext4\"} 30\navail{fstype=\"xfs\"} 20\navail{fstype=\"tmpfs\"} 99\n\
            size{fstype=\"ext4\"} 60\nsize{fstype=\"xfs\"} 40\ntemperature{c=\"0\"} 40\n\
            temperature{c=\"1\"} NaN\ntemperature{c=\"2\"} 60\n";
        let found = values(&metrics, &scrape(text), at(0), &mut Previous::default());
        assert_eq!(found, [Some(0.5), Some(60.0), Some(50.0), None]);
    }
}
