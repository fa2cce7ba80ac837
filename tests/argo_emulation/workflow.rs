//! A workflow as Argo runs it: its DAG, its conditions, its result and its exit handler.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use super::clock;
use super::cluster::{Cluster, Ran, Texts};
use super::pod::Pod;
use super::text::{holds, is_retried, list, resolve, text};

/// Scheduled time of a `CronWorkflow`'s workflow.
pub(super) const SCHEDULED: &str = "2026-11-21T08:36:00Z";

/// Exit code of Argo's executor for a container that does not run because an earlier one failed.
const NOT_RUN: i32 = 64;

/// A workflow as it runs.
pub(super) struct Workflow<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) objects: &'a [Value],
    pub(super) spec: &'a Value,
    uid: &'a str,
    pub(super) parameters: Texts,
    /// Tasks whose condition did not hold.
    pub(super) skipped: Vec<String>,
    pub(super) ran: Vec<Ran>,
    /// The pods that ran, and whether each succeeded.
    pub(super) pods: Vec<(String, bool)>,
    /// Argo's record of each failed node: `displayName` and `message`.
    pub(super) failures: Vec<Value>,
    /// The workflow's message as Argo would show it.
    pub(super) message: String,
    /// Output parameters of the pod that ended last.
    produced: Texts,
    /// Output parameters by the references to them.
    outputs: Texts,
    /// Its result, once all tasks but the exit handler have ended.
    status: Option<&'static str>,
}

/// Inputs of a template: its parameters, and the keys of its artifacts.
#[derive(Default)]
pub(super) struct Given {
    pub(super) parameters: Texts,
    pub(super) keys: Texts,
}

