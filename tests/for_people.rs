//! Does the command line print the information that a user needs, and nothing else?

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::Workspace;

#[test]
fn ten_warnings_of_a_task_are_printed_and_all_with_verbose() -> Result<()> {
    let workspace = Workspace::new()?;
    // Ten seconds have no row with a value, so there is a warning for each column that should
    // change.
    let run = ["run", "cluster", "--sample", "--set", "range=10s"];
    let warnings = |arguments: &[&str]| -> Result<Vec<String>> {
        let output = workspace.output(arguments)?;
        ensure!(output.status.code() == Some(3), "{}", output.status);
        let text = String::from_utf8(output.stdout)?;
        let of_task = text.lines().filter(|line| line.starts_with("warning validate:"));
        Ok(of_task.map(str::to_owned).collect())
    };
    let short = warnings(&run)?;
    let all = warnings(&[&run[..], &["--verbose"]].concat())?;
    ensure!(all.len() > 10, "{all:?}");
    let last = short.last().context("there is a last line")?;
    ensure!(
        last.ends_with(&format!("and {} more; --verbose prints them", all.len() - 10)),
        "{last}"
    );
    ensure!(short[..10] == all[..10], "{short:?}");
    Ok(())
}

#[test]
fn scores_with_watch_wait_for_the_first_window() -> Result<()> {
    let workspace = Workspace::new()?;
    let mut watching = workspace
        .lynceus(&["scores", "cluster", "--watch"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = watching.stderr.take().context("it has a standard error")?;
    let first = BufReader::new(said).lines().next().context("it says that it waits")?;
    let waits = watching.try_wait()?.is_none();
    watching.kill()?;
    watching.wait()?;
    let first = first?;
    ensure!(first.contains("cluster has no scored window yet: waiting for the first"), "{first}");
    ensure!(waits, "it ended instead of waiting");
    Ok(())
}

#[test]
fn runs_and_versions_are_found_by_their_first_characters() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.run(&["run", "cluster", "--sample"])?;
    let runs = workspace.json(&["runs", "list", "cluster"])?;
    let models = workspace.json(&["models", "list", "cluster"])?;
    let name = |list: &serde_json::Value, field: &str| -> Result<String> {
        let first = list.get(0).with_context(|| list.to_string())?;
        let name = first.get(field).and_then(serde_json::Value::as_str);
        Ok(name.with_context(|| first.to_string())?.to_owned())
    };
    let (run, version) = (name(&runs, "run")?, name(&models, "version")?);
    let shown = workspace.run(&["runs", "show", "cluster", &run[..18]])?;
    ensure!(shown.contains(&run), "{shown}");
    let shown = workspace.run(&["models", "show", "cluster", &version[..18]])?;
    ensure!(shown.contains(&version), "{shown}");
    Ok(())
}

#[test]
fn rows_with_the_time_and_entity_of_another_are_counted_in_a_warning() -> Result<()> {
    let workspace = Workspace::new()?;
    let mut rows = "time,flow,bytes\n".to_owned();
    for minute in 0..60 {
        for bytes in 0..3 {
            rows += &format!("2026-11-21T08:{minute:02}:00Z,f,{bytes}\n");
        }
    }
    fs_err::write(workspace.path().join("rows.csv"), rows)?;
    let document = "format: 1\nname: doubled\nstep: 1m\nrange: 1h\nnow: last_row\n\
        sources: {rows: {table: {path: rows.csv, time: time, entity: flow}}}\n\
        features: [raw]\nmodels: {z_score: {}}\n";
    let path = workspace.path().join("doubled.yaml");
    fs_err::write(&path, document)?;
    let output = workspace.output(&["run", path.to_str().context("a path of text")?])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("samples share time and entity with a later one"), "{text}");
    Ok(())
}
