//! Checks templates, tasks and artifacts.

use std::collections::BTreeSet;

use contract::ShardNumber;

use super::{Report, template_named};
use crate::workflow::{Arguments, Artifact, DagTask, Template, WorkflowSpec};

/// Types of templates that the generator does not write.
const OTHER_TYPES: [&str; 7] = ["steps", "script", "resource", "suspend", "http", "data", "plugin"];

pub(super) fn workflow(spec: &WorkflowSpec, report: &mut Report<'_>) {
    match &spec.entrypoint {
        Some(name) if template_named(spec, name).is_some() => entrypoint(spec, name, report),
        Some(name) => report.say("template", format!("the entrypoint `{name}` is not a template")),
        None => report.say("template", "the workflow has no entrypoint"),
    }
    if let Some(name) = &spec.on_exit {
        exit_handler(spec, name, report);
    }
    let mut names = BTreeSet::new();
    for template in &spec.templates {
        if !names.insert(&template.name) {
            report.say("template", format!("two templates are named `{}`", template.name));
        }
        shape(template, report);
        if let Some(dag) = &template.dag {
            for task in &dag.tasks {
                self::task(spec, &dag.tasks, task, report);
            }
            let edges = dag.tasks.iter().map(|task| (task.name.as_str(), task.waits_for()));
            cycle(&template.name, &edges.collect::<Vec<_>>(), report);
        }
        if let Some(set) = &template.container_set {
            let edges =
                set.containers.iter().map(|c| (c.container.name.as_str(), c.dependencies.clone()));
            cycle(&template.name, &edges.collect::<Vec<_>>(), report);
            // Argo gives artifacts of a set only to the container `main`.
            let has_artifacts = [&template.inputs, &template.outputs]
                .into_iter()
                .flatten()
                .any(|arguments| !arguments.artifacts.is_empty());
            if has_artifacts && !set.containers.iter().any(|c| c.container.name == "main") {
                let name = &template.name;
                report.say("artifact", format!("`{name}` has artifacts and no container `main`"));
            }
        }
    }
    unused(spec, report);
}

/// Checks that every input of the entrypoint is a parameter of the workflow.
fn entrypoint(spec: &WorkflowSpec, name: &str, report: &mut Report<'_>) {
    let given = spec.arguments.clone().unwrap_or_default();
    let Some(inputs) = template_named(spec, name).and_then(|t| t.inputs.as_ref()) else { return };
    for parameter in &inputs.parameters {
        let is_given = given.parameters.iter().any(|other| other.name == parameter.name);
        if !is_given && parameter.value.is_none() {
            let parameter = &parameter.name;
            report.say("parameter", format!("the entrypoint's `{parameter}` is not an argument"));
        }
    }
}

/// The last template (exit handler) gets no arguments; its inputs have their own values.
fn exit_handler(spec: &WorkflowSpec, name: &str, report: &mut Report<'_>) {
    let Some(template) = template_named(spec, name) else {
        return report.say("template", format!("`{name}`, which comes last, is not a template"));
    };
    let inputs = template.inputs.clone().unwrap_or_default();
    let parameters = inputs.parameters.iter().filter(|parameter| parameter.value.is_none());
    let artifacts = inputs.artifacts.iter().filter(|artifact| !artifact.has_place());
    for input in parameters.map(|p| &p.name).chain(artifacts.map(|artifact| &artifact.name)) {
        report.say("parameter", format!("`{name}`, which comes last, is not given `{input}`"));
    }
}

fn shape(template: &Template, report: &mut Report<'_>) {
    let name = &template.name;
    let types =
        [template.dag.is_some(), template.container.is_some(), template.container_set.is_some()];
    let others = OTHER_TYPES.iter().filter(|name| template.others.contains_key(**name)).count();
    let count = types.iter().filter(|is_set| **is_set).count() + others;
    if count != 1 {
        let message = format!(
            "`{name}` has {count} of the fields that say what it is (dag, container, containerSet, ...), and needs one"
        );
        report.say("template", message);
    }
    let tasks = template.dag.iter().flat_map(|dag| &dag.tasks).map(|task| &task.name);
    for name in std::iter::once(name).chain(tasks) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || !name.chars().all(allowed) || name.starts_with('-') {
            report.say("name", format!("`{name}` may hold letters, digits and `-` alone"));
        }
    }
}

fn task(spec: &WorkflowSpec, tasks: &[DagTask], task: &DagTask, report: &mut Report<'_>) {
    let name = &task.name;
    if tasks.iter().filter(|other| other.name == *name).count() > 1 {
        report.say("template", format!("two tasks are named `{name}`"));
    }
    // It runs a template of another object, or one of its own.
    if ["templateRef", "inline"].iter().any(|field| task.others.contains_key(*field)) {
        return;
    }
    let Some(template) = template_named(spec, &task.template) else {
        return report
            .say("template", format!("task `{name}`: there is no template `{}`", task.template));
    };
    let given = task.arguments.clone().unwrap_or_default();
    let wanted = template.inputs.clone().unwrap_or_default();
    for parameter in &wanted.parameters {
        let is_given = given.parameters.iter().any(|p| p.name == parameter.name);
        if !is_given && parameter.value.is_none() {
            report.say("parameter", format!("task `{name}` is not given `{}`", parameter.name));
        }
    }
    loops(tasks, task, report);
    for parameter in &given.parameters {
        if !wanted.parameters.iter().any(|p| p.name == parameter.name) {
            let message =
                format!("task `{name}` is given `{}`, which it does not take", parameter.name);
            report.say("parameter", message);
        }
    }
    artifacts(tasks, task, &given, &wanted, report);
}

