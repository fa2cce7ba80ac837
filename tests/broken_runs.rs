//! Failures outside of the steps: files beside the document, missing inputs, concurrent runs.

use serde_json::Value;

use crate::workspace::{Workspace, pipelines};

/// Copies the document of the cluster beside a link to its samples and returns its path.
fn own_document(workspace: &Workspace) -> anyhow::Result<String> {
    let folder = workspace.path().join("own");
    fs_err::create_dir(&folder)?;
    fs_err::copy(pipelines().join("cluster.yaml"), folder.join("cluster.yaml"))?;
    fs_err::os::unix::fs::symlink(pipelines().join("samples"), folder.join("samples"))?;
    Ok(folder.join("cluster.yaml").display().to_string())
}

fn record(workspace: &Workspace) -> anyhow::Result<Value> {
    let run = workspace.store().join("runs/cluster/20261121T083600Z");
    let named = |entry: &fs_err::DirEntry| entry.path().starts_with(&run);
    let runs = fs_err::read_dir(workspace.store().join("runs/cluster"))?;
    let mut runs = runs.collect::<Result<Vec<_>, _>>()?;
    runs.retain(|entry| named(entry) || !entry.file_name().to_string_lossy().ends_with("-score"));
    Ok(serde_json::from_slice(&fs_err::read(runs[0].path().join("run.json"))?)?)
}

#[test]
fn a_file_channel_beside_the_document_outlives_the_tick() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let document = own_document(&workspace)?;
    workspace.run(&[
        "run",
        &document,
        "--sample",
        "--set",
        "alerts.channels=[{file: {path: told.jsonl}}]",
    ])?;
    let told = fs_err::read_to_string(workspace.path().join("own/told.jsonl"))?;
    assert!(told.lines().count() >= 1, "{told}");
    Ok(())
}

#[test]
fn a_secret_beside_the_document_is_found_from_every_run() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let document = own_document(&workspace)?;
    fs_err::write(workspace.path().join("own/token"), "t")?;
    let source = "sources.metrics.prometheus={url: 'http://127.0.0.1:1', retries: 0, auth: {bearer_token: {file: token}}}";
    let output = workspace.output(&["run", &document, "--set", source, "--retries", "0"])?;
    // The token is read before the server is found unreachable.
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("cannot connect"), "{said}");
    Ok(())
}

#[test]
fn absent_source_is_named_and_fails_the_run() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    for set in ["sources.metrics.recording.path=nowhere", "labels.scenarios=nowhere.csv"] {
        let output = workspace.output(&["run", "cluster", "--sample", "--set", set])?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("nowhere"), "{said}");
        assert_eq!(record(&workspace)?["status"], "failed", "{set}");
    }
    Ok(())
}

#[test]
fn interrupted_training_resumes_after_a_failed_tick() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let overlay = pipelines().join("samples/cluster.yaml").display().to_string();
    let train = ["run", "cluster", "--overlay", overlay.as_str()];
    workspace.run(&[&train[..], &["--now", "2026-11-21T08:36:00Z"]].concat())?;
    // The state after a kill.
    for entry in fs_err::read_dir(workspace.store().join("runs/cluster"))? {
        let path = entry?.path().join("run.json");
        let text = fs_err::read_to_string(&path)?;
        fs_err::write(&path, text.replacen("\"status\": \"done\"", "\"status\": \"running\"", 1))?;
    }
    let away =
        "sources.metrics={recording: null, prometheus: {url: 'http://127.0.0.1:1', retries: 0}}";
    let tick = workspace.output(&[
        "score",
        "cluster",
        "--overlay",
        &overlay,
        "--set",
        away,
        "--retries",
        "0",
        "--at",
        "2026-11-21T08:37:00Z",
    ])?;
    assert_eq!(tick.status.code(), Some(4), "{}", String::from_utf8_lossy(&tick.stderr));
    let output = workspace.output(&train)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("resuming the interrupted run"), "{said}");
    Ok(())
}

#[test]
fn runs_side_by_side_in_one_store_all_end_well() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let start = |number: usize| {
        let set = format!("alerts.for={number}");
        let mut command = workspace.lynceus(&["run", "cluster", "--sample", "--set", &set]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn()
    };
    let runs: Vec<_> = (1..=4).map(start).collect::<Result<_, _>>()?;
    for run in runs {
        let output = run.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        // Only one scores at a time; the others may end with a lost race.
        assert!(matches!(output.status.code(), Some(0 | 5)), "{said}");
    }
    Ok(())
}
