//! Limits of a server's requests, from the document or as found in this run.

use std::sync::atomic::{AtomicUsize, Ordering};

use contract::Span;
use document::sources::prometheus::PrometheusSource;

use crate::range::MAX_POINTS;

/// Parts of error messages that a smaller request may avoid: too many samples in memory, too many
/// points, too long a range, too many series or chunks. They are from Prometheus, Thanos, Cortex,
/// Mimir and `VictoriaMetrics`.
const OF_SIZE: [&str; 7] =
    ["too many", "exceed", "maximum", "limit", "more than", "too large", "memory"];

/// Current limits of a request; they are reduced when the server refuses a request, and are never
/// raised again.
#[derive(Debug)]
pub(crate) struct Limits {
    points: AtomicUsize,
    parallel: AtomicUsize,
    /// The server's message that caused the reduction, to be shown once.
    said: std::sync::Mutex<Option<String>>,
}

impl Limits {
    /// Returns the limits of the document.
    pub(crate) fn new(source: &PrometheusSource, step: Span) -> Self {
        let of_points = source.max_points.map_or(MAX_POINTS, usize::from);
        // A range of n steps holds n + 1 points; the lookback of the query is added to it.
        let of_range = source.max_range.map_or(MAX_POINTS, |range| range.in_steps(step).max(1));
        Self {
            points: AtomicUsize::new(of_points.min(of_range).clamp(1, MAX_POINTS)),
            parallel: AtomicUsize::new(usize::from(source.parallel.max(1))),
            said: std::sync::Mutex::default(),
        }
    }

    /// Returns the maximum number of points of each series in one request.
    pub(crate) fn points(&self) -> usize {
        self.points.load(Ordering::Relaxed)
    }

    /// Returns how many requests may run at once.
    pub(crate) fn parallel(&self) -> usize {
        self.parallel.load(Ordering::Relaxed)
    }

    /// Limits requests to half the length of this one, which was refused with this message; returns
    /// whether that is possible.
    pub(crate) fn halve(&self, points: usize, what: &str) -> bool {
        if points <= 1 {
            return false;
        }
        self.points.fetch_min(points / 2, Ordering::Relaxed);
        self.note(what);
        true
    }

    /// Makes requests run one after the other; returns whether they were parallel before.
    pub(crate) fn one_at_a_time(&self, what: &str) -> bool {
        self.note(what);
        self.parallel.swap(1, Ordering::Relaxed) > 1
    }

    /// Returns a note about requests that were reduced.
    pub(crate) fn report(&self, field: &str) -> Option<String> {
        let said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let what = said.as_ref()?;
        let (points, parallel) = (self.points(), self.parallel());
        Some(format!(
            "the server refused long requests ({what}): this run asked for at most {points} points at a time, {parallel} at once; `{field}.max_points: {points}` saves the attempts"
        ))
    }

    fn note(&self, what: &str) {
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.is_none() {
            tracing::info!("Asking for less at a time: {what}");
            *said = Some(what.to_owned());
        }
    }
}

/// Returns whether a refusal is about the size of a request.
pub(crate) fn is_of_size(message: &str) -> bool {
    let message = message.to_lowercase();
    OF_SIZE.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_refusals_are_recognised() {
        for message in [
            "query processing would load too many samples into memory in query execution",
            "exceeded maximum resolution of 11,000 points per timeseries",
            "the total query time range exceeds the limit (query length: 183h, limit: 6h0m0s)",
            "the query exceeded the maximum number of chunks (limit: 2000000 chunks)",
            "cannot select more than -search.maxSamplesPerQuery=1000000000 samples",
            "too many points for the given start=1, end=2 and step=3: 30001",
        ] {
            assert!(is_of_size(message), "{message}");
        }
        for message in [
            "1:5: parse error: unclosed left parenthesis",
            "found duplicate series for the match group {pod=\"x\"}: many-to-many matching not allowed",
            "multiple matches for labels: many-to-one matching must be explicit",
        ] {
            assert!(!is_of_size(message), "{message}");
        }
    }
}
