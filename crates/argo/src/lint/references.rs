//! References `{{...}}`: each must name something that exists when it is resolved.

use serde::Serialize;
use serde_json::Value;

use super::objects::Objects;
use super::{Report, template_named};
use crate::workflow::{CronWorkflow, Template, WorkflowSpec};
use crate::{ITEM, ITEM_COUNT};

/// Variables of every workflow, in all supported versions of Argo.
const WORKFLOW: [&str; 6] = [
    "workflow.name",
    "workflow.namespace",
    "workflow.uid",
    "workflow.serviceAccountName",
    "workflow.creationTimestamp",
    "workflow.creationTimestamp.RFC3339",
];

/// Variable that only a workflow of a `CronWorkflow` has.
const SCHEDULED: &str = "workflow.scheduledTime";

/// Variables that only the exit handler has.
const ENDED: [&str; 2] = ["workflow.status", "workflow.failures"];

pub(super) fn workflow(spec: &WorkflowSpec, is_clock: bool, report: &mut Report<'_>) {
    let outside = WorkflowSpec { templates: Vec::new(), ..spec.clone() };
    let is_known = |name: &str| WORKFLOW.contains(&name) || (is_clock && name == SCHEDULED);
    for (reference, text) in found(&outside) {
        let resolved = reference.is_ok_and(|name| is_known(&name));
        if !resolved {
            report.say("reference", format!("`{text}` does not resolve here"));
        }
    }
    for template in &spec.templates {
        for (reference, text) in found(template) {
            let problem = match reference {
                Ok(name) if is_clock && name == SCHEDULED => None,
                Ok(name) if ENDED.contains(&name.as_str()) && comes_last(spec, template) => None,
                Ok(name) => in_template(spec, template, &name),
                Err(problem) => Some(problem),
            };
            if let Some(problem) = problem {
                report.say("reference", format!("`{}`: `{text}` {problem}", template.name));
            }
        }
    }
}

pub(super) fn cron(cron: &CronWorkflow, objects: &Objects, report: &mut Report<'_>) {
    let spec = &cron.spec.workflow_spec;
    let reference = spec.workflow_template_ref.as_ref();
    if reference.is_some() {
        for (reference, text) in found(spec) {
            let known = |name: String| name == SCHEDULED || WORKFLOW.contains(&name.as_str());
            if !reference.is_ok_and(known) {
                report.say("reference", format!("`{text}` does not resolve here"));
            }
        }
    }
    let Some(name) = reference.map(|reference| &reference.name) else {
        if spec.templates.is_empty() {
            report.say("template", "the workflow is made from no template");
        }
        return;
    };
    let named = objects.templates_named(name);
    let namespace = &cron.metadata.namespace;
    let Some(template) = named.iter().find(|other| other.metadata.namespace == *namespace) else {
        if !named.is_empty() {
            let message = format!("the WorkflowTemplate `{name}` is in another namespace");
            report.say("template", message);
        } else if !objects.workflow_templates.is_empty() {
            report.say("template", format!("there is no WorkflowTemplate `{name}`"));
        }
        return;
    };
    let known = template.spec.arguments.clone().unwrap_or_default();
    for parameter in spec.arguments.iter().flat_map(|arguments| &arguments.parameters) {
        if !known.parameters.iter().any(|other| other.name == parameter.name) {
            let message = format!("`{name}` does not take `{}`", parameter.name);
            report.say("parameter", message);
        }
    }
}

/// Returns whether a template is the exit handler, or one of its tasks.
fn comes_last(spec: &WorkflowSpec, template: &Template) -> bool {
    let Some(last) = spec.on_exit.as_deref() else { return false };
    let dag = template_named(spec, last).and_then(|handler| handler.dag.as_ref());
    let mut tasks = dag.into_iter().flat_map(|dag| &dag.tasks);
    template.name == last || tasks.any(|task| task.template == template.name)
}

