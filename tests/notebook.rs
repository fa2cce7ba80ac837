//! Does the notebook about scores run, with the same results as the program?

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::hosts;
use crate::workspace::Workspace;

#[test]
fn notebook_over_scores_gives_the_figures_of_predict() -> anyhow::Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let notebook = repository.join("pipelines/examples/scores.ipynb");
    let workspace = Workspace::new()?;
    // One fault of three is too small to be found.
    let table = hosts::table(0..600, 2, |minute| minute.rem_euclid(3) > 0);
    fs_err::write(workspace.path().join("rows.csv"), table)?;
    fs_err::write(workspace.path().join("hosts.yaml"), hosts::DOCUMENT)?;
    workspace.run(&["run", "hosts.yaml"])?;
    let predict = ["predict", "hosts.yaml", "rows.csv", "--to", "scores.parquet"];
    let said = workspace.run(&predict)?;
    if std::env::var_os("LYNCEUS_TEST_PYTHON").is_some_and(|value| value == "off") {
        return Ok(());
    }
    let python = Command::new(repository.join("tests/support/python.sh")).arg("--path").output()?;
    ensure!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr).trim());
    let python = String::from_utf8(python.stdout)?;
    let output = Command::new(python.trim())
        .arg(repository.join("tests/support/notebook.py"))
        .arg(notebook)
        .current_dir(workspace.path())
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    ensure!(printed.contains("1200 rows from 2026-11-21"), "{printed}");
    for figure in ["precision ", "recall "] {
        let of = |text: &str| text.lines().find(|line| line.starts_with(figure)).map(str::to_owned);
        let expected = of(&said).with_context(|| format!("{figure}in {said}"))?;
        assert_eq!(of(&printed).as_ref(), Some(&expected), "{printed}");
        ensure!(!expected.ends_with(" 0.0000"), "{expected}");
    }
    ensure!(printed.contains("threshold x 1.0: "), "{printed}");
    Ok(())
}
