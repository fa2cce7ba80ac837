//! Checks images, commands and flags: the step accepts them, and its ports match those of the
//! template.

use std::path::Path;

use clap::Parser;
use contract::step::Port;
use contract::steps::StepCommand;
use document::Document;
use k8s_openapi::api::core::v1::Container;

use super::objects::Objects;
use super::{Mounted, Report, cluster, containers, owner, references, secrets, wiring};
use crate::TICK;
use crate::workflow::{Arguments, Template, WorkflowSpec};

/// Example for a time that is known only in the cluster.
const LATER: &str = "2026-01-01T00:00:00Z";

/// Parses a step's flags as `lynceus step` does.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(subcommand)]
    step: StepCommand,
}

pub(super) fn template(
    spec: &WorkflowSpec,
    template: &Template,
    objects: &Objects,
    report: &mut Report<'_>,
) {
    let mut steps = Vec::new();
    let document = objects.document(spec);
    for (_, container) in containers(template) {
        let owner = owner(template, container);
        let Some(step) = step(spec, template, container, report) else { continue };
        secrets::of_store(&owner, container, &step, report);
        let mounted = Mounted { spec, template, container };
        files(mounted, &step, report);
        wiring::maps(mounted, &step, objects, report);
        if let Some(document) = &document {
            secrets::of_document(mounted, document, step.stage(), report);
            models(&owner, &step, document, report);
        }
        steps.push((container, step));
    }
    // If the flags of a step do not parse, its inputs and outputs are unknown.
    if steps.len() == containers(template).len() {
        // A workflow without artifacts keeps only what its steps write to the store.
        if cluster::has_artifacts(spec) {
            ports(template, &steps, keeps_runs(spec), report);
        }
        wiring::pod(spec, template, &steps, report);
    }
    mounts(spec, template, objects, report);
}

/// Checks image and command, and returns the step with its flags if they parse.
fn step(
    spec: &WorkflowSpec,
    template: &Template,
    container: &Container,
    report: &mut Report<'_>,
) -> Option<StepCommand> {
    let owner = owner(template, container);
    let [command] = container.command.as_deref().unwrap_or_default() else {
        report.say("command", format!("`{owner}` needs exactly one command, the step's program"));
        return None;
    };
    let stage = command.trim_start_matches('/');
    let image =
        container.image.as_deref().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    if image.split(':').next() != Some(stage) {
        report.say("command", format!("`{owner}`: the image `{image}` is not that of `{stage}`"));
    }
    match parse(spec, template, container) {
        Ok(step) => Some(step),
        Err(said) => {
            report.say("flags", format!("`{owner}`: {said}"));
            None
        }
    }
}

/// Returns the step of a container with its flags, or why they do not parse.
pub(super) fn parse(
    spec: &WorkflowSpec,
    template: &Template,
    container: &Container,
) -> Result<StepCommand, String> {
    let program =
        container.command.iter().flatten().next().map(|program| program.trim_start_matches('/'));
    let mut line = vec![program.unwrap_or_default().to_owned()];
    line.extend(
        container.args.iter().flatten().map(|argument| resolve(spec, template, argument, 0)),
    );
    let line = Line::try_parse_from(line).map_err(|error| {
        let said = error.to_string();
        let said = said.lines().next().unwrap_or_default();
        said.trim_start_matches("error: ").to_owned()
    })?;
    Ok(line.step)
}

/// Checks that the models in a step's flags are in the document.
fn models(owner: &str, step: &StepCommand, document: &Document, report: &mut Report<'_>) {
    let trained = document.trained();
    let named = step.named_models().into_iter().map(str::trim);
    for model in named.filter(|model| *model != LATER) {
        if !trained.contains(&model) {
            let known = trained.join(", ");
            let message =
                format!("`{owner}`: `{model}` is not a model of the document, which has {known}");
            report.say("model", message);
        }
    }
}

