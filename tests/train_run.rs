//! Does a training run do what the document describes, exactly once, and nothing that is already
//! done?

use anyhow::Context as _;
use serde_json::Value;

use crate::workspace::{Workspace, differences};

const TRAIN: [&str; 3] = ["run", "cluster", "--sample"];

/// States of a run's tasks, by name.
fn states(workspace: &Workspace) -> anyhow::Result<Vec<(String, String)>> {
    let run = workspace.json(&["runs", "show", "cluster", "last"])?;
    let tasks = run["tasks"].as_array().context("tasks")?;
    let of = |task: &Value, field: &str| task[field].as_str().unwrap_or_default().to_owned();
    Ok(tasks.iter().map(|task| (of(task, "name"), of(task, "state"))).collect())
}

fn names_in(states: &[(String, String)], state: &str) -> Vec<String> {
    states.iter().filter(|(_, found)| found == state).map(|(name, _)| name.clone()).collect()
}

#[test]
fn the_sample_is_trained_on_scored_and_its_faults_are_found() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let said = workspace.run(&TRAIN)?;
    for scenario in [
        "memory_stress",
        "cpu_stress",
        "traffic_flood",
        "api_flood",
        "disk_stress",
        "unschedulable_pods",
        "process_storm",
    ] {
        let line = said
            .lines()
            .find(|line| line.contains(scenario))
            .with_context(|| format!("{scenario} in\n{said}"))?;
        assert!(line.contains("found"), "{line}");
        assert!(!line.contains("not found"), "{line}");
    }
    assert_eq!(
        said.lines()
            .filter(|line| !line.starts_with("warning") && line.contains(" found "))
            .count(),
        8,
        "{said}"
    );
    let found =
        |label: &str| said.lines().filter(|line| line.starts_with(label)).collect::<Vec<_>>();
    let (memory, cpu) = (found("memory_stress"), found("cpu_stress"));
    assert_eq!(memory.len(), 2, "{said}");
    for (line, cause) in [
        (memory[0], "container_memory_working_set_bytes"),
        (memory[1], "container_memory_working_set_bytes"),
        (cpu[0], "container_cpu_usage_cores"),
    ] {
        let first = line.split(',').next().unwrap_or_default();
        assert!(first.ends_with(cause), "{line}");
    }
    Ok(())
}

#[test]
fn a_score_is_above_its_threshold_exactly_where_there_is_an_alarm() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    workspace.run(&TRAIN)?;
    let scores = workspace.json(&["scores", "cluster"])?;
    let windows = scores.as_array().context("scores")?;
    assert_eq!(windows.len(), 552);
    for window in windows {
        let said = &window["entities"][0];
        let member = &said["members"][0];
        let above = member["decision"].as_f64() > member["threshold"].as_f64();
        assert_eq!(above, said["verdict"] == "anomalous", "{window}");
    }
    Ok(())
}

#[test]
fn the_settings_of_the_paper_are_a_profile() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    workspace.run(&["run", "cluster", "--sample", "--set", "profile=aligo"])?;
    let done = names_in(&states(&workspace)?, "done");
    let trained: Vec<&str> = done.iter().filter_map(|name| name.strip_prefix("train-")).collect();
    assert_eq!(trained, ["autoencoder", "isolation_forest", "one_class_svm"]);
    Ok(())
}

