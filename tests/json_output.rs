//! Is `--output json` JSON in every command, and text text?

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::hosts;
use crate::workspace::Workspace;

/// Commands that run until they are stopped: their first line is read.
const SERVICES: [&str; 2] = ["serve", "replay"];

/// Commands that another test runs, or that print nothing for a person, with the reason.
const LEFT_OUT: [(&str, &str); 16] = [
    ("agent", "runs `record` as a service"),
    ("record", "needs an exporter: tests of `recorded`"),
    ("watch", "scores at the time of the clock: tests/score_faults/stopped.rs"),
    ("scenario check", "needs the log of a scenario: tests/scenarios.rs"),
    ("scenario run", "injects faults: tests/scenarios.rs"),
    ("scenario record", "is a step of a workflow"),
    ("scenario worker", "is started by `scenario run`"),
    ("features publish", "needs a feature group: tests/feature_catalogue.rs"),
    ("features backfill", "needs a feature group: tests/feature_catalogue.rs"),
    ("features show", "needs a feature group: tests/feature_catalogue.rs"),
    ("features stats", "needs a feature group: tests/feature_catalogue.rs"),
    ("features diff", "needs a feature group: tests/feature_catalogue.rs"),
    ("completions", "prints a script, and refuses JSON"),
    ("entities list", "needs `task: classify`: tests/classify_run.rs"),
    ("entities show", "needs `task: classify`: tests/classify_run.rs"),
    ("models match", "needs `task: classify`: tests/classify_run.rs"),
];

/// Returns a command line of each command, in an order in which each has what it needs.
fn lines(scenario: &str) -> Vec<Vec<&str>> {
    let lines = [
        "init --from node",
        "lint hosts.yaml",
        "document hosts.yaml",
        "plan hosts.yaml",
        "source check hosts.yaml",
        "run hosts.yaml",
        "run hosts.yaml --set seed=2",
        "score hosts.yaml --since 2026-11-21T05:00:00Z",
        "messages hosts",
        "scores hosts.yaml",
        "predict hosts.yaml rows.csv",
        "predict hosts.yaml rows.csv --to scores.csv",
        "status",
        "status hosts.yaml",
        "evaluate hosts.yaml --from 2026-11-21T05:00:00Z --to 2026-11-21T06:00:00Z",
        "report hosts.yaml",
        "compare hosts previous last",
        "explain hosts last select",
        "runs list",
        "runs show hosts last",
        "dataset export hosts",
        "dataset export hosts --to rows-of-run.csv",
        "models list",
        "models show hosts live",
        "models history hosts",
        "models promote hosts live --why test",
        "models compare hosts live live",
        "models rollback hosts",
        "track sync hosts.yaml --again",
        "store check",
        "store gc",
        "scenario plan SCENARIO",
        "scenario status SCENARIO",
        "scenario manifests SCENARIO",
        "manifests hosts --pipelines . --folder argo",
        "manifests hosts --pipelines . --folder argo --check",
        "features list",
        "features find requests",
        "features uses",
        "schema",
        "names status",
        "serve hosts --address 127.0.0.1:0",
        "replay hosts.yaml",
    ];
    let word = |word| if word == "SCENARIO" { scenario } else { word };
    lines.map(|line| line.split(' ').map(word).collect()).into()
}

/// Returns the names of all commands that do something.
fn leaves(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
    for sub in command.get_subcommands().filter(|sub| !["help", "step"].contains(&sub.get_name())) {
        let path = format!("{path} {}", sub.get_name()).trim().to_owned();
        if sub.has_subcommands() {
            leaves(sub, &path, found);
        } else {
            found.insert(path);
        }
    }
}

fn is_structure(text: &str) -> bool {
    let value: Result<Value, _> = serde_json::from_str(text);
    value.is_ok_and(|value| value.is_object() || value.is_array())
}

#[test]
fn output_of_every_command_is_json_or_text_as_asked() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let document = hosts::DOCUMENT.replace("ratio: 0.5", "ratio: 1");
    let document = format!("{document}tracking: {{openlineage_file: {{path: lineage.jsonl}}}}\n");
    fs_err::write(workspace.path().join("rows.csv"), hosts::table(0..400, 2, |_| true))?;
    fs_err::write(workspace.path().join("hosts.yaml"), document)?;
    let scenario = crate::workspace::pipelines().join("scenarios/chaos-mesh.yaml");
    let scenario = scenario.to_str().context("a path of text")?;

    let mut known = BTreeSet::new();
    leaves(&pipelines::cli::command(), "", &mut known);
    let mut done: BTreeSet<String> = LEFT_OUT.iter().map(|(name, _)| (*name).to_owned()).collect();
    for line in lines(scenario) {
        let pair = line.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        done.insert(if known.contains(&pair) { pair } else { line[0].to_owned() });
        for output in ["json", "text"] {
            let printed = printed(&workspace, &line, output)?;
            let text = printed.trim();
            match output {
                "json" => ensure!(is_structure(text), "{line:?} prints no JSON: {text}"),
                _ if line[0] == "schema" => {}
                _ => ensure!(!is_structure(text), "{line:?} prints JSON as text: {text}"),
            }
        }
    }
    let missing: Vec<&String> = known.difference(&done).collect();
    assert!(missing.is_empty(), "these commands are not tried: {missing:?}");
    for refused in [&["completions", "bash"][..], &["schema", "--format", "markdown"]] {
        let output = workspace.output(&[refused, &["--output", "json"]].concat())?;
        assert_eq!(output.status.code(), Some(2), "{refused:?}");
    }
    Ok(())
}

/// Runs a command line and returns what it printed; of a service its first line.
fn printed(workspace: &Workspace, line: &[&str], output: &str) -> anyhow::Result<String> {
    let arguments = [&["--output", output], line].concat();
    let pipelines = if line[0] == "init" { "made" } else { "." };
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lynceus"));
    command.current_dir(workspace.path()).args(&arguments);
    command.arg("--store").arg(workspace.store());
    if !line.contains(&"--pipelines") {
        let folder = format!("{pipelines}/{output}");
        command.args(["--pipelines", if line[0] == "init" { &folder } else { pipelines }]);
    }
    if !SERVICES.contains(&line[0]) {
        let done = command.output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        // What is refused (3) is shown all the same.
        ensure!(matches!(done.status.code(), Some(0 | 3)), "{arguments:?}: {said}");
        return Ok(String::from_utf8(done.stdout)?);
    }
    let mut service =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn()?;
    let mut first = String::new();
    let mut reader = BufReader::new(service.stdout.take().context("standard output")?);
    let mut read = Ok(1);
    // JSON for people has several lines.
    while matches!(read, Ok(1..)) && !(first.ends_with("}\n") || first.starts_with("http")) {
        read = reader.read_line(&mut first);
    }
    service.kill()?;
    service.wait()?;
    read?;
    Ok(first)
}
