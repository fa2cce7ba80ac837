//! A separate store for each test, in which the program runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// Documents and samples of the repository.
pub(crate) fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Starts a program, kills it after a while and returns whether it had not ended by then.
pub(crate) fn kill(command: &mut Command, after: Duration) -> anyhow::Result<bool> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // The time of the kill is the subject of the test, so this sleep is not synchronisation.
    std::thread::sleep(after);
    let running = child.try_wait()?.is_none();
    child.kill()?;
    child.wait()?;
    Ok(running)
}

/// A store in a temporary folder.
pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Returns the program with the store and the documents set.
    pub(crate) fn lynceus(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
        command.current_dir(self.path()).args(arguments);
        command.arg("--store").arg(self.store()).arg("--pipelines").arg(pipelines());
        command
    }

    /// Runs the program and returns its output, for any exit code.
    pub(crate) fn output(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.lynceus(arguments).output().context("the program starts")
    }

    /// Runs the program, which must succeed, and returns its stdout.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.output(arguments)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {}\n{stderr}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs the program with `--output json` and parses what it printed.
    pub(crate) fn json(&self, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--output", "json"]);
        Ok(serde_json::from_str(&self.run(&arguments)?)?)
    }

    /// Returns the hash of every file of the store that a run promises to repeat: artifacts,
    /// models, scores and states, but no timings, logs, pages that show timings, and no list of
    /// messages: after a kill between sending a message and recording it, the message is sent
    /// again.
    pub(crate) fn promised(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let about_the_process = [
            "run.json",
            "outcome.json",
            "log.jsonl",
            "report.html",
            "tasks.csv",
            "tasks.json",
            "messages.csv",
            "messages.json",
        ];
        let mut hashes = BTreeMap::new();
        for file in contract::artifact::files_below(&self.store())? {
            let name = file.rsplit('/').next().unwrap_or_default();
            // The resolved document and the cache contain local paths.
            if !file.starts_with("cache/") && !about_the_process.contains(&name) {
                hashes.insert(
                    file.clone(),
                    contract::artifact::sha256_path(&self.store().join(&file))?,
                );
            }
        }
        Ok(hashes)
    }
}

/// Returns the entries that differ between `a` and `b`, or are only in one of them.
pub(crate) fn differences(
    a: &BTreeMap<String, String>,
    b: &BTreeMap<String, String>,
) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}
