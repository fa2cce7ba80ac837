//! Does `lynceus source check` ask the server for each query, and name the ones that it refuses?

use std::process::Command;

use anyhow::{Result, ensure};
use contract::Timestamp;

use crate::prometheus::Prometheus;

/// The text of the document, with the address of the server for `URL`.
const DOCUMENT: &str = "
format: 1
name: checked
step: 5s
range: 40m
sources:
  metrics:
    prometheus: {url: URL}
    queries:
      - {name: load, promql: node_load1}
      # Both are closed and of known characters, so that only the server can tell.
      - {name: grouping, promql: 'sum(node_load1) by instance'}
      - {name: instant, promql: 'rate(node_load1)'}
features: [raw]
models: {adaptive: {}}
";

/// Bundled documents that query a Prometheus.
const SHIPPED: [&str; 2] = ["kubernetes-nodes", "own"];

#[test]
fn shipped_documents_are_fitted_to_a_server_and_train_on_it() -> Result<()> {
    let quiet_until: Timestamp = "2026-11-21T08:36:00Z".parse().map_err(anyhow::Error::msg)?;
    let now = jiff::Timestamp::now().as_millisecond();
    let server = Prometheus::later((now - quiet_until.ms()) as f64 / 1000.0)?;
    let url = server.url();
    let folder = tempfile::tempdir()?;
    let lynceus = |words: &[&str]| -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
        command.args(words).current_dir(folder.path());
        command.env_remove("LYNCEUS_STORE").env_remove("LYNCEUS_PIPELINES");
        let output = command.output()?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(output.status.success(), "{words:?}: {said}");
        Ok(said)
    };
    for name in SHIPPED {
        lynceus(&["init", "--from", name, "--url", &url])?;
        ensure!(lynceus(&["lint", &format!("pipelines/{name}.yaml")])?.contains("nothing wrong"));
        let table = lynceus(&["source", "check", name])?;
        ensure!(!table.contains(" failed "), "{table}");
    }
    let times = ["--set", "step=5s", "--set", "range=40m", "--set", "rate_window=1m"];
    let said = lynceus(&[&["run", "kubernetes-nodes"][..], &times].concat())?;
    ensure!(said.contains("report  "), "{said}");
    Ok(())
}

#[test]
fn query_that_the_server_cannot_parse_is_named_with_the_servers_words() -> Result<()> {
    let server = Prometheus::recorded()?;
    let folder = tempfile::tempdir()?;
    let document = folder.path().join("checked.yaml");
    fs_err::write(&document, DOCUMENT.replace("URL", &server.url()))?;
    let lynceus = |words: &[&str]| -> Result<(Option<i32>, String, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
        command.args(words).arg(&document).current_dir(folder.path());
        command.env_remove("LYNCEUS_STORE").env_remove("LYNCEUS_PIPELINES");
        let output = command.output()?;
        Ok((
            output.status.code(),
            String::from_utf8(output.stdout)?,
            String::from_utf8(output.stderr)?,
        ))
    };
    let (code, _, said) = lynceus(&["lint"])?;
    ensure!(code == Some(0), "lint reads characters, not grammar: {said}");

    let now = ["--now", "2026-11-21T09:00:00Z"];
    let (code, table, said) = lynceus(&["source", "check", now[0], now[1]])?;
    ensure!(code == Some(2), "a query that cannot be parsed is the document's: {code:?} {said}");
    let row =
        |query: &str| table.lines().find(|line| line.split_whitespace().nth(2) == Some(query));
    ensure!(row("load").is_some_and(|row| row.contains(" ok ")), "{table}");
    for (query, words) in [
        ("grouping", "parse error: unexpected identifier \"instance\" in grouping opts"),
        ("instant", "parse error: expected type range vector in call to function \"rate\""),
    ] {
        ensure!(
            row(query).is_some_and(|row| row.contains(" failed ") && row.contains(words)),
            "{query}: {table}"
        );
    }
    let named = "error: 2 of 3 queries failed: `metrics.grouping`, `metrics.instant`";
    ensure!(said.contains(named), "{said}");
    Ok(())
}
