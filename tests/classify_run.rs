//! Does a pipeline of `task: classify` train, select, deploy, score, notify and report?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use anyhow::Context as _;

use crate::workspace::Workspace;

const DOCUMENT: &str = "
format: 1
name: kinds
task: classify
step: 10s
range: 10m
sources:
  rows:
    table: {path: rows.csv, time: time, entity: pod, label: image}
features:
  - raw: {columns: ['*']}
seed: 7
classify:
  classes: {mysql: [mysql, mariadb], nginx: [], redis: []}
  split: {ratio: 0.6, iterations: 4, max_rows_per_entity: 20, learning_curve: 0}
  models:
    random_forest: {trees: 20}
  evidence: {min_windows: 3, half_life: 30s, deadline: 2m}
  gate: {min_balanced_accuracy: 0.6}
deployment: {alias: live}
scoring: {every: 10s, delay: 0s, catch_up: 1h, min_completeness: 0.5}
alerts:
  for: 3
  resolve_after: 3
  cool_down: 0s
  channels:
    - file: {path: told.jsonl}
";

const TRAINED: &str = "2026-11-21T10:10:00Z";

/// Returns the row of a pod of a kind, this number of seconds after ten o'clock.
fn row(pod: &str, (kind, image): (usize, &str), seconds: u32) -> String {
    let number: u32 = pod.bytes().map(u32::from).sum();
    let wave = f64::from(seconds * 7 + number * 13).sin();
    let cpu = [0.2, 1.0, 3.0][kind] + 0.05 * wave;
    let bytes = [4000.0, 90_000.0, 700.0][kind] * (1.0 + 0.1 * wave);
    let (minute, second) = (seconds / 60, seconds % 60);
    format!("2026-11-21T10:{minute:02}:{second:02}Z,{pod},{image},{cpu:.4},{bytes:.1}\n")
}

/// Makes a workspace whose table holds 20 minutes of 18 pods, and one pod that declares nginx and
/// behaves like redis for three minutes.
fn workspace() -> anyhow::Result<Workspace> {
    let workspace = Workspace::new()?;
    let images = ["mariadb:10.11", "registry.example/nginx:1.25", "redis:7"];
    let mut rows = String::from("time,pod,image,cpu_cores,bytes_per_second\n");
    for seconds in (10..=1200).step_by(10) {
        for pod in 0..18 {
            let kind = pod % 3;
            rows.push_str(&row(&format!("pod-{pod:02}"), (kind, images[kind]), seconds));
        }
        if seconds > 660 {
            let kind = if seconds <= 840 { 2 } else { 1 };
            rows.push_str(&row("web-9", (kind, images[1]), seconds));
        }
    }
    fs_err::write(workspace.path().join("rows.csv"), rows)?;
    fs_err::write(workspace.path().join("kinds.yaml"), DOCUMENT)?;
    Ok(workspace)
}

