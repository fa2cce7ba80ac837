//! Does every command in the README work as described?

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use contract::Timestamp;
use document::Changes;

use crate::prometheus::Prometheus;

/// The recording has no anomaly before this time.
const QUIET_UNTIL: &str = "2026-11-21T08:36:00Z";

/// Queries that a server with the recorded raw series can answer, with windows that fit its 92
/// minutes.
const SERVED: &str = "
step: 5s
range: 40m
rate_window: 1m
expectations: []
split: {validation: 0.3, test: 0.1, gap: 30s}
scoring: {every: 5s, delay: 0s, catch_up: 1h}
sources:
  metrics:
    queries:
      - {name: container_cpu_usage_cores, unit: cores, promql: 'sum(rate(container_cpu_usage_seconds_total[$rate_window]))'}
      - {name: container_memory_working_set_bytes, unit: bytes, promql: 'sum(container_memory_working_set_bytes)'}
      - {name: workqueue_depth, unit: items, promql: 'sum(workqueue_depth)'}
      - {name: node_load, promql: node_load1}
";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the lines of the README's blocks of commands, in order.
fn commands() -> Result<Vec<String>> {
    let readme = fs_err::read_to_string(repository().join("README.md"))?;
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(kind) => inside = kind == "sh",
            None if inside => commands.push(line.to_owned()),
            None => {}
        }
    }
    Ok(commands)
}

/// Where the commands run: a separate store for commands that query a server, with a document that
/// the test server can answer.
struct Place {
    folder: tempfile::TempDir,
    server: Prometheus,
}

impl Place {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let overlay = folder.path().join("served.yaml");
        fs_err::write(&overlay, SERVED)?;
        let changes = Changes { overlays: vec![&overlay], sets: Vec::new() };
        let document = document::read_with(&repository().join("pipelines/cluster.yaml"), &changes)?;
        document::write(&folder.path().join("pipelines/cluster.yaml"), &document)?;
        let quiet: Timestamp = QUIET_UNTIL.parse().map_err(anyhow::Error::msg)?;
        let now = jiff::Timestamp::now().as_millisecond();
        let server = Prometheus::later((now - quiet.ms()) as f64 / 1000.0)?;
        Ok(Self { folder, server })
    }

    /// Runs a line of the README, which must succeed, and returns what it wrote.
    fn run(&self, line: &str, served: bool) -> Result<String> {
        let words = line.split_whitespace().skip(2).map(|word| {
            let url = "sources.metrics.prometheus.url=";
            if word.starts_with(url) {
                format!("{url}{}", self.server.url())
            } else {
                word.to_owned()
            }
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
        let path = |name: &str| self.folder.path().join(name);
        command.current_dir(repository()).args(words);
        command.env("LYNCEUS_STORE", path(if served { "served" } else { "sample" }));
        if served {
            command.env("LYNCEUS_PIPELINES", path("pipelines"));
        }
        let output = command.output().context("the program starts")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}: {}\n{said}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[test]
fn every_command_of_the_readme_works() -> Result<()> {
    let place = Place::new()?;
    let commands = commands()?;
    let mut served = false;
    for line in &commands {
        if line == "tests/gate.sh" {
            // It runs this test, so this test cannot run it.
            let checked =
                Command::new("bash").args(["-n", line]).current_dir(repository()).status()?;
            ensure!(checked.success(), "{line} can be read by bash");
            continue;
        }
        ensure!(line.starts_with("cargo lynceus "), "no test runs `{line}`");
        // Commands after a training on a server's data refer to that pipeline.
        let asks = line.contains("sources.metrics.prometheus.url=");
        let follows = line.contains(" models ") || line.contains(" report ");
        served = asks || (served && follows);
        // A page with a given file name is written to the test's folder.
        let page = place.folder.path().join("compare.html");
        let line = line.replace("--html compare.html", &format!("--html {}", page.display()));
        let said = place.run(&line, served)?;
        let expected = match line.split_whitespace().nth(2) {
            Some("run") => "report  ",
            Some("score") => "windows scored",
            Some("models") => "deploy",
            Some("report") => "report.html",
            Some("compare") => "Labelled faults after the runs' data",
            Some("lint") => "nothing wrong",
            _ => "",
        };
        ensure!(said.contains(expected), "{line}: {said}");
    }
    let names: Vec<&str> =
        commands.iter().filter_map(|line| line.split_whitespace().nth(2)).collect();
    for name in ["run", "score", "models", "report", "manifests", "lint", "compare"] {
        ensure!(names.contains(&name), "the README shows `{name}`: {names:?}");
    }
    Ok(())
}