/// Replaces a reference by its default, or by an example if the value is known only in the cluster.
fn resolve(spec: &WorkflowSpec, template: &Template, text: &str, depth: u8) -> String {
    let mut resolved = text.to_owned();
    for name in references::split(text).into_iter().flatten() {
        let value =
            value_of(spec, template, &name, depth).unwrap_or_else(|| example(&name).to_owned());
        resolved = resolved.replace(&format!("{{{{{name}}}}}"), &value);
    }
    resolved
}

fn example(name: &str) -> &'static str {
    match name {
        // The shard of the loop's current item.
        "item.index" => "0",
        "item.count" => "2",
        // Argo writes it in Go's default time format, which no step can parse.
        "workflow.creationTimestamp" => "2026-01-01 00:00:00 +0000 UTC",
        _ => LATER,
    }
}

fn value_of(spec: &WorkflowSpec, template: &Template, name: &str, depth: u8) -> Option<String> {
    if depth > 4 {
        return None;
    }
    let of = |arguments: Option<&Arguments>, name: &str| {
        let found = arguments?.parameters.iter().find(|parameter| parameter.name == name)?;
        found.value.clone()
    };
    if let Some(name) = name.strip_prefix("workflow.parameters.") {
        let value = of(spec.arguments.as_ref(), name)?;
        return Some(resolve(spec, template, &value, depth + 1));
    }
    let name = name.strip_prefix("inputs.parameters.")?;
    if spec.entrypoint.as_ref() == Some(&template.name) {
        let value = of(spec.arguments.as_ref(), name)?;
        return Some(resolve(spec, template, &value, depth + 1));
    }
    let given = spec.templates.iter().find_map(|caller| {
        let tasks = caller.dag.iter().flat_map(|dag| &dag.tasks);
        let mut calls = tasks.filter(|task| task.template == template.name);
        let value = calls.find_map(|task| of(task.arguments.as_ref(), name))?;
        Some(resolve(spec, caller, &value, depth + 1))
    });
    given.or_else(|| {
        let value = of(template.inputs.as_ref(), name)?;
        Some(resolve(spec, template, &value, depth + 1))
    })
}

/// Outputs must be on a writable volume, inputs on a volume or artifact.
fn files(mounted: Mounted<'_>, step: &StepCommand, report: &mut Report<'_>) {
    let owner = mounted.owner();
    let is_written = |path: &Path| {
        mounted.volumes().any(|(mount, volume)| {
            let is_writable = mount.read_only != Some(true) && volume.empty_dir.is_some();
            is_writable && path.starts_with(&mount.mount_path)
        })
    };
    // The check of mounts reports a missing volume.
    let is_mounted =
        |path: &Path| mounted.mounts().any(|mount| path.starts_with(&mount.mount_path));
    let outcome = step.common().outcome.clone();
    let outputs = step.outputs();
    let written = outputs.iter().map(|port| port.path).chain(outcome.as_deref());
    for path in written {
        if !is_written(path) {
            let path = path.display();
            report
                .say("path", format!("`{owner}` writes `{path}`, which is on no writable volume"));
        }
    }
    let artifacts = mounted.template.inputs.iter().flat_map(|inputs| &inputs.artifacts);
    let artifacts: Vec<&str> = artifacts.filter_map(|a| a.path.as_deref()).collect();
    for port in step.inputs() {
        let is_artifact = artifacts.iter().any(|path| Path::new(path) == port.path);
        if !is_artifact && !is_mounted(port.path) {
            let path = port.path.display();
            report.say(
                "path",
                format!(
                    "`{owner}` reads `{path}`, which no volume or artifact \
                     provides"
                ),
            );
        }
    }
}

/// Returns whether a workflow keeps the outputs of its runs. A tick keeps only what it passes from
/// one pod to another.
fn keeps_runs(spec: &WorkflowSpec) -> bool {
    let outputs = spec.templates.iter().filter_map(|template| template.outputs.as_ref());
    let mut keys = outputs.flat_map(|it| &it.artifacts).filter_map(|it| it.s3.as_ref());
    keys.any(|s3| s3.key.contains("{{workflow.uid}}"))
}