fn in_template(spec: &WorkflowSpec, template: &Template, name: &str) -> Option<String> {
    if let Some(parameter) = name.strip_prefix("inputs.parameters.") {
        let inputs = template.inputs.iter().flat_map(|inputs| &inputs.parameters);
        let is_there = inputs.into_iter().any(|input| input.name == parameter);
        return (!is_there).then(|| "names no parameter of the template".to_owned());
    }
    if let Some(parameter) = name.strip_prefix("workflow.parameters.") {
        let arguments = spec.arguments.iter().flat_map(|arguments| &arguments.parameters);
        let found = arguments.into_iter().find(|argument| argument.name == parameter);
        return match found.and_then(|argument| argument.value.as_deref()) {
            None => Some("names no parameter of the workflow with a value".to_owned()),
            // Argo inserts the default unchanged; it resolves references only in the entrypoint's
            // inputs.
            Some(value) if value.contains("{{") => {
                Some("contains another reference: pass it on as an input".to_owned())
            }
            Some(_) => None,
        };
    }
    if [ITEM, ITEM_COUNT].iter().any(|item| *item == format!("{{{{{name}}}}}")) {
        let mut tasks = template.dag.iter().flat_map(|dag| &dag.tasks);
        let loops = tasks.any(|task| task.with_param.is_some());
        return (!loops).then(|| "is known only to the task of a loop".to_owned());
    }
    if let Some(output) = name.strip_prefix("workflow.outputs.parameters.") {
        if !comes_last(spec, template) {
            return Some("is known only to the exit handler".to_owned());
        }
        let outputs = spec.templates.iter().filter_map(|template| template.outputs.as_ref());
        let mut names =
            outputs.flat_map(|it| &it.parameters).filter_map(|it| it.global_name.as_deref());
        let is_there = names.any(|name| name == output);
        return (!is_there).then(|| "names no output of the workflow".to_owned());
    }
    if let Some(rest) = name.strip_prefix("tasks.") {
        return task_output(spec, template, rest);
    }
    if name == SCHEDULED {
        return Some("is known only to a CronWorkflow: take it as an argument".to_owned());
    }
    let known = WORKFLOW.contains(&name) || name == "pod.name";
    (!known).then(|| "does not resolve".to_owned())
}

fn task_output(spec: &WorkflowSpec, template: &Template, rest: &str) -> Option<String> {
    let mut parts = rest.splitn(4, '.');
    let (task, outputs, kind, name) = (parts.next()?, parts.next(), parts.next(), parts.next());
    let dag = template.dag.as_ref()?;
    let Some(task) = dag.tasks.iter().find(|other| other.name == task) else {
        return Some(format!("names no task: there is no `{task}`"));
    };
    let produced = template_named(spec, &task.template)?.outputs.clone().unwrap_or_default();
    let mut names: Vec<&str> = match (outputs, kind) {
        (Some("outputs"), Some("artifacts")) => {
            produced.artifacts.iter().map(|artifact| artifact.name.as_str()).collect()
        }
        (Some("outputs"), Some("parameters")) => {
            produced.parameters.iter().map(|parameter| parameter.name.as_str()).collect()
        }
        _ => Vec::new(),
    };
    names.retain(|produced| Some(*produced) == name);
    let is_there = !names.is_empty();
    (!is_there).then(|| format!("names no output of `{}`", task.name))
}

/// The text between the braces, or the syntax error.
type Reference = Result<String, String>;

/// Returns every reference of a value's texts, with its text.
fn found<T: Serialize>(value: &T) -> Vec<(Reference, String)> {
    let mut found = Vec::new();
    walk(&serde_json::to_value(value).unwrap_or_default(), &mut found);
    found
}

fn walk(value: &Value, found: &mut Vec<(Reference, String)>) {
    match value {
        Value::String(text) => found.extend(split(text).into_iter().map(|r| (r, text.clone()))),
        Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
        // Metrics and hooks have variables of their own.
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !["metrics", "hooks"].contains(&name.as_str()))
            .for_each(|(_, value)| walk(value, found)),
        _ => {}
    }
}

/// Returns the references of a text, in order.
pub(super) fn split(text: &str) -> Vec<Reference> {
    let mut references = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else {
            references.push(Err("has no closing braces".to_owned()));
            break;
        };
        references.push(match name.trim() {
            expression if expression.starts_with('=') => {
                Err("is an expression, which cannot be checked here".to_owned())
            }
            name => Ok(name.to_owned()),
        });
        rest = behind;
    }
    references
}
