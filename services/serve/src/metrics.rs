//! The metrics at `/metrics`, for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Counters of the server.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<u16, u64>>,
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    nanoseconds: AtomicU64,
    rows: AtomicU64,
    alarms: AtomicU64,
    shadow_rows: AtomicU64,
    shadow_disagreements: AtomicU64,
    failed_reloads: AtomicU64,
    batches: AtomicU64,
    batched_requests: AtomicU64,
    batched_rows: AtomicU64,
}

impl Metrics {
    /// Counts an answered inference.
    pub fn answered(&self, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(status).or_default() += 1;
        drop(requests);
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            if took.as_secs_f64() <= *bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Counts scored rows.
    pub fn judged(&self, rows: usize, alarms: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.alarms.fetch_add(alarms as u64, Ordering::Relaxed);
    }

    /// Counts rows that the shadow version scored, and those on which it disagreed.
    pub fn shadowed(&self, rows: usize, disagreements: usize) {
        self.shadow_rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.shadow_disagreements.fetch_add(disagreements as u64, Ordering::Relaxed);
    }

    /// Counts a failed check of the alias.
    pub fn failed_reload(&self) {
        self.failed_reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts requests that were scored together, and their rows.
    pub fn batched(&self, requests: usize, rows: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batched_requests.fetch_add(requests as u64, Ordering::Relaxed);
        self.batched_rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Writes all metrics in Prometheus' text format.
    pub fn text(&self, version: Option<&str>) -> String {
        let mut text = String::new();
        // Writing to a text cannot fail.
        self.write(&mut text, version).unwrap_or_default();
        text
    }

    fn write(&self, text: &mut String, version: Option<&str>) -> std::fmt::Result {
        writeln!(text, "# TYPE lynceus_serve_requests_total counter")?;
        for (status, count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            writeln!(text, "lynceus_serve_requests_total{{status=\"{status}\"}} {count}")?;
        }
        let name = "lynceus_serve_request_duration_seconds";
        writeln!(text, "# TYPE {name} histogram")?;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            let count = bucket.load(Ordering::Relaxed);
            writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}")?;
        }
        let count = self.count.load(Ordering::Relaxed);
        writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}")?;
        writeln!(text, "{name}_sum {}", self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9)?;
        writeln!(text, "{name}_count {count}")?;
        for (name, counter) in [
            ("rows", &self.rows),
            ("alarms", &self.alarms),
            ("shadow_rows", &self.shadow_rows),
            ("shadow_disagreements", &self.shadow_disagreements),
            ("reload_failures", &self.failed_reloads),
            ("batches", &self.batches),
            ("batched_requests", &self.batched_requests),
            ("batched_rows", &self.batched_rows),
        ] {
            writeln!(text, "# TYPE lynceus_serve_{name}_total counter")?;
            writeln!(text, "lynceus_serve_{name}_total {}", counter.load(Ordering::Relaxed))?;
        }
        writeln!(text, "# TYPE lynceus_serve_ready gauge")?;
        writeln!(text, "lynceus_serve_ready {}", u8::from(version.is_some()))?;
        if let Some(version) = version {
            writeln!(text, "# TYPE lynceus_serve_version_info gauge")?;
            writeln!(text, "lynceus_serve_version_info{{version=\"{version}\"}} 1")?;
        }
        Ok(())
    }
}