#[test]
fn second_model_on_sample_is_reported_with_its_own_metrics() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let figures = |said: &str| -> anyhow::Result<String> {
        let line = said.lines().find(|line| line.starts_with("552 windows:"));
        Ok(line.context(said.to_owned())?.to_owned())
    };
    let default = figures(&workspace.run(&TRAIN)?)?;
    let said = workspace.run(&[&TRAIN[..], &["--set", "profile=aligo"]].concat())?;
    // The windows have their scores already, which are another model's, and stay what they are.
    assert!(said.contains("verdicts of this model on the time after"), "{said}");
    let alone = Workspace::new()?;
    let scored = alone.run(&[&TRAIN[..], &["--set", "profile=aligo"]].concat())?;
    assert!(scored.contains("\nscored the time after"), "{scored}");
    assert_eq!(figures(&said)?, figures(&scored)?);
    for (said, kept) in [(&said, true), (&scored, false)] {
        let page = said.lines().find_map(|line| line.strip_prefix("report")).context("a page")?;
        let page = fs_err::read_to_string(page.trim())?;
        assert_eq!(page.contains("Windows keep the scores of the version"), kept);
    }
    assert_ne!(figures(&said)?, default);
    let again = workspace.run(&TRAIN)?;
    assert!(again.contains("\nscored the time after"), "{again}");
    assert_eq!(figures(&again)?, default);
    Ok(())
}

#[test]
fn a_second_run_takes_everything_from_the_cache_and_changes_nothing() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    workspace.run(&TRAIN)?;
    let first = workspace.promised()?;
    workspace.run(&TRAIN)?;
    let states = states(&workspace)?;
    assert_eq!(
        names_in(&states, "done"),
        ["deploy"],
        "deploy changes the store and looks each time"
    );
    assert_eq!(names_in(&states, "cached").len(), states.len() - 1);
    assert_eq!(differences(&first, &workspace.promised()?), [""; 0]);
    Ok(())
}

#[test]
fn changed_parameter_reruns_dependent_tasks_and_explain_names_it() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    workspace.run(&TRAIN)?;
    let changed = ["run", "cluster", "--sample", "--set", "models.adaptive.ridge=0.4"];
    workspace.run(&changed)?;
    let states = states(&workspace)?;
    assert_eq!(names_in(&states, "done"), ["train-adaptive", "select", "deploy"]);
    let explained = workspace.run(&["explain", "cluster", "last", "train-adaptive"])?;
    assert!(
        explained.contains("the sections of the document that it reads changed"),
        "{explained}"
    );
    let explained = workspace.run(&["explain", "cluster", "last", "collect"])?;
    assert!(explained.contains("nothing differs"), "{explained}");
    // What `deploy` compared is what `select` has measured of the same version.
    let runs = workspace.json(&["runs", "list", "cluster"])?;
    let run = runs.as_array().and_then(|runs| runs.last()).context("a run")?["run"].clone();
    let run = workspace.store().join("runs/cluster").join(run.as_str().context("its name")?);
    let read = |file: &str| contract::read_json::<serde_json::Value>(&run.join(file));
    let (deployed, selected) =
        (read("deploy/deployment.json")?, read("select/bundle/bundle.json")?);
    assert_eq!(deployed["figures"], selected["metrics"]);
    assert!(deployed["champion_figures"]["test"].is_object(), "{deployed}");
    Ok(())
}

#[test]
fn task_runs_again_on_request_or_after_its_output_changed() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    workspace.run(&TRAIN)?;
    let first = workspace.promised()?;
    workspace.run(&["run", "cluster", "--sample", "--from", "select"])?;
    assert_eq!(names_in(&states(&workspace)?, "done"), ["select", "deploy"]);

    let features =
        first.keys().find(|name| name.ends_with("features.parquet")).context("features")?;
    fs_err::write(workspace.store().join(features), b"touched")?;
    workspace.run(&TRAIN)?;
    assert_eq!(names_in(&states(&workspace)?, "done"), ["feature", "deploy"]);
    assert_eq!(differences(&first, &workspace.promised()?), [""; 0], "made again, byte for byte");
    Ok(())
}

#[test]
fn threads_and_jobs_change_no_byte() -> anyhow::Result<()> {
    let (one, many) = (Workspace::new()?, Workspace::new()?);
    one.run(&["run", "cluster", "--sample", "--threads", "1", "--jobs", "1"])?;
    many.run(&["run", "cluster", "--sample", "--threads", "3", "--jobs", "4"])?;
    assert_eq!(differences(&one.promised()?, &many.promised()?), [""; 0]);
    Ok(())
}

