//! A folder with a document in it, and the program `collect` run there.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use frames::Samples;

/// End of the recorded samples.
pub(crate) const RECORDED_END: &str = "2026-11-21T09:22:00Z";

/// A temporary folder for a run.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Makes a folder with the document `x.yaml`: `head` is the part under test, the rest is
    /// required in every document.
    pub(crate) fn new(head: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let rest = "features: [raw: {}]\nmodels: {z_score: {}}\n\
            vote: {combine: votes, weights: {z_score: 1}, alarm_at: 1, threshold: {quantile: {share: 0.99}}}\n";
        fs_err::write(folder.path().join("x.yaml"), format!("format: 1\nname: x\n{head}\n{rest}"))?;
        Ok(Self { folder })
    }

    /// Returns a path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        fs_err::write(&path, bytes)?;
        Ok(path)
    }

    /// Runs `collect`.
    pub(crate) fn collect(&self, now: &str, flags: &[&str]) -> Result<Output> {
        Command::new(env!("CARGO_BIN_EXE_collect"))
            .current_dir(self.folder.path())
            .args(["--document", "x.yaml", "--samples", "samples.parquet"])
            .args(["--outcome", "outcome.json", "--now", now])
            .args(flags)
            .output()
            .context("cannot run collect")
    }

    /// Runs `collect`, which must succeed, and reads its samples.
    pub(crate) fn samples(&self, now: &str, flags: &[&str]) -> Result<Samples> {
        let output = self.collect(now, flags)?;
        ensure!(output.status.success(), "{}", stderr(&output));
        Ok(Samples::read(&self.path("samples.parquet"))?)
    }

    /// Runs `collect`, which must end with this code; returns its standard error.
    pub(crate) fn fails_keeping(&self, now: &str, flags: &[&str], code: i32) -> Result<String> {
        let output = self.collect(now, flags)?;
        let said = stderr(&output);
        ensure!(output.status.code() == Some(code), "{:?}, not {code}: {said}", output.status);
        ensure!(!said.contains("panicked"), "{said}");
        Ok(said)
    }

    /// Runs `collect`, which must end with this code and leave no output; returns its standard
    /// error.
    pub(crate) fn fails(&self, now: &str, flags: &[&str], code: i32) -> Result<String> {
        let said = self.fails_keeping(now, flags, code)?;
        for left in ["samples.parquet", ".samples.parquet.partial", "record", ".record.partial"] {
            ensure!(!self.path(left).exists(), "`{left}` was left: {said}");
        }
        Ok(said)
    }

    /// Reads the outcome of the last run.
    pub(crate) fn outcome(&self) -> Result<serde_json::Value> {
        Ok(contract::read_json(&self.path("outcome.json"))?)
    }
}

/// Returns what a program wrote to standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the folder of a recorded pipeline.
pub(crate) fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/samples").join(name)
}

/// Returns the document of a Prometheus source with these queries.
pub(crate) fn prometheus_document(url: &str, settings: &str, queries: &[(&str, &str)]) -> String {
    let queries: Vec<String> = queries
        .iter()
        .map(|(name, promql)| format!("      - {{name: {name}, promql: '{promql}'}}\n"))
        .collect();
    format!(
        "step: 5s\nrange: 92m\nrate_window: 1m\nsources:\n  main:\n    prometheus: {{url: '{url}'{settings}}}\n    queries:\n{}",
        queries.concat()
    )
}

/// Queries whose recorded series are all in the raw samples.
pub(crate) const QUERIES: [(&str, &str); 6] = [
    (
        "container_cpu_usage_cores",
        r#"sum(rate(container_cpu_usage_seconds_total{container!=""}[$rate_window]))"#,
    ),
    (
        "container_memory_working_set_bytes",
        r#"sum(container_memory_working_set_bytes{container!=""})"#,
    ),
    (
        "container_network_receive_packets",
        r#"sum(rate(container_network_receive_packets_total{pod!=""}[$rate_window]))"#,
    ),
    ("workqueue_depth", "sum(workqueue_depth)"),
    ("scheduling_failed_pods", r#"sum(scheduler_pending_pods{queue="unschedulable"})"#),
    ("active_client_connections", "sum(nginx_connections_active)"),
];

/// A document whose range is three chunks: 25,200 seconds, of which the last 92 minutes were
/// recorded.
pub(crate) fn three_chunks(url: &str, settings: &str, queries: &[(&str, &str)]) -> String {
    prometheus_document(url, settings, queries)
        .replace("step: 5s\nrange: 92m", "step: 1s\nrange: 7h")
}

/// One of them.
pub(crate) const ONE: [(&str, &str); 1] = [("workqueue_depth", "sum(workqueue_depth)")];