impl<'a> Workflow<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        objects: &'a [Value],
        spec: &'a Value,
        uid: &'a str,
    ) -> Self {
        Self {
            cluster,
            objects,
            spec,
            uid,
            parameters: Texts::new(),
            skipped: Vec::new(),
            ran: Vec::new(),
            pods: Vec::new(),
            failures: Vec::new(),
            message: String::new(),
            produced: Texts::new(),
            outputs: Texts::new(),
            status: None,
        }
    }

    /// Returns the name that Argo would give it.
    pub(super) fn name(&self) -> String {
        format!("workflow-{}", self.uid)
    }

    /// Runs the entrypoint and the exit handler, and returns whether the entrypoint succeeded.
    pub(super) fn start(&mut self) -> Result<bool> {
        let entrypoint = text(&self.spec["entrypoint"])?;
        let given = Given { parameters: self.parameters.clone(), keys: Texts::new() };
        let is_well = self.run(entrypoint, given)?;
        self.status = Some(if is_well { "Succeeded" } else { "Failed" });
        // The exit handler runs after success and failure; its inputs have their own values.
        if let Some(last) = self.spec["onExit"].as_str() {
            ensure!(self.run(last, Given::default())?, "what comes last: {:?}", self.ran);
        }
        Ok(is_well)
    }

    /// Returns the pods whose logs are kept after the end of the workflow.
    pub(super) fn left(&self) -> Result<Vec<&str>> {
        clock::left(self.spec, &self.pods, self.status.map(|status| status == "Succeeded"))
    }

    /// Runs a template and returns whether it succeeded.
    fn run(&mut self, name: &str, mut given: Given) -> Result<bool> {
        let template = list(&self.spec["templates"]).iter().find(|it| it["name"] == name);
        let template = template.with_context(|| format!("no template `{name}`"))?;
        for parameter in list(&template["inputs"]["parameters"]) {
            let name = text(&parameter["name"])?;
            if !given.parameters.contains_key(name) {
                let default = text(&parameter["value"]).with_context(|| format!("`{name}`"))?;
                let default = self.resolve(default, &given)?;
                given.parameters.insert(name.to_owned(), default);
            }
        }
        let given = &given;
        if template["dag"].is_object() {
            return self.dag(&template["dag"], given);
        }
        if template["containerSet"].is_object() {
            return self.container_set(template, given);
        }
        self.container(template, given)
    }

    fn dag(&mut self, dag: &Value, given: &Given) -> Result<bool> {
        let tasks = list(&dag["tasks"]);
        let mut ended: BTreeMap<&str, bool> = BTreeMap::new();
        while ended.len() < tasks.len() {
            let is_ready = |task: &&Value| {
                let waits = list(&task["dependencies"]);
                !ended.contains_key(task["name"].as_str().unwrap_or_default())
                    && waits.iter().all(|it| ended.contains_key(it.as_str().unwrap_or_default()))
            };
            let task = tasks.iter().find(is_ready).context("tasks wait for one another")?;
            let mut needed = list(&task["dependencies"]).iter().filter_map(Value::as_str);
            // A skipped task counts as successful for its dependants.
            let is_well = needed.all(|name| ended[name]) && self.task(tasks, task, given)?;
            ended.insert(text(&task["name"])?, is_well);
        }
        Ok(ended.values().all(|is_well| *is_well))
    }

    /// Runs a ready task, unless its condition does not hold.
    fn task(&mut self, tasks: &[Value], task: &Value, given: &Given) -> Result<bool> {
        let name = text(&task["name"])?;
        if let Some(condition) = task["when"].as_str()
            && !holds(&self.resolve(condition, given)?)?
        {
            self.skipped.push(name.to_owned());
            return Ok(true);
        }
        if let Some(items) = task["withParam"].as_str() {
            let items = self.resolve(items, given)?;
            return self.each(tasks, task, given, &items);
        }
        self.once(tasks, task, given, None)
    }

    /// Runs a task once for each item of a JSON list. Argo starts all of them at the same time; the
    /// result of one does not affect the others.
    fn each(&mut self, tasks: &[Value], task: &Value, given: &Given, items: &str) -> Result<bool> {
        let items: Vec<Map<String, Value>> = serde_json::from_str(items).context("withParam")?;
        ensure!(!items.is_empty(), "a loop over nothing");
        let mut is_well = true;
        for item in items.iter().enumerate() {
            is_well &= self.once(tasks, task, given, Some(item))?;
        }
        Ok(is_well)
    }

    /// Runs a task, or one of its loop.
    fn once(
        &mut self,
        tasks: &[Value],
        task: &Value,
        given: &Given,
        item: Option<(usize, &Map<String, Value>)>,
    ) -> Result<bool> {
        let name = text(&task["name"])?;
        let before = self.failures.len();
        let mut own = Given::default();
        for parameter in list(&task["arguments"]["parameters"]) {
            let value = text(&parameter["value"])?;
            let fields = item.into_iter().flat_map(|(_, fields)| fields);
            let value = fields.fold(value.to_owned(), |value, (name, field)| {
                value.replace(&format!("{{{{item.{name}}}}}"), &field.to_string())
            });
            let value = self.resolve(&value, given)?;
            own.parameters.insert(text(&parameter["name"])?.to_owned(), value);
        }
        for artifact in list(&task["arguments"]["artifacts"]) {
            let (producer, key) = self.key_of(tasks, text(&artifact["from"])?, given)?;
            if self.skipped.contains(&producer) {
                ensure!(artifact["optional"] == true, "`{name}` needs what `{producer}` writes");
                continue;
            }
            own.keys.insert(text(&artifact["name"])?.to_owned(), key);
        }
        let is_well = self.run(text(&task["template"])?, own)?;
        // The node of a pod in a loop is named after the task, its place and the item's fields.
        for failure in self.failures.iter_mut().skip(before) {
            if let Some((place, fields)) = item
                && failure["displayName"] == task["template"]
            {
                let fields: Vec<String> =
                    fields.iter().map(|(name, field)| format!("{name}:{field}")).collect();
                failure["displayName"] = format!("{name}({place}:{})", fields.join(",")).into();
            }
        }
        self.take_outputs(name);
        Ok(is_well)
    }

    /// Makes the output parameters of the pod that ended last those of a task.
    fn take_outputs(&mut self, task: &str) {
        let produced = std::mem::take(&mut self.produced);
        for (name, value) in produced {
            self.outputs.insert(format!("tasks.{task}.outputs.parameters.{name}"), value);
        }
    }

    /// Reads the output parameters of a pod, which Argo keeps after success and failure.
    fn read_outputs(&mut self, template: &Value, pod: &Pod, is_well: bool) -> Result<()> {
        for parameter in list(&template["outputs"]["parameters"]) {
            let place = pod.place(text(&parameter["valueFrom"]["path"])?);
            let value = match fs_err::read_to_string(&place) {
                Err(_) if !is_well => continue,
                value => value?,
            };
            self.produced.insert(text(&parameter["name"])?.to_owned(), value.clone());
            if let Some(global) = parameter["globalName"].as_str() {
                self.outputs.insert(format!("workflow.outputs.parameters.{global}"), value);
            }
        }
        Ok(())
    }

    /// Returns the task and the key of `{{tasks.TASK.outputs.artifacts.NAME}}`.
    fn key_of(&self, tasks: &[Value], from: &str, given: &Given) -> Result<(String, String)> {
        let from = from.trim_start_matches("{{tasks.").trim_end_matches("}}");
        let (task, artifact) = from.split_once(".outputs.artifacts.").context("no output")?;
        let name = task.to_owned();
        let task = tasks.iter().find(|it| it["name"] == task).context("no task")?;
        let templates = list(&self.spec["templates"]);
        let template = templates.iter().find(|it| it["name"] == task["template"]);
        let outputs = list(&template.context("no template")?["outputs"]["artifacts"]);
        let output = outputs.iter().find(|it| it["name"] == artifact).context("no output")?;
        Ok((name, self.resolve(text(&output["s3"]["key"])?, given)?))
    }

    /// Runs a pod of one container, with the retries of its retry strategy.
    fn container(&mut self, template: &Value, given: &Given) -> Result<bool> {
        let (mut codes, retry) = (Vec::new(), &template["retryStrategy"]);
        let (container, name) = (&template["container"], text(&template["name"])?);
        loop {
            let mut pod = self.pod(template, &[container])?;
            self.fetch(template, given, &mut pod)?;
            let ended = self.process(container, given, &pod, codes.is_empty())?;
            codes.push(ended.code);
            self.pods.push((name.to_owned(), ended.code == 0));
            // The outputs of a container are kept after success and failure.
            self.keep(template, given, &pod, ended.code == 0)?;
            self.read_outputs(template, &pod, ended.code == 0)?;
            let tries_left = retry["limit"].as_u64().unwrap_or(0) >= codes.len() as u64;
            let again = || is_retried(retry["expression"].as_str().unwrap_or(""), ended.code, "");
            if ended.code != 0 && !(tries_left && again()?) {
                self.fail(name, &ended.message("main"));
            }
            if ended.code == 0 || !tries_left || !again()? {
                break;
            }
        }
        let is_well = codes.last() == Some(&0);
        self.ran.push((name.to_owned(), codes));
        Ok(is_well)
    }

    /// Runs a pod whose containers share volumes and depend on each other. A container that depends
    /// on a failed one is not run: Argo's executor ends it with exit code 64. The pod's message is
    /// that of the first container by name that did not end with 0.
    fn container_set(&mut self, template: &Value, given: &Given) -> Result<bool> {
        let (name, retry) = (text(&template["name"])?, &template["retryStrategy"]);
        let mut tries = retry["limit"].as_u64().unwrap_or(0);
        loop {
            let failures = self.failures.len();
            let message = self.set_once(template, given)?;
            self.pods.push((name.to_owned(), message.is_none()));
            let Some(message) = message else { return Ok(true) };
            // The code is that of the container `main`, which did not run.
            let expression = retry["expression"].as_str().unwrap_or("");
            if tries == 0 || !is_retried(expression, NOT_RUN, &message)? {
                self.fail(name, &message);
                return Ok(false);
            }
            tries -= 1;
            self.failures.truncate(failures);
        }
    }

    /// Runs a pod of a container set once, and returns its message if it failed.
    fn set_once(&mut self, template: &Value, given: &Given) -> Result<Option<String>> {
        let containers: Vec<&Value> =
            list(&template["containerSet"]["containers"]).iter().collect();
        let mut pod = self.pod(template, &containers)?;
        self.fetch(template, given, &mut pod)?;
        let mut ended: BTreeMap<&str, String> = BTreeMap::new();
        while let Some(container) = containers.iter().find(|container| {
            let waits = list(&container["dependencies"]);
            !ended.contains_key(container["name"].as_str().unwrap_or_default())
                && waits.iter().all(|it| ended.contains_key(it.as_str().unwrap_or_default()))
        }) {
            let name = text(&container["name"])?;
            let mut needed = list(&container["dependencies"]).iter().filter_map(Value::as_str);
            let failed = needed.find(|needed| !ended[needed].is_empty());
            let message = if let Some(failed) = failed {
                let why = format!("dependency \"{failed}\" exited with non-zero code");
                format!("{name}: Error (exit code {NOT_RUN}): {why}")
            } else {
                let step = text(&container["command"][0])?.trim_start_matches('/');
                let is_first = !self.ran.iter().any(|(ran, _)| ran == step);
                let end = self.process(container, given, &pod, is_first)?;
                self.note(container, end.code)?;
                end.message(name)
            };
            if !message.is_empty() {
                self.failures.push(json!({"displayName": name, "message": &message}));
            }
            ended.insert(name, message);
        }
        ensure!(ended.len() == containers.len(), "containers wait for one another");
        let first = ended.into_values().find(|message| !message.is_empty());
        self.keep(template, given, &pod, first.is_none())?;
        Ok(first)
    }

    /// Records the result of a container of a set, by its step.
    fn note(&mut self, container: &Value, code: i32) -> Result<()> {
        let step = text(&container["command"][0])?.trim_start_matches('/').to_owned();
        match self.ran.iter_mut().find(|(ran, _)| *ran == step) {
            Some((_, codes)) => codes.push(code),
            None => self.ran.push((step, vec![code])),
        }
        Ok(())
    }

    /// Records that a pod failed. Its message is the workflow's if the pod is the entrypoint: a DAG
    /// that fails has none.
    fn fail(&mut self, name: &str, message: &str) {
        self.failures.push(json!({"displayName": name, "message": message}));
        if self.spec["entrypoint"] == name {
            message.clone_into(&mut self.message);
        }
    }

    pub(super) fn resolve(&self, text: &str, given: &Given) -> Result<String> {
        resolve(text, &|name| {
            if let Some(name) = name.strip_prefix("workflow.parameters.") {
                return self.parameters.get(name).cloned();
            }
            match name {
                "workflow.uid" => Some(self.uid.to_owned()),
                "workflow.creationTimestamp.RFC3339" => Some("2026-11-21T09:00:00Z".to_owned()),
                "workflow.scheduledTime" => Some(SCHEDULED.to_owned()),
                "workflow.status" => self.status.map(str::to_owned),
                // Argo escapes the quotes of the list.
                "workflow.failures" => self.status.and_then(|_| {
                    serde_json::to_string(&Value::from(self.failures.clone()).to_string()).ok()
                }),
                _ if self.outputs.contains_key(name) => self.outputs.get(name).cloned(),
                _ => given.parameters.get(name.strip_prefix("inputs.parameters.")?).cloned(),
            }
        })
    }
}
