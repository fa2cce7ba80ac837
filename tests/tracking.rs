//! Are trainings mirrored into a real `MLflow`, exactly once, and without ever failing a run?

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::mlflow;
use crate::workspace::Workspace;

/// Trains on the sample with a separate experiment and model.
fn train(workspace: &Workspace, url: &str, name: &str, more: &[&str]) -> Result<String> {
    let url = format!("tracking.mlflow.url={url}");
    let experiment = format!("tracking.mlflow.experiment={name}");
    let model = format!("tracking.mlflow.model={name}");
    let mut arguments = vec!["run", "cluster", "--sample"];
    for set in [url.as_str(), &experiment, &model].iter().chain(more) {
        arguments.extend(["--set", set]);
    }
    let output = workspace.output(&arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

fn sync(workspace: &Workspace, url: &str, name: &str, more: &[&str]) -> Result<(i32, String)> {
    let url = format!("tracking.mlflow.url={url}");
    let experiment = format!("tracking.mlflow.experiment={name}");
    let model = format!("tracking.mlflow.model={name}");
    let mut arguments = vec!["track", "sync", "cluster", "--sample"];
    for set in [url.as_str(), &experiment, &model] {
        arguments.extend(["--set", set]);
    }
    arguments.extend(more);
    let output = workspace.output(&arguments)?;
    let both = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&both).into_owned()))
}

/// Returns the runs of an experiment, those of all models first.
fn runs(name: &str) -> Result<Vec<Value>> {
    let found = mlflow::ask("experiments/get-by-name", &[("experiment_name", name)], None)?;
    let id = found["experiment"]["experiment_id"].as_str().context("no experiment")?;
    let body = json!({"experiment_ids": [id], "order_by": ["attributes.start_time ASC"]});
    let found = mlflow::ask("runs/search", &[], Some(&body))?;
    let mut runs = found["runs"].as_array().cloned().unwrap_or_default();
    runs.sort_by_key(|run| pairs(run, "tags").iter().any(|(key, _)| key == "mlflow.parentRunId"));
    Ok(runs)
}

fn pairs(run: &Value, what: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let all = run["data"][what].as_array().into_iter().flatten();
    all.map(|pair| (text(&pair["key"]), text(&pair["value"]))).collect()
}

fn value(run: &Value, what: &str, key: &str) -> Result<String> {
    let found = pairs(run, what).into_iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value).with_context(|| format!("{what} has no {key}: {run}"))
}

fn id(run: &Value) -> Result<&str> {
    run["info"]["run_id"].as_str().context("no run_id")
}

#[test]
fn training_is_mirrored_completely_and_repeating_changes_nothing() -> Result<()> {
    if mlflow::is_off() {
        return Ok(());
    }
    let (workspace, url) = (Workspace::new()?, mlflow::url()?);
    let said = train(&workspace, &url, "whole", &[])?;
    ensure!(!said.contains("mirrored"), "{said}");
    let before = runs("whole")?;
    let [whole, model] = before.as_slice() else { anyhow::bail!("{} runs", before.len()) };
    let ours = workspace.json(&["runs", "show", "cluster", "last"])?;
    assert_eq!(value(whole, "tags", "lynceus.run")?, ours["run"].as_str().unwrap_or_default());
    assert_eq!(whole["info"]["status"], "FINISHED");
    assert_eq!(value(whole, "tags", "lynceus.promoted")?, "true");
    assert_eq!(value(whole, "params", "seed")?, "7");
    ensure!(value(whole, "metrics", "validation.rows")?.starts_with("159"));
    assert_eq!(value(model, "tags", "mlflow.parentRunId")?, id(whole)?);
    assert_eq!(value(model, "params", "kind")?, "adaptive");
    ensure!(value(model, "metrics", "rows")?.starts_with("329"));
    let input = &whole["inputs"]["dataset_inputs"][0];
    assert_eq!(input["dataset"]["digest"].as_str().map(str::len), Some(36), "{whole}");

    let files = mlflow::ask("artifacts/list", &[("run_id", id(whole)?), ("path", "bundle")], None)?;
    let names: Vec<&str> = files["files"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it["path"].as_str())
        .collect();
    ensure!(names.contains(&"bundle/bundle.json") && names.len() >= 4, "{names:?}");
    let version = value(whole, "tags", "lynceus.model_version")?;
    let live = [("name", "whole"), ("alias", "live")];
    let live = mlflow::ask("registered-models/alias", &live, None)?["model_version"].clone();
    assert_eq!(live["tags"][0]["value"].as_str(), Some(version.as_str()), "{live}");
    assert_eq!(live["version"], "1");

    // Again, without records of the first time.
    assert_eq!(sync(&workspace, &url, "whole", &[])?, (0, "0 runs mirrored\n".to_owned()));
    assert_eq!(sync(&workspace, &url, "whole", &["--again"])?, (0, "1 run mirrored\n".to_owned()));
    assert_eq!(runs("whole")?, before);
    let history = [("run_id", id(whole)?), ("metric_key", "validation.rows")];
    let history = mlflow::ask("metrics/get-history", &history, None)?;
    assert_eq!(history["metrics"].as_array().map(Vec::len), Some(1), "{history}");
    let found = [("filter", "name = 'whole'")];
    let found = mlflow::ask("model-versions/search", &found, None)?;
    assert_eq!(found["model_versions"].as_array().map(Vec::len), Some(1), "{found}");
    Ok(())
}

