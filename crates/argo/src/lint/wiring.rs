//! Checks the data between steps: that readers and writers agree on its kind, and that every key
//! has one writer.

use std::collections::BTreeSet;
use std::path::Path;

use contract::steps::StepCommand;
use k8s_openapi::api::core::v1::Container;

use super::objects::Objects;
use super::{Mounted, Report, commands, containers, template_named};
use crate::cluster::given;
use crate::workflow::{Arguments, Artifact, DagTask, Template, WorkflowSpec};
use crate::{TICK, training};

pub(super) fn workflow(spec: &WorkflowSpec, pipeline: Option<&str>, report: &mut Report<'_>) {
    for template in &spec.templates {
        let tasks = template.dag.as_ref().map_or(&[][..], |dag| &dag.tasks);
        for task in tasks {
            for artifact in task.arguments.iter().flat_map(|given| &given.artifacts) {
                kinds(spec, tasks, task, artifact, report);
            }
            condition(spec, task, report);
        }
    }
    keys(spec, pipeline, report);
}

/// Checks that the inputs of a task have the kind that its step expects.
fn kinds(
    spec: &WorkflowSpec,
    tasks: &[DagTask],
    task: &DagTask,
    artifact: &Artifact,
    report: &mut Report<'_>,
) {
    let from = artifact.from.as_deref().unwrap_or_default();
    let (Some(made), Some(taken)) = (made(spec, tasks, from), taken(spec, task, artifact)) else {
        return;
    };
    if made != taken {
        let name = &task.name;
        report.say("artifact", format!("task `{name}` takes a {made} as its {taken}: `{from}`"));
    }
}

/// Returns the kind of an output of a task.
fn made(spec: &WorkflowSpec, tasks: &[DagTask], from: &str) -> Option<&'static str> {
    let name = from.strip_prefix("{{tasks.")?.strip_suffix("}}")?;
    let (producer, output) = name.split_once(".outputs.artifacts.")?;
    let producer = tasks.iter().find(|other| other.name == producer)?;
    let template = template_named(spec, &producer.template)?;
    let path = path_of(template.outputs.as_ref(), output)?;
    steps_of(spec, template).iter().find_map(|step| written_as(step, path))
}

/// Returns the kinds that the steps of a task expect of an artifact.
fn taken(spec: &WorkflowSpec, task: &DagTask, artifact: &Artifact) -> Option<&'static str> {
    let template = template_named(spec, &task.template)?;
    let path = path_of(template.inputs.as_ref(), &artifact.name)?;
    let steps = steps_of(spec, template);
    let mut ports = steps.iter().flat_map(StepCommand::inputs);
    let port = ports.find(|port| port.path == path)?;
    Some(kind_of(port.name))
}

fn path_of<'a>(arguments: Option<&'a Arguments>, name: &str) -> Option<&'a Path> {
    let artifact = arguments?.artifacts.iter().find(|artifact| artifact.name == name)?;
    artifact.path.as_deref().map(Path::new)
}

/// Returns the steps of a template's containers whose flags parse.
fn steps_of(spec: &WorkflowSpec, template: &Template) -> Vec<StepCommand> {
    let containers = containers(template).into_iter();
    containers.filter_map(|(_, it)| commands::parse(spec, template, it).ok()).collect()
}

/// Returns the kind of a file or folder that a step writes.
fn written_as(step: &StepCommand, path: &Path) -> Option<&'static str> {
    if step.common().outcome.as_deref() == Some(path) {
        return Some("outcome");
    }
    let port = step.outputs().into_iter().find(|port| port.path == path)?;
    Some(port.name)
}