/// Checks the list of a loop: a JSON list, or an output of a task for which it waits. Argo runs
/// nothing for an empty list, and reports success.
fn loops(tasks: &[DagTask], task: &DagTask, report: &mut Report<'_>) {
    let (name, Some(list)) = (&task.name, &task.with_param) else { return };
    let Some(reference) = list.strip_prefix("{{") else {
        match serde_json::from_str::<Vec<ShardNumber>>(list) {
            Ok(shards) if !shards.is_empty() => {}
            Ok(_) => report.say("loop", format!("task `{name}` loops over nothing")),
            Err(error) => {
                report.say("loop", format!("task `{name}` loops over no list of shards: {error}"));
            }
        }
        return;
    };
    // The check of references reports a missing task or output.
    let producer = reference.strip_prefix("tasks.").and_then(|rest| rest.split('.').next());
    let producer = tasks.iter().find(|other| Some(other.name.as_str()) == producer);
    if let Some(producer) = producer.filter(|other| !task.waits_for().contains(&other.name)) {
        let message = format!(
            "task `{name}` loops over a list of `{}` and does not wait for it",
            producer.name
        );
        report.say("loop", message);
    }
}

fn artifacts(
    tasks: &[DagTask],
    task: &DagTask,
    given: &Arguments,
    wanted: &Arguments,
    report: &mut Report<'_>,
) {
    let name = &task.name;
    for artifact in &wanted.artifacts {
        let is_given = given.artifacts.iter().any(|other| other.name == artifact.name);
        if !is_given && !artifact.has_place() && artifact.optional != Some(true) {
            report.say("artifact", format!("task `{name}` is not given `{}`", artifact.name));
        }
    }
    for artifact in &given.artifacts {
        if !wanted.artifacts.iter().any(|other| other.name == artifact.name) {
            let message =
                format!("task `{name}` is given `{}`, which it does not take", artifact.name);
            report.say("artifact", message);
        }
        if artifact.has_place() {
            continue;
        }
        let from = artifact.from.as_deref().unwrap_or_default();
        let Some(producer) = from.strip_prefix("{{tasks.").and_then(|rest| rest.split('.').next())
        else {
            report.say("artifact", format!("task `{name}`: `{}` has no source", artifact.name));
            continue;
        };
        // The check of references reports a missing task or output.
        let exists = tasks.iter().any(|other| other.name == producer);
        if exists && !task.waits_for().iter().any(|needed| needed == producer) {
            let message = format!("task `{name}` takes from `{producer}` and does not wait for it");
            report.say("artifact", message);
        }
        let is_optional = |artifact: &Artifact| artifact.optional == Some(true);
        let mut declared = wanted.artifacts.iter().filter(|other| other.name == artifact.name);
        let may_be_skipped = tasks.iter().any(|it| it.name == producer && it.when.is_some());
        if may_be_skipped && !(is_optional(artifact) && declared.all(is_optional)) {
            let message = format!("task `{name}` needs `{producer}`, which may be skipped");
            report.say("artifact", message);
        }
    }
}

/// Removes items without remaining dependencies until there are none; the rest is a cycle.
fn cycle(owner: &str, edges: &[(&str, Vec<String>)], report: &mut Report<'_>) {
    let names: BTreeSet<&str> = edges.iter().map(|(name, _)| *name).collect();
    for (name, needs) in edges {
        for needed in needs.iter().filter(|needed| !names.contains(needed.as_str())) {
            let message = format!("`{name}` waits for `{needed}`, which `{owner}` does not have");
            report.say("dependency", message);
        }
    }
    let mut left = names;
    loop {
        let before = left.len();
        for (name, needs) in edges {
            if !needs.iter().any(|needed| left.contains(needed.as_str())) {
                left.remove(name);
            }
        }
        if left.is_empty() {
            return;
        }
        if left.len() == before {
            let names: Vec<&str> = left.into_iter().collect();
            return report
                .say("cycle", format!("`{owner}`: {} wait for one another", names.join(", ")));
        }
    }
}

/// Reports unused parameters and templates. Unused artifacts are found by the flags.
fn unused(spec: &WorkflowSpec, report: &mut Report<'_>) {
    let tasks = || spec.templates.iter().filter_map(|t| t.dag.as_ref()).flat_map(|dag| &dag.tasks);
    for template in &spec.templates {
        let name = &template.name;
        let is_used =
            [&spec.entrypoint, &spec.on_exit].into_iter().flatten().any(|used| used == name)
                || tasks().any(|task| task.template == *name);
        if !is_used {
            report.say("unused", format!("nothing uses the template `{name}`"));
        }
        let body = Template { inputs: None, name: String::new(), ..template.clone() };
        let body = serde_json::to_string(&body).unwrap_or_default();
        for parameter in template.inputs.iter().flat_map(|inputs| &inputs.parameters) {
            let parameter = &parameter.name;
            if !body.contains(&format!("{{{{inputs.parameters.{parameter}}}}}")) {
                report.say("unused", format!("`{name}` does not use its parameter `{parameter}`"));
            }
        }
    }
    let inputs =
        spec.entrypoint.as_deref().and_then(|name| template_named(spec, name)?.inputs.clone());
    let inputs = inputs.unwrap_or_default();
    let all = serde_json::to_string(&spec.templates).unwrap_or_default();
    for parameter in spec.arguments.iter().flat_map(|arguments| &arguments.parameters) {
        let name = &parameter.name;
        let is_input = inputs.parameters.iter().any(|input| input.name == *name);
        if !is_input && !all.contains(&format!("{{{{workflow.parameters.{name}}}}}")) {
            report.say("unused", format!("nothing uses the parameter `{name}`"));
        }
    }
}