#[test]
fn every_epoch_of_an_autoencoder_is_a_step() -> Result<()> {
    if mlflow::is_off() {
        return Ok(());
    }
    let (workspace, url) = (Workspace::new()?, mlflow::url()?);
    let output = workspace.output(&[
        "run",
        "cluster",
        "--sample",
        "--set",
        "profile=aligo",
        "--set",
        "models.autoencoder.epochs=4",
        "--set",
        &format!("tracking.mlflow.url={url}"),
        "--set",
        "tracking.mlflow.experiment=epochs",
    ])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let runs = runs("epochs")?;
    assert_eq!(runs.len(), 4);
    let of_kind = |run: &&Value| value(run, "params", "kind").is_ok_and(|it| it == "autoencoder");
    let model = runs.iter().find(of_kind).context("no autoencoder")?;
    let history = [("run_id", id(model)?), ("metric_key", "epoch/loss")];
    let history = mlflow::ask("metrics/get-history", &history, None)?;
    let steps: Vec<i64> = history["metrics"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it["step"].as_i64())
        .collect();
    assert_eq!(steps, [1, 2, 3, 4], "{history}");
    Ok(())
}

#[test]
fn unreachable_server_fails_no_run_is_reported_once_and_gets_all_runs_later() -> Result<()> {
    if mlflow::is_off() {
        return Ok(());
    }
    let workspace = Workspace::new()?;
    let dead = "http://127.0.0.1:1";
    let said = train(&workspace, dead, "later", &["tracking.mlflow.retries=0"])?;
    ensure!(said.contains("the run was not mirrored") && said.contains("track sync"), "{said}");
    let said = train(&workspace, dead, "later", &["tracking.mlflow.retries=0", "seed=8"])?;
    ensure!(!said.contains("mirrored"), "it is reported once: {said}");
    let (code, said) = sync(&workspace, dead, "later", &["--set", "tracking.mlflow.retries=0"])?;
    ensure!(code == 4 && said.contains("cannot connect"), "{said}");
    // The third run also mirrors the earlier ones.
    let url = mlflow::url()?;
    let said = train(&workspace, &url, "later", &["seed=9"])?;
    ensure!(said.contains("tracking works again") && said.contains("3 runs mirrored"), "{said}");
    assert_eq!(runs("later")?.len(), 6);
    Ok(())
}

#[test]
fn refusing_server_fails_no_run_and_its_reply_is_shown_without_secrets() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let auth = String::from_utf8_lossy(&request[..read]).contains("hunter2");
            let body = format!("Permission denied for hunter2-secret {auth}");
            let head = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length:";
            drop(write!(stream, "{head} {}\r\n\r\n{body}", body.len()));
        }
    });
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("token"), "hunter2-secret\n")?;
    let token = format!(
        "tracking.mlflow.auth.bearer_token.file={}",
        workspace.path().join("token").display()
    );
    let said = train(&workspace, &url, "refused", &[&token])?;
    ensure!(said.contains("403") && said.contains("Permission denied"), "{said}");
    ensure!(said.contains("true") && !said.contains("hunter2"), "{said}");
    let (code, said) = sync(&workspace, &url, "refused", &["--set", &token])?;
    ensure!(code == 2 && said.contains("403") && !said.contains("hunter2"), "{said}");
    Ok(())
}