/// Returns the kind of a port: its name, except for outcomes.
fn kind_of(port: &'static str) -> &'static str {
    if port == "ended" { "outcome" } else { port }
}

/// Checks that a task trains its model only if `models` contains that model.
fn condition(spec: &WorkflowSpec, task: &DagTask, report: &mut Report<'_>) {
    let Some(when) = &task.when else { return };
    let steps = template_named(spec, &task.template).map(|template| steps_of(spec, template));
    for step in steps.into_iter().flatten() {
        let StepCommand::Train(args) = step else { continue };
        let (name, expected) = (&task.name, training::is_wanted(&args.model));
        if *when != expected {
            let model = &args.model;
            let message =
                format!("task `{name}` trains `{model}` when {when}, and not when {expected}");
            report.say("model", message);
        }
    }
}

/// Checks that every key belongs to the pipeline, that no two outputs have the same key, and that a
/// run writes the keys that it reads from itself.
fn keys(spec: &WorkflowSpec, pipeline: Option<&str>, report: &mut Report<'_>) {
    let mut written = BTreeSet::new();
    for template in &spec.templates {
        for key in keys_of(template.outputs.as_ref()) {
            if !written.insert(key) {
                let message = format!("`{}`: another output has the key `{key}`", template.name);
                report.say("artifact", message);
            }
            foreign(template, key, pipeline, report);
        }
    }
    for template in &spec.templates {
        for key in keys_of(template.inputs.as_ref()) {
            let is_own = ["{{workflow.uid}}", TICK]
                .iter()
                .any(|run| key.split('/').nth(2).is_some_and(|part| part == *run));
            let of_shards = of_any_shard(key);
            let is_written = |other: &&str| {
                other.starts_with(key)
                    || other.starts_with(&of_shards)
                    // A file in a folder that is written as a whole, other than that of the run.
                    || (other.ends_with('/')
                        && !other.ends_with("{{workflow.uid}}/")
                        && key.starts_with(*other))
            };
            if is_own && !written.iter().any(is_written) {
                let message =
                    format!("`{}` reads the key `{key}`, which nothing writes", template.name);
                report.say("artifact", message);
            }
            foreign(template, key, pipeline, report);
        }
    }
}

/// Returns a key in which the reference to the shard's number replaces the number.
fn of_any_shard(key: &str) -> String {
    let part = |part: &str| match part.strip_prefix("shard-") {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("shard-{}", crate::SHARD_REFERENCE)
        }
        Some(_) | None => part.to_owned(),
    };
    key.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn keys_of(arguments: Option<&Arguments>) -> impl Iterator<Item = &str> {
    let artifacts = arguments.into_iter().flat_map(|arguments| &arguments.artifacts);
    artifacts.filter_map(|artifact| artifact.s3.as_ref()).map(|s3| s3.key.as_str())
}

fn foreign(template: &Template, key: &str, pipeline: Option<&str>, report: &mut Report<'_>) {
    let Some(pipeline) = pipeline else { return };
    let is_own = |top: &&str| key.starts_with(&format!("{top}/{pipeline}/"));
    if !["runs", "inputs"].iter().any(is_own) {
        let name = &template.name;
        let message = format!(
            "`{name}`: the key `{key}` is none of `{pipeline}`: runs/{pipeline}/ or inputs/{pipeline}/"
        );
        report.say("artifact", message);
    }
}

/// Checks files on volumes that are empty at the start of a pod: a container that the reader
/// depends on writes the file, and the file has the kind that the reader expects.
pub(super) fn pod(
    spec: &WorkflowSpec,
    template: &Template,
    steps: &[(&Container, StepCommand)],
    report: &mut Report<'_>,
) {
    for (container, step) in steps {
        for port in step.inputs() {
            let writer = steps.iter().find_map(|(other, step)| {
                Some((&other.name, written_as(step, port.path)?)).filter(|_| other != container)
            });
            let mounted = Mounted { spec, template, container };
            let owner = mounted.owner();
            let Some((writer, kind)) = writer else {
                if begins_empty(mounted, port.path) {
                    let path = port.path.display();
                    let message = format!("`{owner}` reads `{path}`, which no container writes");
                    report.say("path", message);
                }
                continue;
            };
            let mut set = template.container_set.iter().flat_map(|set| &set.containers);
            if !set.any(|it| it.container == **container && it.dependencies.contains(writer)) {
                let message =
                    format!("`{owner}` reads what `{writer}` writes and does not wait for it");
                report.say("dependency", message);
            }
            let taken = kind_of(port.name);
            if kind != taken {
                let message = format!("`{owner}` takes the {kind} of `{writer}` as its {taken}");
                report.say("path", message);
            }
        }
    }
}

/// Returns whether a path is on a volume that is empty at the start, and is not the path of an
/// artifact.
fn begins_empty(mounted: Mounted<'_>, path: &Path) -> bool {
    let artifacts = mounted.template.inputs.iter().flat_map(|inputs| &inputs.artifacts);
    let mut laid = artifacts.filter_map(|artifact| artifact.path.as_deref());
    !laid.any(|laid| path.starts_with(laid))
        && mounted.volumes().any(|(mount, volume)| {
            path.starts_with(&mount.mount_path) && volume.empty_dir.is_some()
        })
}

/// Checks that the files that a step reads from a `ConfigMap` are keys of it.
pub(super) fn maps(
    mounted: Mounted<'_>,
    step: &StepCommand,
    objects: &Objects,
    report: &mut Report<'_>,
) {
    for (mount, volume) in mounted.volumes() {
        let Some(name) = volume.config_map.as_ref().map(|map| &map.name) else { continue };
        // The check of volumes reports a missing `ConfigMap`.
        let Some(map) = objects.config_map(name) else { continue };
        for port in step.inputs() {
            let Ok(key) = port.path.strip_prefix(&mount.mount_path) else { continue };
            let key = key.display().to_string();
            if !given(map.data.as_ref()).contains_key(&key) {
                let owner = mounted.owner();
                let message = format!(
                    "`{owner}` reads `{key}`, which is not a key of the ConfigMap `{name}`"
                );
                report.say("reference", message);
            }
        }
    }
}