#[test]
fn mismatch_of_pod_and_image_is_notified_with_its_end() -> anyhow::Result<()> {
    let workspace = workspace()?;
    let said = workspace.run(&["run", "kinds.yaml", "--now", TRAINED])?;
    let page = said.lines().find_map(|line| line.strip_prefix("report")).context("a page")?;
    let page = fs_err::read_to_string(page.trim())?;
    for expected in ["mysql", "nginx", "redis"] {
        assert!(page.contains(expected), "{expected}");
    }
    let models = workspace.run(&["models", "list", "kinds"])?;
    assert!(models.contains("live"), "{models}");

    // One tick for each minute.
    for minute in 11..=20 {
        let at = format!("2026-11-21T10:{minute}:00Z");
        let begin = ["score", "kinds.yaml", "--at", &at, "--since", TRAINED];
        let scored = workspace.json(&begin)?;
        assert_eq!(scored["windows"], 6, "{scored}");
    }
    let again = workspace.json(&["score", "kinds.yaml", "--at", "2026-11-21T10:20:00Z"])?;
    assert_eq!(again["windows"], 0);

    let told = fs_err::read_to_string(workspace.path().join("told.jsonl"))?;
    let told: Vec<serde_json::Value> =
        told.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let alerts: Vec<&serde_json::Value> = told
        .iter()
        .flat_map(|message| message["alerts"].as_array().into_iter().flatten())
        .collect();
    let seen: Vec<(&str, &str, &str)> = alerts
        .iter()
        .map(|alert| {
            let text = |name: &str| alert[name].as_str().unwrap_or_default();
            (text("entity"), text("kind"), text("status"))
        })
        .collect();
    // Between the two behaviours it may briefly be unlike both.
    assert!(seen.iter().all(|(entity, kind, _)| (*entity, *kind) == ("web-9", "mismatch")));
    let states: Vec<&str> = seen.iter().map(|(_, _, status)| *status).collect();
    assert_eq!((states.first(), states.last()), (Some(&"firing"), Some(&"resolved")), "{states:?}");
    let class = &alerts[0]["class"];
    assert_eq!((&class["class"], &class["declared"]), (&"redis".into(), &"nginx".into()));

    let listed = workspace.json(&["entities", "list", "kinds.yaml", "--class", "nginx"])?;
    assert_eq!(listed.as_array().context("entities")?.len(), 7, "{listed}");
    // The only document of `task: classify` in the folder of documents needs no name.
    let only = workspace.output(&["containers", "list"])?;
    let said = String::from_utf8_lossy(&only.stderr);
    assert!(only.status.code() == Some(3) && said.contains("`container` has no scored"), "{said}");
    let shown = workspace.json(&["containers", "show", "kinds.yaml", "web-9"])?;
    assert_eq!((&shown["class"], &shown["declared"]), (&"nginx".into(), &"nginx".into()));
    let classes = shown["classes"].as_array().context("classes")?;
    assert_eq!((classes.len(), &classes[0]["name"]), (3, &"nginx".into()), "{shown}");
    let sum: f64 = classes.iter().filter_map(|it| it["probability"].as_f64()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{shown}");
    let text = workspace.run(&["containers", "show", "kinds.yaml", "web-9"])?;
    assert!(text.contains("1 entities, 0 unknown") && text.contains("distance"), "{text}");
    let unknown = workspace.output(&["containers", "show", "kinds.yaml", "web-8"])?;
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(unknown.status.code() == Some(2) && said.contains("did you mean `web-9`?"), "{said}");
    let (from, to) = (TRAINED, "2026-11-21T10:20:00Z");
    let found = workspace.json(&["evaluate", "kinds.yaml", "--from", from, "--to", to])?;
    assert_eq!((&found["entities"], &found["balanced_accuracy"]), (&19.into(), &1.0.into()));
    assert_eq!(found["confusion"]["nginx"]["nginx"], 7, "{found}");
    let text = workspace.run(&["evaluate", "kinds.yaml", "--from", from, "--to", to])?;
    assert!(text.contains("19 entities in 60 windows: balanced accuracy 1.00"), "{text}");
    Ok(())
}

#[test]
fn classes_are_evaluated_against_a_table_of_entity_classes() -> anyhow::Result<()> {
    let workspace = workspace()?;
    workspace.run(&["run", "kinds.yaml", "--now", TRAINED])?;
    let to = "2026-11-21T10:14:00Z";
    workspace.run(&["score", "kinds.yaml", "--at", to, "--since", TRAINED])?;
    fs_err::write(
        workspace.path().join("truth.csv"),
        "entity,class\nweb-9,redis\npod-00,mysql\npod-01,redis\n",
    )?;
    let evaluate =
        ["evaluate", "kinds.yaml", "--from", TRAINED, "--to", to, "--truth", "truth.csv"];
    let found = workspace.json(&evaluate)?;
    assert_eq!(found["entities"], 3);
    assert_eq!(found["confusion"]["redis"], serde_json::json!({"nginx": 1, "redis": 1}));
    let scenarios = workspace.output(&[
        "evaluate",
        "kinds.yaml",
        "--from",
        TRAINED,
        "--to",
        to,
        "--scenarios",
        "x.csv",
    ])?;
    assert_eq!(scenarios.status.code(), Some(2));
    Ok(())
}

#[test]
fn a_worse_model_of_classes_is_not_promoted_and_a_bundle_of_other_classes_is_refused()
-> anyhow::Result<()> {
    let workspace = workspace()?;
    let bound =
        ["run", "kinds.yaml", "--now", TRAINED, "--set", "classify.gate.min_balanced_accuracy=1"];
    let harder = [
        "--set",
        "classify.unknown.max_wrong_ratio=0.001",
        "--set",
        "classify.evidence.min_windows=1000",
    ];
    let output = workspace.output(&[&bound[..], &harder].concat())?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("balanced accuracy"), "{said}");
    let models = workspace.run(&["models", "list", "kinds"])?;
    assert!(!models.contains("live"), "{models}");

    workspace.run(&["run", "kinds.yaml", "--now", TRAINED])?;
    let at = "2026-11-21T10:11:00Z";
    let score = ["score", "kinds.yaml", "--at", at, "--since", TRAINED];
    let other = ["--set", "classify.classes.redis=[valkey]"];
    let refused = workspace.output(&[&score[..], &other].concat())?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("redis"), "{said}");
    workspace.run(&score)?;
    Ok(())
}

/// The endpoint of a pipeline, which stops at the end of the test.
struct Endpoint {
    process: Child,
    address: String,
}