#[test]
fn a_refused_data_set_names_each_failed_expectation_and_ends_with_3() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let overlay = workspace.path().join("strict.yaml");
    fs_err::write(
        &overlay,
        "expectations:\n  - row_count: {min: 100000}\n  - range: {columns: [workqueue_depth], max: -1}\n",
    )?;
    let overlay = overlay.to_string_lossy().into_owned();
    let output = workspace.output(&["run", "cluster", "--sample", "--overlay", &overlay])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("row_count") && said.contains("100000") && said.contains("workqueue_depth"),
        "{said}"
    );
    let states = states(&workspace)?;
    assert_eq!(names_in(&states, "failed"), ["validate"]);
    assert!(names_in(&states, "skipped").contains(&"deploy".to_owned()));
    Ok(())
}

#[test]
fn models_are_listed_shown_and_rolled_back() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    workspace.run(&TRAIN)?;
    workspace.run(&[
        "run",
        "cluster",
        "--sample",
        "--set",
        "models.adaptive.ridge=0.4",
        "--set",
        "gate.max_regression=1",
    ])?;
    let versions = workspace.json(&["models", "list", "cluster"])?;
    assert_eq!(versions.as_array().map(Vec::len), Some(2));
    let history = workspace.json(&["models", "history", "cluster"])?;
    let [first, second] = history.as_array().context("history")?.as_slice() else {
        anyhow::bail!("{history}")
    };
    assert_eq!(second["previous"], first["version"]);
    workspace.run(&["models", "rollback", "cluster", "--now", "2026-11-21T10:00:00Z"])?;
    let shown = workspace.run(&["models", "show", "cluster", "live"])?;
    assert!(shown.contains("pipeline    cluster") && shown.contains("adaptive"), "{shown}");
    // The beginning of a version is enough, and all pipelines are listed without a name.
    let version = first["version"].as_str().context("version")?;
    let begun = workspace.json(&["models", "show", "cluster", &version[..version.len() - 6]])?;
    assert_eq!(begun["pipeline"], "cluster");
    let both = workspace.output(&["models", "show", "cluster", "2026"])?;
    assert_eq!(both.status.code(), Some(2), "both versions begin like that");
    let all = workspace.json(&["models", "list"])?;
    assert_eq!((all.as_array().map(Vec::len), &all[0]["pipeline"]), (Some(2), &"cluster".into()));
    assert_eq!(workspace.json(&["runs", "list"])?, workspace.json(&["runs", "list", "cluster"])?);
    let status = workspace.json(&["status"])?;
    assert_eq!(
        (&status[0]["pipeline"], &status[0]["live"]),
        (&"cluster".into(), &first["version"])
    );
    let history = workspace.json(&["models", "history", "cluster"])?;
    assert_eq!(history[2]["version"], first["version"]);
    Ok(())
}

#[test]
fn training_result_is_notified_where_enabled() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let told = workspace.path().join("told.jsonl");
    let channels = format!("alerts.channels=[{{file: {{path: '{}'}}}}]", told.display());
    let asks = ["--set", "alerts.training=[promoted, refused]", "--set", &channels];
    workspace.run(&[&TRAIN[..], &asks].concat())?;
    let refused = ["--set", "expectations=[{row_count: {min: 100000}}]"];
    let output = workspace.output(&[&TRAIN[..], &asks, &refused].concat())?;
    assert_eq!(output.status.code(), Some(3));
    let mut titles = Vec::new();
    for line in fs_err::read_to_string(&told)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let training = &message["training"];
        if !training.is_null() {
            assert_eq!(message["text"].as_str().map(|text| text.contains("URGENT")), Some(false));
            titles.push((training["result"].clone(), message["title"].clone()));
        }
    }
    assert_eq!(
        titles,
        [
            ("promoted".into(), "cluster: new model is live".into()),
            ("refused".into(), "cluster: training was refused".into()),
        ]
    );
    Ok(())
}
