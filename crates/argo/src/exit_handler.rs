//! The tasks that run after a training, whether it succeeded or failed: its report page and its
//! message.

use contract::StepError;
use contract::steps::StepCommand;
use document::Document;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use plan::{Plan, Task, train};

use super::step::{self, Surroundings, WORK};
use super::training::{inputs, parameter};
use super::workflow::{Archive, Artifact, Dag, DagTask, S3Key, Template};
use super::{group, lists_shards, resources};

/// The template of the exit handler. Tasks are named after stages, so no task has this name.
const ENDING: &str = "ending";

/// Returns the templates that run last; the first of them is the workflow's exit handler.
pub(super) fn templates(
    document: &Document,
    plan: &Plan,
    report: Template,
) -> Result<Vec<Template>, StepError> {
    let Some(mut task) = train::alert(&inputs(document), plan) else { return Ok(vec![report]) };
    if let StepCommand::Alert(args) = &mut task.command {
        // The plan has no tasks of the shards then, so their outcomes are not known here.
        args.failed = lists_shards(document).then(|| "{{workflow.failures}}".to_owned());
    }
    let alert = alert(document, &task)?;
    let task = |template: &Template| DagTask {
        name: template.name.clone(),
        template: template.name.clone(),
        ..DagTask::default()
    };
    let both = Template {
        name: ENDING.to_owned(),
        dag: Some(Dag { tasks: vec![task(&report), task(&alert)], ..Dag::default() }),
        ..Template::default()
    };
    Ok(vec![both, report, alert])
}

/// Makes the template that sends the message about the training: it reads the outcomes that the
/// tasks wrote under their keys.
fn alert(document: &Document, task: &Task) -> Result<Template, StepError> {
    let stage = task.command.stage();
    let surroundings = Surroundings::of_training(document, task, false);
    let mut given = parameter("now", "{{workflow.creationTimestamp.RFC3339}}");
    let ports = task.command.inputs();
    for (number, port) in ports.iter().filter(|port| port.name == "ended").enumerate() {
        let below = port.path.strip_prefix(WORK).unwrap_or(port.path).display();
        given.artifacts.push(Artifact {
            name: format!("ended-{number}"),
            path: Some(step::input_path(&port.path.display().to_string(), false)?),
            // A task that never ran has no outcome.
            optional: Some(true),
            s3: Some(S3Key { key: format!("{}{below}", group::run_key(&document.name)) }),
            archive: Some(Archive::default()),
            ..Artifact::default()
        });
    }
    Ok(Template {
        name: task.name.clone(),
        metadata: Some(step::pod_labels(stage.name(), &[stage])),
        inputs: Some(given),
        outputs: Some(super::workflow::Arguments {
            parameters: Vec::new(),
            artifacts: group::output_artifacts(document, task, ""),
        }),
        container: Some(step::container(task, &surroundings)?),
        active_deadline_seconds: Some(IntOrString::Int(resources::STEP_DEADLINE_SECONDS)),
        retry_strategy: Some(resources::retry()),
        ..Template::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_message_task_runs_last_and_accepts_missing_outcomes() {
        let document = |training: &str| {
            let text = format!(
                "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {{main: {{prometheus: {{url: 'http://p.monitoring:9090'}}, \
                 queries: [{{name: load, promql: node_load1}}]}}}}\nfeatures: [raw]\nmodels: {{z_score: {{}}}}\n\
                 vote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\n\
                 alerts:\n  training: [{training}]\n  channels:\n    - slack: {{webhook: {{env: SLACK}}}}\n\
                 \x20   - webhook: {{url: 'https://hooks.example.com', signing_key: {{file: /etc/lynceus/alert/key}}}}\n"
            );
            document::parse("x.yaml", &text).unwrap()
        };
        let spec = |training| crate::training::template(&document(training)).unwrap().spec;
        assert_eq!(spec("").on_exit.as_deref(), Some("report"), "no alert kind asks for it");
        let spec = spec("promoted");
        assert_eq!(spec.on_exit.as_deref(), Some(ENDING));
        assert!(spec.volumes.iter().any(|volume| volume.name == "alert"));
        let alert = spec.templates.iter().find(|template| template.name == "alert").unwrap();
        let container = alert.container.as_ref().unwrap();
        let args = container.args.as_ref().unwrap();
        let ended = args.iter().filter(|word| *word == "--ended").count();
        let inputs = alert.inputs.as_ref().unwrap();
        assert_eq!(ended, inputs.artifacts.len());
        for artifact in &inputs.artifacts {
            assert!(args.contains(artifact.path.as_ref().unwrap()), "{artifact:?}");
            assert_eq!(artifact.optional, Some(true));
        }
        let secret =
            container.env_from.iter().flatten().filter_map(|from| from.secret_ref.as_ref());
        assert!(secret.into_iter().any(|secret| secret.name == "lynceus-x-alert"));
        assert_eq!(alert.metadata.as_ref().unwrap().labels["lynceus/alert"], "allowed");
    }
}
