//! Does the workflow that `lynceus scenario manifests` writes do what the scenario file says, with
//! only its own permissions? Its steps are executed as in Argo, with an API that emulates Chaos
//! Mesh: time passes there only while the workflow waits.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use contract::{Span, Timestamp};
use serde_json::{Value, json};

use crate::argo_emulation::text::{list, resolve, text};
use crate::chaos_mesh::{Api, Reply, refusal};
use crate::workspace::{Workspace, pipelines};

const NAMESPACE: &str = "lab";
const WORKFLOW: &str = "scenario-chaos-mesh-x7k2p";

/// An allowed or used permission: verb, resource, namespace.
type Right = (String, String, String);

/// A cluster with Chaos Mesh.
struct Mesh {
    now: Timestamp,
    /// The objects by their path, and how often each was read.
    objects: BTreeMap<String, (Value, Timestamp, usize)>,
    used: BTreeSet<Right>,
    granted: BTreeSet<Right>,
}

impl Mesh {
    fn uses(&mut self, verb: &str, resource: &str, namespace: &str) -> bool {
        let right = [verb, resource, namespace].map(str::to_owned);
        let right: Right = right.into();
        self.used.insert(right.clone());
        self.granted.contains(&right)
    }

    /// Creates an object, as Argo's executor does with the account of the workflow.
    fn create(&mut self, object: Value) -> Result<()> {
        let kind = object["kind"].as_str().context("a kind")?.to_lowercase();
        ensure!(self.uses("create", &kind, NAMESPACE), "the account may not create {kind}");
        let name = object["metadata"]["name"].as_str().context("a name")?;
        let path = path(&kind, name);
        ensure!(!self.objects.contains_key(&path), "{path} already exists");
        self.objects.insert(path, (object, self.now, 0));
        Ok(())
    }

    /// Answers a request: an object is new at first, then injected, and then recovered.
    fn get(&mut self, path: &str) -> Reply {
        let parts: Vec<&str> = path.split('/').collect();
        let at = parts.iter().position(|part| *part == "namespaces").unwrap_or(0);
        let [_, namespace, resource, name] = parts[at..] else { return refusal(404, path) };
        if !self.uses("get", resource, namespace) {
            return refusal(403, &format!("{resource} \"{name}\" is forbidden"));
        }
        if resource == "pods" {
            return (
                200,
                json!({"metadata": {"namespace": namespace, "name": name}, "status": {}}),
            );
        }
        let Some((object, created, reads)) = self.objects.get_mut(path) else {
            return refusal(404, &format!("{path} not found"));
        };
        *reads += 1;
        let created = *created;
        let duration = object["spec"]["duration"].as_str().and_then(|it| it.parse::<Span>().ok());
        let end = created + duration.unwrap_or(Span::ZERO);
        let event = |operation: &str, time: Timestamp| json!({"type": "Succeeded", "operation": operation, "timestamp": time.to_string()});
        let applied = event("Apply", created + Span::from_seconds(2));
        let status = match (*reads, duration) {
            (1, _) => json!({"experiment": {"desiredPhase": "Run"}}),
            (2, _) | (_, None) => status("Run", "Injected", &[applied]),
            (_, Some(_)) => {
                self.now = end + Span::from_seconds(3);
                status("Stop", "Not Injected", &[applied, event("Recover", self.now)])
            }
        };
        let mut object = object.clone();
        object["status"] = status;
        object["metadata"]["creationTimestamp"] = created.to_string().into();
        (200, object)
    }
}

fn status(desired: &str, phase: &str, events: &[Value]) -> Value {
    let record = json!({"id": "shop/web-1/app", "phase": phase, "events": events});
    json!({"experiment": {"desiredPhase": desired, "containerRecords": [record]}})
}

fn path(resource: &str, name: &str) -> String {
    format!("/apis/chaos-mesh.org/v1alpha1/namespaces/{NAMESPACE}/{resource}/{name}")
}

fn locked(mesh: &Mutex<Mesh>) -> MutexGuard<'_, Mesh> {
    mesh.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what the roles of the manifests allow the account of the workflow.
fn granted(objects: &[Value]) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    let workflow = objects.iter().find(|it| it["kind"] == "Workflow").context("a workflow")?;
    for binding in objects.iter().filter(|it| it["kind"] == "RoleBinding") {
        let subject = &binding["subjects"][0];
        assert_eq!(subject["name"], workflow["spec"]["serviceAccountName"]);
        assert_eq!(subject["namespace"], workflow["metadata"]["namespace"]);
        let namespace = binding["metadata"]["namespace"].as_str().context("a namespace")?;
        let is_bound = |it: &&Value| {
            it["kind"] == "Role"
                && it["metadata"]["name"] == binding["roleRef"]["name"]
                && it["metadata"]["namespace"] == namespace
        };
        let role = objects.iter().find(is_bound).context("the binding has its role")?;
        for rule in list(&role["rules"]) {
            for resource in list(&rule["resources"]) {
                for verb in list(&rule["verbs"]) {
                    let [verb, resource] = [text(verb)?, text(resource)?].map(str::to_owned);
                    rights.insert((verb, resource, namespace.to_owned()));
                }
            }
        }
    }
    Ok(rights)
}

/// Parses a time or a duration.
fn parsed<T: FromStr<Err = String>>(text: &str) -> Result<T> {
    text.parse().map_err(anyhow::Error::msg)
}

