//! Does each step run by itself as described in `docs/src/steps.md`?

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs `tests/steps.sh`, which must succeed, and returns what it printed.
fn script(flags: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(repository().join("tests/steps.sh"))
        .args(flags)
        .env("LYNCEUS", env!("CARGO_BIN_EXE_lynceus"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn page_shows_the_command_lines_that_the_script_runs() -> anyhow::Result<()> {
    let page = fs_err::read_to_string(repository().join("docs/src/steps.md"))?;
    for flags in [&["--print"][..], &["--print", "localhost/lynceus"]] {
        let printed = script(flags)?;
        assert_eq!(printed.lines().filter(|line| line.starts_with("# ")).count(), 11);
        ensure!(
            page.contains(&format!("```sh\n{printed}```\n")),
            "docs/src/steps.md lacks what `tests/steps.sh {}` prints:\n{printed}",
            flags.join(" ")
        );
    }
    Ok(())
}

#[test]
fn readme_shows_the_steps_that_the_script_runs() -> anyhow::Result<()> {
    let script = fs_err::read_to_string(repository().join("tests/steps.sh"))?;
    let steps: Vec<&str> =
        script.lines().filter(|line| line.starts_with("    step ")).map(str::trim).collect();
    assert_eq!(steps.len(), 12, "ten steps, two of them twice");
    let readme = fs_err::read_to_string(repository().join("README.md"))?;
    let block = format!("\n{}\n```\n", steps.join("\n"));
    ensure!(readme.contains(&block), "README.md lacks the lines of tests/steps.sh:{block}");
    Ok(())
}

#[test]
fn each_step_runs_alone_on_the_sample() -> anyhow::Result<()> {
    let programs = tempfile::tempdir()?;
    let stages = [
        "collect", "label", "feature", "validate", "train", "select", "deploy", "score", "alert",
        "report",
    ];
    for stage in stages {
        // The programs themselves have the same code: tests/gate.sh runs them.
        let link = programs.path().join(stage);
        let lynceus = env!("CARGO_BIN_EXE_lynceus");
        fs_err::write(&link, format!("#!/bin/sh\nexec '{lynceus}' step {stage} \"$@\"\n"))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&link, mode)?;
    }
    let said = script(&[programs.path().to_str().context("a path of text")?])?;
    for stage in stages {
        ensure!(said.contains(&format!("== {stage}\n")), "{stage}: {said}");
    }
    Ok(())
}
