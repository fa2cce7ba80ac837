//! Labelled tables, from training to the score of each row: the first hour of a data scientist.

use anyhow::{Context as _, ensure};
use frames::external::ExternalTable;
use serde_json::Value;

use crate::hosts;
use crate::workspace::Workspace;

/// Five hosts, with a fault in some minutes of each.
fn table(from: i64, minutes: i64) -> String {
    hosts::table(from..from + minutes, 5, |_| true)
}

fn document() -> String {
    format!("{}split: {{by: entity, validation: 0.2, test: 0.2}}\n", hosts::DOCUMENT)
}

fn made() -> anyhow::Result<Workspace> {
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("rows.csv"), table(0, 400))?;
    fs_err::write(workspace.path().join("hosts.yaml"), document())?;
    workspace.run(&["run", "hosts.yaml"])?;
    Ok(workspace)
}

/// Returns a column of CSV by its name.
fn column<'a>(text: &'a str, name: &str) -> anyhow::Result<Vec<&'a str>> {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().context("a header")?;
    let place = header.iter().position(|column| *column == name).context("the column")?;
    Ok(lines.map(|cells| cells[place]).collect())
}

#[test]
fn table_is_split_by_entity_and_each_part_of_the_run_has_scores_of_its_rows() -> anyhow::Result<()>
{
    let workspace = made()?;
    let test = ["predict", "hosts.yaml", "--run", "last", "--part", "test", "--output", "csv"];
    let test = workspace.run(&test)?;
    let all = workspace.run(&["predict", "hosts.yaml", "--run", "last", "--output", "csv"])?;
    let hosts = |text: &str, part: &str| -> anyhow::Result<Vec<String>> {
        let rows = column(text, "entity")?.into_iter().zip(column(text, "part")?);
        let mut hosts: Vec<String> =
            rows.filter(|(_, of)| *of == part).map(|(host, _)| host.to_owned()).collect();
        hosts.sort();
        hosts.dedup();
        Ok(hosts)
    };
    let parts = ["train", "validation", "test"].map(|part| hosts(&all, part));
    let [train, validation, tested] = parts;
    let (train, validation, tested) = (train?, validation?, tested?);
    assert_eq!((train.len(), validation.len(), tested.len()), (3, 1, 1));
    let mut together = [train, validation, tested.clone()].concat();
    together.sort();
    assert_eq!(together, ["h0", "h1", "h2", "h3", "h4"], "each host is in one part");
    assert_eq!(hosts(&test, "test")?, tested);
    assert_eq!(column(&test, "part")?.len(), 400);
    // Anomalous rows have higher scores.
    let rows = column(&test, "label")?.into_iter().zip(column(&test, "score")?);
    let (mut odd, mut usual) = (f64::MAX, 0.0_f64);
    for (label, score) in rows {
        let score: f64 = score.parse()?;
        match label {
            "flood" => odd = odd.min(score),
            _ => usual = usual.max(score),
        }
    }
    ensure!(odd > usual, "{odd} {usual}");
    Ok(())
}