/// Replaces references by the parameters of a step.
fn resolved(text: &str, parameters: &[Value]) -> Result<String> {
    resolve(text, &|name| match name {
        "workflow.name" => Some(WORKFLOW.to_owned()),
        "workflow.namespace" => Some(NAMESPACE.to_owned()),
        _ => {
            let name = name.strip_prefix("inputs.parameters.")?;
            let parameter = parameters.iter().find(|parameter| parameter["name"] == name)?;
            parameter["value"].as_str().map(str::to_owned)
        }
    })
}

/// Runs a step as Argo does: waits, creates, or runs the program.
fn step(
    workspace: &Workspace,
    (mesh, api): (&Mutex<Mesh>, &Api),
    (template, parameters): (&Value, &[Value]),
) -> Result<()> {
    if let Some(duration) = template["suspend"]["duration"].as_str() {
        let seconds: i64 = resolved(duration, parameters)?.parse()?;
        let mut mesh = locked(mesh);
        mesh.now = mesh.now + Span::from_seconds(seconds);
        return Ok(());
    }
    if let Some(manifest) = template["resource"]["manifest"].as_str() {
        assert_eq!(template["resource"]["action"], "create");
        let object: Value = serde_saphyr::from_str(&resolved(manifest, parameters)?)?;
        return locked(mesh).create(object);
    }
    assert_eq!(template["container"]["command"], json!(["lynceus"]));
    let given = template["container"]["args"].as_array().context("arguments")?;
    let mut arguments = vec![];
    for argument in given.iter().filter_map(Value::as_str) {
        let argument = resolved(argument, parameters)?;
        // Replaces the mount path of the ConfigMap, and omits the store's flag, which the workspace
        // adds.
        if !argument.starts_with("--store=") {
            arguments.push(argument.replace("/etc/lynceus/scenario/", ""));
        }
    }
    arguments.extend([format!("--kubernetes=http://{}", api.address), "--every=1ms".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Output { status, stderr, .. } = workspace.output(&arguments)?;
    ensure!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    Ok(())
}

#[test]
fn workflow_injects_each_fault_in_its_turn_and_uses_every_right_it_is_given() -> Result<()> {
    let workspace = Workspace::new()?;
    let file = pipelines().join("scenarios/chaos-mesh.yaml");
    let file = file.to_str().context("a path")?;
    let manifests = ["scenario", "manifests", file, "--namespace", NAMESPACE];
    let manifests = workspace.json(&manifests)?;
    let objects = list(&manifests["items"]);
    let find = |kind: &str| objects.iter().find(|it| it["kind"] == kind).context("an object");
    let scenario = find("ConfigMap")?["data"]["scenario.yaml"].as_str().context("the file")?;
    fs_err::write(workspace.path().join("scenario.yaml"), scenario)?;
    let spec = &find("Workflow")?["spec"];
    let start: Timestamp = parsed("2026-11-29T10:00:00Z")?;
    let granted = granted(objects)?;
    let mesh = Mesh { now: start, objects: BTreeMap::new(), used: BTreeSet::new(), granted };
    let mesh = Arc::new(Mutex::new(mesh));
    let played = Arc::clone(&mesh);
    let api = Api::answering(move |path| locked(&played).get(path))?;

    let templates = spec["templates"].as_array().context("templates")?;
    let template = |name: &Value| templates.iter().find(|it| it["name"] == *name);
    let steps = template(&spec["entrypoint"]).context("the entrypoint")?["steps"].as_array();
    for one in steps.context("steps")?.iter().filter_map(Value::as_array).flatten() {
        let template = template(&one["template"]).context("a template")?;
        let parameters = one["arguments"]["parameters"].as_array();
        let parameters = parameters.map_or(&[][..], Vec::as_slice);
        step(&workspace, (mesh.as_ref(), &api), (template, parameters))?;
    }

    let log = fs_err::read_to_string(workspace.store().join("scenarios/chaos-mesh.csv"))?;
    let rows: Vec<Vec<&str>> = log.lines().skip(1).map(|row| row.split(',').collect()).collect();
    let plan = workspace.json(&["scenario", "plan", file])?;
    let planned = plan["entries"].as_array().context("entries")?;
    assert_eq!(rows.len(), planned.len(), "{log}");
    let mut before = start;
    for (row, entry) in rows.iter().zip(planned) {
        let [from, to, label, target] = row[..] else { anyhow::bail!("{row:?}") };
        let (from, to): (Timestamp, Timestamp) = (parsed(from)?, parsed(to)?);
        assert_eq!((label, target), (entry["label"].as_str().context("a label")?, "shop/web-1"));
        // Two seconds after its creation, and three after its planned end; a killed pod has no
        // recovery.
        let asked: Span = parsed(entry["duration"].as_str().context("a duration")?)?;
        let lasted = if label == "pod_kill" { asked } else { asked + Span::from_seconds(1) };
        assert_eq!(to - from, lasted, "{row:?}");
        assert!(from - before >= Span::from_seconds(600), "{row:?} comes in the pause before it");
        before = if label == "pod_kill" { from } else { to };
    }
    let details = fs_err::read_to_string(workspace.store().join("scenarios/chaos-mesh.jsonl"))?;
    for line in details.lines() {
        let record: Value = serde_json::from_str(line)?;
        let time = |field: &str| parsed::<Timestamp>(record[field].as_str().unwrap_or_default());
        assert_eq!(time("start")? - time("requested_start")?, Span::from_seconds(2), "{line}");
    }
    let mesh = locked(&mesh);
    // Argo's executor itself records the result of a step.
    let own = |(_, resource, _): &&Right| resource != "workflowtaskresults";
    let granted: BTreeSet<Right> = mesh.granted.iter().filter(own).cloned().collect();
    assert_eq!(mesh.used, granted);
    Ok(())
}