/// Checks that every artifact of a pod is a port of one of its steps, and that every port of its
/// steps is an artifact if the workflow keeps its runs.
fn ports(
    template: &Template,
    steps: &[(&Container, StepCommand)],
    keeps_runs: bool,
    report: &mut Report<'_>,
) {
    let name = &template.name;
    let of = |arguments: &Option<Arguments>| -> Vec<String> {
        let artifacts = arguments.iter().flat_map(|arguments| &arguments.artifacts);
        artifacts.filter_map(|artifact| artifact.path.clone()).collect()
    };
    let (given, kept) = (of(&template.inputs), of(&template.outputs));
    let inputs: Vec<Port<'_>> = steps.iter().flat_map(|(_, step)| step.inputs()).collect();
    let outputs: Vec<Port<'_>> = steps.iter().flat_map(|(_, step)| step.outputs()).collect();
    for path in &given {
        if !inputs.iter().any(|port| port.path == Path::new(path)) {
            report.say("port", format!("`{name}` is given `{path}`, which no flag names"));
        }
    }
    let is_outcome = |path: &str| {
        steps.iter().any(|(_, step)| step.common().outcome.as_deref() == Some(Path::new(path)))
    };
    for path in &kept {
        let is_port = outputs.iter().any(|port| port.path == Path::new(path));
        if !is_port && !is_outcome(path) {
            report.say("port", format!("`{name}` keeps `{path}`, which no flag names"));
        }
    }
    for port in outputs.iter().filter(|_| keeps_runs || !kept.is_empty()) {
        if !kept.iter().any(|path| Path::new(path) == port.path) {
            let path = port.path.display();
            report.say("port", format!("`{name}` writes `{path}`, which nothing keeps"));
        }
    }
    for artifact in template.outputs.iter().flat_map(|outputs| &outputs.artifacts) {
        key(name, artifact, report);
    }
}

fn key(name: &str, artifact: &crate::workflow::Artifact, report: &mut Report<'_>) {
    let Some(s3) = &artifact.s3 else {
        return report.say("artifact", format!("`{name}`: `{}` has no key", artifact.name));
    };
    let key = &s3.key;
    if artifact.archive.is_none() {
        report.say("artifact", format!("`{name}`: `{key}` would be packed: archive it as none"));
    }
    let path = artifact.path.as_deref().unwrap_or_default();
    let is_folder = Path::new(path).extension().is_none();
    if is_folder != key.ends_with('/') {
        report.say("artifact", format!("`{name}`: the key `{key}` of `{path}`: a folder's key ends with `/`, a file's does not"));
    }
    let is_of_tick = key.split('/').nth(2) == Some(TICK);
    if !key.contains("{{workflow.uid}}") && !is_of_tick {
        report.say(
            "artifact",
            format!("`{name}`: `{key}` is the same for every run: name the run's uid"),
        );
    }
}

/// Checks that every mount has a volume, and that every referenced `ConfigMap` and template exists.
fn mounts(spec: &WorkflowSpec, template: &Template, objects: &Objects, report: &mut Report<'_>) {
    let shared = template.container_set.iter().flat_map(|set| &set.volume_mounts);
    let own = containers(template).into_iter().flat_map(|(_, c)| c.volume_mounts.iter().flatten());
    for mount in shared.chain(own) {
        if !spec.volumes.iter().any(|volume| volume.name == mount.name) {
            report.say("path", format!("`{}`: there is no volume `{}`", template.name, mount.name));
        }
    }
    let environment =
        containers(template).into_iter().flat_map(|(_, c)| c.env_from.iter().flatten());
    for map in environment.filter_map(|from| from.config_map_ref.as_ref()) {
        if !objects.config_maps.is_empty() && objects.config_map(&map.name).is_none() {
            report.say(
                "reference",
                format!("`{}`: there is no ConfigMap `{}`", template.name, map.name),
            );
        }
    }
}
