//! Help texts, and errors for wrong command lines.

use std::path::Path;

use anyhow::Context as _;

use crate::workspace::Workspace;

/// Compares a text with a file of tests/golden; `LYNCEUS_UPDATE=1` writes it instead.
fn golden(name: &str, text: &str) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
    if std::env::var_os("LYNCEUS_UPDATE").is_some() {
        fs_err::write(&path, text)?;
    }
    let expected = fs_err::read_to_string(&path)?;
    assert_eq!(
        text, expected,
        "{name} changed; `LYNCEUS_UPDATE=1 cargo test -p pipelines` takes the new text"
    );
    Ok(())
}

#[test]
fn every_command_shows_an_example_in_its_help() {
    fn walk(command: &clap::Command, path: &str) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            let nested = sub.has_subcommands();
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(nested || help.contains("Example: lynceus "), "{path}");
            walk(sub, &path);
        }
    }
    walk(&pipelines::cli::command(), "lynceus");
}

#[test]
fn examples_are_command_lines_that_parse() {
    fn walk(command: &clap::Command) {
        for sub in command.get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            if let Some((_, example)) = help.split_once("Example: ") {
                let line = example.split(" > ").next().unwrap_or_default();
                // Every second part is quoted, and one word.
                let words =
                    line.split('\'').enumerate().flat_map(|(index, part)| match index % 2 {
                        0 => part.split_whitespace().map(Into::into).collect::<Vec<_>>(),
                        _ => vec![part.into()],
                    });
                let words = words.collect::<Vec<_>>();
                let parsed = pipelines::cli::parse(words);
                assert!(
                    parsed.is_ok(),
                    "{example}: {}",
                    parsed.err().map(|e| e.to_string()).unwrap_or_default()
                );
            }
            walk(sub);
        }
    }
    walk(&pipelines::cli::command());
}

#[test]
fn help_texts_match_the_golden_file() -> anyhow::Result<()> {
    fn walk(command: &clap::Command, path: &str, text: &mut String) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            let help = sub.clone().term_width(100).render_help();
            text.push_str(&format!("\n=== {path}\n{help}"));
            walk(sub, &path, text);
        }
    }
    let mut command = pipelines::cli::command().term_width(100);
    // Names the commands before each subcommand in its usage line, as parsing does.
    command.build();
    let mut text = command.render_long_help().to_string();
    walk(&command, "lynceus", &mut text);
    golden("help.txt", &text)
}

#[test]
fn document_reference_is_generated_from_the_schema() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    golden("../../docs/src/document.md", &workspace.run(&["schema", "--format", "markdown"])?)
}

#[test]
fn schema_matches_the_golden_file() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    golden("schema.json", &workspace.run(&["schema"])?)
}

#[test]
fn wrong_command_line_exits_2_with_an_error() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let mut text = String::new();
    for arguments in [
        &["run", "clutser"][..],
        &["run", "no/such/document.yaml"],
        &["run", "cluster", "--set", "vote.alarm_att=1"],
        &["run", "cluster", "--set", "step=5 minutes"],
        &["run", "cluster", "--set", "sources.metrics.prometheus.url=me:secret@host"],
        &["run", "cluster", "--overlay", "absent.yaml"],
        &["run", "cluster", "--sample", "--from", "selekt"],
        &["run", "cluster", "--now", "yesterday"],
        &["run", "cluster", "--jobs", "0"],
        &["explain", "cluster", "last", "collect"],
        &["runs", "list", "clutser"],
        &["runs", "show", "cluster", "2026"],
        &["models", "list", "clutser"],
        &["bogus"],
    ] {
        let output = workspace.output(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.replace(&workspace.store().display().to_string(), "STORE");
        let said = said.replace(&crate::workspace::pipelines().display().to_string(), "PIPELINES");
        text.push_str(&format!("$ lynceus {}\n{said}\n", arguments.join(" ")));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    }
    golden("errors.txt", &text)?;
    let output = workspace.lynceus(&["run", "cluster"]).args(["--store", "ftp://x"]).output()?;
    assert_eq!(output.status.code(), Some(2), "a flag given twice");
    Ok(())
}

#[test]
fn plan_shows_dependencies() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let tasks = workspace.json(&["plan", "cluster", "--sample"])?;
    let needs = |name: &str| {
        let task = tasks.as_array().into_iter().flatten().find(|task| task["name"] == name);
        task.map(|task| task["needs"].to_string()).unwrap_or_default()
    };
    assert_eq!(needs("feature"), r#"["collect","label"]"#);
    assert_eq!(needs("train-adaptive"), r#"["validate"]"#);
    assert_eq!(needs("deploy"), r#"["validate","select"]"#);
    let scoring = workspace.run(&["plan", "cluster", "--score"])?;
    assert!(scoring.contains("alert    score"), "{scoring}");
    Ok(())
}

#[test]
fn closed_pipe_prints_no_error() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let mut child = workspace
        .lynceus(&["schema"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(0), "")
    );
    Ok(())
}

#[test]
fn the_units_of_systemd_start_command_lines_that_parse() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    let mut lines = 0;
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let text = fs_err::read_to_string(&path)?;
        for line in text.lines().filter_map(|line| line.strip_prefix("ExecStart=")) {
            let words = line.replace("%i", "cluster");
            let parsed = pipelines::cli::parse(words.split_whitespace().map(Into::into));
            assert!(parsed.is_ok(), "{}: {line}", path.display());
            lines += 1;
        }
    }
    assert_eq!(lines, 2, "one unit scores and one trains");
    Ok(())
}

#[test]
fn document_with_stdout_alone_is_warned_about_without_a_finding() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let path = workspace.path().join("lonely.yaml");
    let text = fs_err::read_to_string(crate::workspace::pipelines().join("cluster.yaml"))?;
    fs_err::write(&path, &text)?;
    let path = path.display().to_string();
    let said = |path: &str| -> anyhow::Result<String> {
        let output = workspace.output(&["lint", path])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        Ok(said)
    };
    assert!(
        said(&path)?.contains("alerts.channels: in a cluster alerts on standard output are lost")
    );
    fs_err::write(&path, text.replace("    - stdout\n", "    - stdout\n    - file: {path: x}\n"))?;
    assert_eq!(said(&path)?, "");
    Ok(())
}

#[test]
fn lint_names_query_line_and_character_of_each_broken_query() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let text = fs_err::read_to_string(crate::workspace::pipelines().join("cluster.yaml"))?;
    let text = text
        .replace("'sum(workqueue_depth)'", "'sum(workqueue_depth'")
        .replace("- 'sum(traefik_open_connections)'", "- 'sum(traefik_open_connections) *'");
    let line = |part: &str| {
        text.lines().position(|line| line.contains(part)).map(|line| line + 1).context("the line")
    };
    fs_err::write(workspace.path().join("cluster.yaml"), &text)?;
    let output = workspace.output(&["lint", "cluster.yaml"])?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for (part, words) in [
        (
            "'sum(workqueue_depth'",
            "`sources.metrics.queries.workqueue_depth.promql`: character 4: `(` is never closed",
        ),
        (
            "'sum(traefik_open_connections) *'",
            "`sources.metrics.queries.active_client_connections.or.1`: character 31: nothing follows `*`",
        ),
    ] {
        let place = format!("cluster.yaml:{}:", line(part)?);
        let is_it = |said: &str| said.starts_with(&place) && said.contains(words);
        assert!(said.lines().any(is_it), "{place} {words}: {said}");
    }
    assert_eq!(said.lines().count(), 2, "{said}");
    Ok(())
}