#[test]
fn rows_of_another_table_are_judged_without_a_store() -> anyhow::Result<()> {
    let workspace = made()?;
    fs_err::write(workspace.path().join("later.csv"), table(400, 60))?;
    let before = contract::artifact::files_below(&workspace.store())?;
    let said = workspace.run(&["predict", "hosts.yaml", "later.csv", "--to", "scores.parquet"])?;
    assert!(said.contains("300 rows, "), "{said}");
    let average = said.lines().find_map(|line| line.strip_prefix("roc_auc "));
    assert_eq!(average, Some("1.0000"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("flood   15    15")), "{said}");
    assert_eq!(contract::artifact::files_below(&workspace.store())?, before, "nothing is written");
    let scores = ExternalTable::open(&workspace.path().join("scores.parquet"))?;
    let names: Vec<String> = scores.columns().into_iter().map(|column| column.name).collect();
    let first = ["time", "entity", "verdict", "score", "threshold"];
    assert_eq!(names[..5], first, "{names:?}");
    let mut rows = 0;
    scores.for_each_batch(|batch| {
        rows += batch.rows();
        Ok(())
    })?;
    assert_eq!(rows, 300);
    // The folder of a bundle needs no document, since the table has the features themselves.
    let run = workspace.json(&["runs", "show", "hosts", "last"])?;
    let run = run["run"].as_str().context("a run")?;
    let bundle = workspace.store().join("runs/hosts").join(run).join("select/bundle");
    let bundle = bundle.to_str().context("a path of text")?;
    let of_bundle = workspace.json(&["predict", bundle, "later.csv"])?;
    assert_eq!(of_bundle.as_array().map(Vec::len), Some(300));
    let lacking = workspace.path().join("lacking.csv");
    fs_err::write(&lacking, "time,requests\n1,2\n")?;
    let output = workspace.output(&["predict", bundle, "lacking.csv"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("does not have these features of the model: errors"), "{said}");
    Ok(())
}

#[test]
fn evaluation_uses_the_label_column_of_the_document() -> anyhow::Result<()> {
    let workspace = made()?;
    // Live scoring begins half a day back; the current time is that of the last row.
    workspace.run(&["score", "hosts.yaml", "--since", "2026-11-21T03:00:00Z"])?;
    let range = ["--from", "2026-11-21T03:00:00Z", "--to", "2026-11-21T07:00:00Z"];
    let found = workspace.json(&[["evaluate", "hosts.yaml"].as_slice(), &range].concat())?;
    let labels = found["labels"].as_array().context("labels")?;
    let of = |name: &str| labels.iter().find(|it| it["label"] == name).cloned();
    let flood = of("flood").context("flood")?;
    assert_eq!(flood["rows"], flood["anomalous"], "{found}");
    assert!(of("BENIGN").is_some_and(|benign| benign["rows"].as_u64() > Some(1000)), "{found}");
    assert_eq!(found["figures"]["recall"], Value::from(1.0), "{found}");
    let csv = ["scores", "hosts.yaml", "--last", "10m", "--output", "csv"];
    let csv = workspace.run(&csv)?;
    assert_eq!(column(&csv, "entity")?.len(), 50, "ten windows of five hosts");
    let output = workspace.output(&["status", "hosts.yaml", "--output", "csv"])?;
    assert_eq!(output.status.code(), Some(2), "only rows are CSV");
    Ok(())
}

#[test]
fn entity_without_a_normal_row_leaves_the_figures_of_the_others_as_they_are() -> anyhow::Result<()>
{
    let workspace = Workspace::new()?;
    let relabelled = |line: &str| {
        let label = if line.contains(",h4,") { "flood" } else { "BENIGN" };
        line.replace("BENIGN", label)
    };
    let rows: Vec<String> = table(0, 400).lines().map(relabelled).collect();
    fs_err::write(workspace.path().join("rows.csv"), rows.join("\n") + "\n")?;
    fs_err::write(workspace.path().join("hosts.yaml"), hosts::DOCUMENT)?;
    workspace.run(&["run", "hosts.yaml"])?;
    workspace.run(&["score", "hosts.yaml", "--since", "2026-11-21T03:00:00Z"])?;
    let page = workspace.run(&["report", "hosts.yaml", "--last", "210m"])?;
    let tables = std::path::Path::new(page.trim()).with_extension("tables");
    let confusion = fs_err::read_to_string(tables.join("confusion.csv"))?;
    let normal = column(&confusion, "normal")?;
    let anomalous = column(&confusion, "anomalous")?;
    let [missed, quiet] = normal.as_slice() else { anyhow::bail!("{confusion}") };
    // Four hosts with faults in three of 60 minutes; the fifth is labelled as a fault throughout,
    // but is normal except in those minutes.
    let (missed, quiet): (u64, u64) = (missed.parse()?, quiet.parse()?);
    let false_alarms: u64 = anomalous[1].parse()?;
    assert!(quiet > 700, "{confusion}");
    assert!(false_alarms * 50 < quiet, "{confusion}");
    assert!(missed > 100, "{confusion}");
    Ok(())
}

#[test]
fn document_is_printed_as_commands_use_it() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("hosts.yaml"), document())?;
    let said = workspace.run(&["document", "hosts.yaml", "--set", "seed=9"])?;
    assert!(said.contains("\nseed: 9\n") && said.contains("by: entity"), "{said}");
    fs_err::write(workspace.path().join("again.yaml"), &said)?;
    assert_eq!(workspace.run(&["document", "again.yaml"])?, said, "it is a document itself");
    let read = workspace.json(&["document", "hosts.yaml"])?;
    assert_eq!(read["sources"]["rows"]["table"]["path"], "rows.csv", "paths as they are written");
    Ok(())
}

#[test]
fn step_on_the_sample_prints_a_command_line_that_does_the_same() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let to = ["--sample", "container", "--to", "steps"];
    let run = |stage: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lynceus"));
        command.current_dir(workspace.path()).args(["step", stage]).args(to);
        command.arg("--pipelines").arg(crate::workspace::pipelines()).output()
    };
    let output = run("validate")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}\n{stderr}");
    let lines: Vec<&str> = said.lines().collect();
    let stages: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(stages, ["collect", "feature", "validate"], "{said}");
    let validation = workspace.path().join("steps/validate/validation.json");
    let first = fs_err::read(&validation)?;
    fs_err::remove_file(&validation)?;
    let words: Vec<&str> = lines[2].split(' ').skip(1).collect();
    let mut again = std::process::Command::new(env!("CARGO_BIN_EXE_lynceus"));
    let again = again.current_dir(workspace.path()).args(&words).output()?;
    ensure!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(fs_err::read(&validation)?, first);
    let output = run("validate")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.lines().count(), 1, "what it needs is there: {said}");
    Ok(())
}