impl Endpoint {
    fn start(workspace: &Workspace, pipeline: &str) -> anyhow::Result<Self> {
        let mut command = workspace.lynceus(&["serve", pipeline, "--address", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("an output")?).read_line(&mut line)?;
        let address = line.trim().trim_start_matches("http://").trim_end_matches("/v2").to_owned();
        Ok(Self { process, address })
    }

    fn post(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<serde_json::Value> {
        let (mut stream, body) = (TcpStream::connect(&self.address)?, body.to_string());
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let (_, body) = reply.split_once("\r\n\r\n").context("a body")?;
        Ok(serde_json::from_str(body)?)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn endpoint_names_the_class_of_each_entity_once_it_has_enough_rows() -> anyhow::Result<()> {
    let workspace = workspace()?;
    workspace.run(&["run", "kinds.yaml", "--now", TRAINED])?;
    let endpoint = Endpoint::start(&workspace, "kinds")?;

    // Two new pods in turn, the later rows first: one behaves like redis and declares nginx.
    let (mut rows, mut images) = (Vec::new(), Vec::new());
    for seconds in [650, 640, 630, 620, 610] {
        for (pod, kind, image) in [("new-1", 2, "nginx:1.25"), ("db-1", 0, "mariadb:10.11")] {
            rows.push(row(pod, (kind, image), seconds));
            images.push(image);
        }
    }
    let cells = |index: usize| rows.iter().filter_map(move |row| row.trim().split(',').nth(index));
    let numbers = |index: usize| cells(index).map(str::parse::<f64>).collect::<Result<Vec<_>, _>>();
    let time = |time: &str| time.parse::<contract::Timestamp>().map_err(anyhow::Error::msg);
    let times = cells(0).map(|text| Ok(time(text)?.ms()));
    let times = times.collect::<anyhow::Result<Vec<i64>>>()?;
    let tensor = |name: &str, datatype: &str, data: serde_json::Value| serde_json::json!({"name": name, "datatype": datatype, "shape": [10], "data": data});
    let mut inputs = vec![
        tensor("cpu_cores", "FP64", numbers(3)?.into()),
        tensor("bytes_per_second", "FP64", numbers(4)?.into()),
        tensor("time", "INT64", times.into()),
        tensor("entity", "BYTES", cells(1).collect::<Vec<_>>().into()),
        tensor("declared", "BYTES", images.into()),
    ];
    let path = "/v2/models/kinds/infer";
    let reply = endpoint.post(path, &serde_json::json!({"inputs": inputs}))?;
    let output = |name: &str| -> anyhow::Result<serde_json::Value> {
        let mut outputs = reply["outputs"].as_array().into_iter().flatten();
        let found = outputs.find(|output| output["name"] == name);
        Ok(found.with_context(|| format!("{name} in {reply}"))?["data"].clone())
    };
    let (class, mismatch, nearest) = (output("class")?, output("mismatch")?, output("nearest")?);
    // The last rows in time come first, and the first two of a pod are too few.
    assert_eq!(
        class,
        serde_json::json!([
            "redis", "mysql", "redis", "mysql", "redis", "mysql", "unknown", "unknown", "unknown",
            "unknown"
        ])
    );
    assert_eq!((&nearest[8], &nearest[9]), (&"redis".into(), &"mysql".into()));
    let expected = [true, false, true, false, true, false, false, false, false, false];
    assert_eq!(mismatch, serde_json::json!(expected));
    let reasons = output("reasons")?;
    assert!(reasons[0].as_str().is_some_and(|it| it.contains("bytes_per_second")), "{reasons}");
    assert_eq!(reasons[1], "[]");

    // A pod that declares something else is another one under the same name.
    let mut images: Vec<&str> = cells(2).collect();
    images[0] = "redis:7";
    inputs[4] = tensor("declared", "BYTES", images.into());
    let reply = endpoint.post(path, &serde_json::json!({"inputs": inputs}))?;
    let classes = reply["outputs"][0]["data"].as_array().context("classes")?;
    assert_eq!((&classes[0], &classes[2]), (&"unknown".into(), &"redis".into()), "{reply}");

    inputs.push(tensor("colour", "FP64", numbers(3)?.into()));
    let refused = endpoint.post(path, &serde_json::json!({"inputs": inputs}))?;
    assert!(refused["error"].as_str().is_some_and(|it| it.contains("`colour`")), "{refused}");

    let replay = workspace.output(&["replay", "kinds.yaml"])?;
    let said = String::from_utf8_lossy(&replay.stderr);
    assert_eq!(replay.status.code(), Some(2), "{said}");
    assert!(said.contains("task: classify"), "{said}");
    Ok(())
}
