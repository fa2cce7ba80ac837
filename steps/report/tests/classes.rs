//! The page and the record of a run of `task: classify` in a cluster, whose first step failed.

use std::path::Path;
use std::process::Command;

use contract::read_json;
use contract::run::{RunRecord, RunStatus};
use serde_json::json;

const DOCUMENT: &str = "
format: 1
name: kinds
task: classify
step: 10s
range: 10m
sources: {rows: {table: {path: rows.csv, time: time, entity: pod, label: image}}}
features: [raw: {columns: ['*']}]
classify: {classes: {mysql: [], redis: []}, models: {random_forest: {}}}
";

/// Runs the program on the folder `run` as the exit handler does; returns its page and record.
fn report(folder: &Path) -> anyhow::Result<(String, RunRecord)> {
    fs_err::write(folder.join("document.yaml"), DOCUMENT)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_report"));
    command.current_dir(folder).args(["--document", "document.yaml", "--report", "report.html"]);
    command.args(["--run", "run", "--tables", "tables", "--record", "record"]);
    command.args(["--run-name", "uid-1", "--now", "2026-11-21T10:10:00Z"]);
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs_err::read_to_string(folder.join("report.html"))?;
    Ok((page, read_json(&folder.join("record/run.json"))?))
}

#[test]
fn training_whose_first_step_failed_has_a_record_and_says_why() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let why = "all rows lie outside the range";
    let outcome = json!({
        "step": "collect", "version": "0.1.0", "status": "refused", "exit_code": 3, "seconds": 0.1,
        "peak_memory_bytes": 0, "error": {"kind": "refused", "message": why},
    });
    fs_err::create_dir_all(folder.path().join("run/collect"))?;
    fs_err::write(folder.path().join("run/collect/outcome.json"), outcome.to_string())?;
    let (page, run) = report(folder.path())?;
    assert_eq!((run.run.as_str(), run.status, run.tasks.len()), ("uid-1", RunStatus::Refused, 1));
    assert!(page.contains("kinds: the data was refused"), "{page}");
    assert!(page.contains(why), "{page}");
    assert!(folder.path().join("tables/tasks.csv").exists());
    Ok(())
}

#[test]
fn training_whose_first_pod_never_ended_has_a_record() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs_err::create_dir(folder.path().join("run"))?;
    let (page, run) = report(folder.path())?;
    assert_eq!((run.status, run.tasks.len()), (RunStatus::Failed, 0));
    assert!(page.contains("kinds: the run failed"), "{page}");
    Ok(())
}