#[test]
fn test_table_of_the_document_is_judged_by_the_model_of_each_run() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("train.csv"), table(0, 400))?;
    // The test rows have the same times, as if from another day in another place.
    fs_err::write(workspace.path().join("test.csv"), table(30, 120))?;
    let document = document()
        .replace("path: rows.csv", "path: train.csv, test: test.csv")
        .replace("validation: 0.2, test: 0.2", "validation: 0.2, test: 0");
    fs_err::write(workspace.path().join("hosts.yaml"), document)?;
    let said = workspace.run(&["run", "hosts.yaml"])?;
    let (_, said) = said.split_once("test table ").context("a test table")?;
    ensure!(said.contains("test.csv:\n600 rows, ") && said.contains("roc_auc 1.0000"), "{said}");
    let run = workspace.json(&["runs", "show", "hosts", "last"])?;
    assert_eq!(run["metrics"]["test_table.roc_auc"], 1.0, "{run}");
    let scores = workspace.store().join("runs/hosts").join(run["run"].as_str().context("run")?);
    let scores = ExternalTable::open(&scores.join("test_table/scores.parquet"))?;
    let mut rows = 0;
    scores.for_each_batch(|batch| {
        rows += batch.rows();
        Ok(())
    })?;
    assert_eq!(rows, 600);

    fs_err::remove_file(workspace.path().join("test.csv"))?;
    for command in [&["run", "hosts.yaml"][..], &["lint", "hosts.yaml"]] {
        let output = workspace.output(command)?;
        assert_eq!(output.status.code(), Some(2));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(said.contains("sources.rows.table.test`: there is no"), "{said}");
    }
    Ok(())
}

#[test]
fn runs_are_listed_with_their_figures_sorted_and_by_tag() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("rows.csv"), table(0, 400))?;
    fs_err::write(workspace.path().join("hosts.yaml"), document())?;
    let tagged = ["run", "hosts.yaml", "--tag", "purpose=baseline", "--note", "the first one"];
    workspace.run(&tagged)?;
    // With only one useless column, no fault is found.
    let blind = "sources.rows.table.columns=[errors]";
    let blind = ["run", "hosts.yaml", "--set", blind, "--tag", "purpose=blind"];
    workspace.run(&blind)?;

    let runs = workspace.json(&["runs", "list", "hosts", "--sort", "test.roc_auc"])?;
    let purposes = |runs: &Value| -> Vec<String> {
        let of = |run: &Value| run["tags"]["purpose"].as_str().unwrap_or_default().to_owned();
        runs.as_array().into_iter().flatten().map(of).collect()
    };
    assert_eq!(purposes(&runs), ["baseline", "blind"]);
    let auc = |run: usize| runs[run]["metrics"]["test.roc_auc"].as_f64();
    ensure!(auc(0) > auc(1), "{runs}");
    let reversed = ["runs", "list", "hosts", "--sort", "test.roc_auc", "--reverse"];
    assert_eq!(purposes(&workspace.json(&reversed)?), ["blind", "baseline"]);
    let one = workspace.json(&["runs", "list", "--tag", "purpose=blind"])?;
    assert_eq!(purposes(&one), ["blind"]);

    let text = workspace.run(&["runs", "list", "--metric", "test.recall"])?;
    for words in ["test.recall", "purpose=baseline", "the first one"] {
        ensure!(text.contains(words), "{words}: {text}");
    }
    let text = workspace.run(&["runs", "list"])?;
    ensure!(text.contains("test.roc_auc") && text.contains("test.f1"), "{text}");
    let first = runs[0]["run"].as_str().context("a run")?;
    let shown = workspace.run(&["runs", "show", "hosts", first])?;
    for words in
        ["tag     purpose=baseline\n", "note    the first one\n", "metric  test.roc_auc 1.0000\n"]
    {
        ensure!(shown.contains(words), "{words}: {shown}");
    }
    let output = workspace.output(&["runs", "list", "--sort", "test.roc_au"])?;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("did you mean `test.roc_auc`?"), "{said}");
    let output = workspace.output(&["run", "hosts.yaml", "--tag", "purpose"])?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}