/// Checks the facets of the events.
fn facets(of: &dyn Fn(&str, &str) -> Result<Value>) -> Result<()> {
    let (whole, train) = (of("cluster", "COMPLETE")?, of("cluster.train-adaptive", "COMPLETE")?);
    let facet = |event: &Value, path: &str| event.pointer(path).cloned().unwrap_or_default();
    assert_eq!(
        facet(&whole, "/run/facets/nominalTime/nominalEndTime"),
        facet(&train, "/run/facets/nominalTime/nominalEndTime")
    );
    assert_eq!(facet(&train, "/run/facets/executionParameters/parameters/0/key"), "model");
    assert_eq!(
        facet(&train, "/run/facets/jobDependencies/upstream/0/job/name"),
        "cluster.validate"
    );
    assert_eq!(facet(&train, "/job/facets/sourceCodeLocation/type"), "git");
    let metrics = train["inputs"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|it| it.pointer("/inputFacets/dataQualityMetrics"))
        .context("no metrics")?;
    ensure!(metrics["rowCount"].as_u64() > Some(100), "{metrics}");
    let columns = metrics["columnMetrics"].as_object().context("no columns")?;
    ensure!(
        columns.values().all(|it| it["nullCount"].is_u64() && it["quantiles"]["0.5"].is_number())
    );
    let checked = of("cluster.validate", "COMPLETE")?;
    let assertions = checked["inputs"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|it| it.pointer("/inputFacets/dataQualityAssertions/assertions"))
        .context("no assertions")?;
    ensure!(assertions[0]["success"] == true && assertions[0]["assertion"].is_string());
    let features = &of("cluster.feature", "COMPLETE")?["outputs"][0];
    let fields = facet(features, "/facets/columnLineage/fields");
    let names: Vec<&String> = fields.as_object().context("no lineage")?.keys().collect();
    ensure!(!names.is_empty());
    assert_eq!(
        facet(features, "/facets/schema/fields").as_array().map(Vec::len),
        Some(names.len())
    );
    assert_eq!(facet(features, "/facets/lifecycleStateChange/lifecycleStateChange"), "CREATE");
    ensure!(facet(features, "/outputFacets/outputStatistics/size").as_u64() > Some(0));
    ensure!(facet(features, "/outputFacets/outputStatistics/rowCount").as_u64() > Some(100));
    Ok(())
}

#[test]
fn openlineage_events_are_added_to_a_file_once() -> Result<()> {
    let workspace = Workspace::new()?;
    let path = workspace.path().join("events.jsonl");
    let set = format!("tracking.openlineage_file.path={}", path.display());
    // An unreachable server does not delay the file.
    let dead =
        ["--set", "tracking.mlflow.url=http://127.0.0.1:1", "--set", "tracking.mlflow.retries=0"];
    let arguments = [["run", "cluster", "--sample"].as_slice(), &["--set", &set], &dead].concat();
    workspace.run(&arguments)?;
    let text = fs_err::read_to_string(&path)?;
    let events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of = |job: &str, kind: &str| {
        let is = |it: &&Value| it["job"]["name"] == job && it["eventType"] == kind;
        events.iter().find(is).cloned().with_context(|| format!("{job} {kind}"))
    };
    let whole = of("cluster", "COMPLETE")?;
    let train = of("cluster.train-adaptive", "COMPLETE")?;
    assert_eq!(train["run"]["facets"]["parent"]["run"]["runId"], whole["run"]["runId"]);
    let id = train["run"]["runId"].as_str().context("no id")?;
    ensure!(id.len() == 36 && id.as_bytes()[14] == b'8', "{id}");
    facets(&of)?;
    // One task reads the output of another, with the same name and version.
    let made = &of("cluster.validate", "COMPLETE")?["outputs"][0];
    let read =
        train["inputs"].as_array().into_iter().flatten().find(|it| it["name"] == made["name"]);
    let version = |it: &Value| it["facets"]["version"]["datasetVersion"].clone();
    assert_eq!(read.map(version), Some(version(made)));
    workspace.run(&["track", "sync", "cluster", "--sample", "--again", "--set", &set])?;
    assert_eq!(fs_err::read_to_string(&path)?, text);
    Ok(())
}
