//! The training plan as a `WorkflowTemplate`, and the clock that starts it.

use std::path::Path;

use contract::steps::StepCommand;
use contract::{Stage, StepError, Timestamp};
use document::Document;

use super::cluster::Object;
use super::figures;
use super::step::{self, INPUTS, Surroundings, WORK};
use super::workflow::{
    Archive, Arguments, Artifact, ArtifactGc, ArtifactRepositoryRef, CronWorkflow,
    CronWorkflowSpec, Dag, DagTask, Mutex, Parameter, PodGc, PodMetadata, S3Key, Synchronization,
    Template, TtlStrategy, WorkflowSpec, WorkflowTemplate, WorkflowTemplateRef,
};
use super::{COMPONENT, SOURCE, access, ending, label, labels, metadata, names};
use crate::plan::{Plan, Task};
use crate::train::{self, Inputs};

pub(super) const API_VERSION: &str = "argoproj.io/v1alpha1";
pub(super) const SCHEDULED_TIME: &str = "{{workflow.scheduledTime}}";
/// A night's hour that few other jobs have.
const RETRAIN: &str = "17 3 * * *";
const WEEK_SECONDS: u32 = 7 * 86_400;
/// The first template. Tasks are named after stages, so none has this name.
const ENTRYPOINT: &str = "training";

/// The flags that are parameters of a workflow and go through its entrypoint's inputs.
const PASSED: [&str; 4] = ["now", "seed", "range", "models"];

/// Returns the inputs of a plan as it runs in pods.
pub(super) fn inputs(document: &Document) -> Inputs<'_> {
    Inputs {
        document,
        base: Path::new(INPUTS),
        folder: Path::new(WORK),
        store: "{{workflow.parameters.store}}",
        // Stands where a reference is put when the flags are printed.
        now: Timestamp::from_ms(0),
    }
}

/// Makes the template.
pub(super) fn template(document: &Document) -> Result<WorkflowTemplate, StepError> {
    let mut plan = train::plan(&inputs(document))?;
    let models = document.models.trained().join(",");
    for task in &mut plan.tasks {
        match &mut task.command {
            StepCommand::Collect(args) => args.range = Some(document.range),
            StepCommand::Select(args) => args.models = vec![models.clone()],
            _ => {}
        }
    }
    let mut templates = vec![dag(&document.name, &plan)?];
    for index in 0..plan.tasks.len() {
        templates.push(task_template(document, &plan, index)?);
    }
    let last = ending::templates(document, &plan, report(document)?)?;
    let mut stages = vec![Stage::Collect];
    // The news of a training are there where somebody wants to hear of it.
    stages.extend((last.len() > 1).then_some(Stage::Alert));
    let names = names(document);
    let mut spec = WorkflowSpec {
        entrypoint: Some(ENTRYPOINT.to_owned()),
        on_exit: last.first().map(|template| template.name.clone()),
        arguments: Some(Arguments {
            parameters: parameters(document, &models),
            artifacts: Vec::new(),
        }),
        active_deadline_seconds: Some(figures::TRAINING_DEADLINE_SECONDS),
        parallelism: Some(figures::PARALLELISM),
        synchronization: Some(mutex(&names.train)),
        pod_gc: Some(PodGc { strategy: "OnPodSuccess".to_owned() }),
        ttl_strategy: Some(TtlStrategy {
            seconds_after_success: WEEK_SECONDS,
            seconds_after_failure: WEEK_SECONDS,
        }),
        artifact_gc: Some(ArtifactGc { strategy: "Never".to_owned() }),
        artifact_repository_ref: Some(ArtifactRepositoryRef {
            config_map: access::ARTIFACTS.to_owned(),
            key: access::ARTIFACTS_KEY.to_owned(),
        }),
        archive_logs: Some(true),
        service_account_name: Some(names.train.clone()),
        pod_metadata: Some(PodMetadata { labels: labels(document) }),
        volumes: step::volumes(document, "8Gi", &stages),
        templates: templates.into_iter().chain(last).collect(),
        ..WorkflowSpec::default()
    };
    step::secure(&mut spec)?;
    Ok(Object {
        api_version: API_VERSION.to_owned(),
        kind: "WorkflowTemplate".to_owned(),
        metadata: metadata(&names.train, Some(document)),
        spec,
    })
}

/// Returns what a training can be given.
fn parameters(document: &Document, models: &str) -> Vec<Parameter> {
    let mut parameters = step::parameters();
    let (seed, range) = (document.seed.to_string(), document.range.to_string());
    parameters.extend([
        step::parameter("seed", &seed, "seed of everything random"),
        step::parameter("range", &range, "how much time before the present to train on"),
        step::parameter("models", models, "models of the document to train"),
    ]);
    parameters
}

/// Makes the clock. It gives the scheduled time as the present, so that a start that is made up for
/// trains on the range that it was meant for.
pub(super) fn cron(document: &Document) -> CronWorkflow {
    let names = names(document);
    Object {
        api_version: API_VERSION.to_owned(),
        kind: "CronWorkflow".to_owned(),
        metadata: metadata(&names.retrain, Some(document)),
        spec: CronWorkflowSpec {
            schedules: vec![RETRAIN.to_owned()],
            timezone: "Etc/UTC".to_owned(),
            concurrency_policy: "Forbid".to_owned(),
            starting_deadline_seconds: 3600,
            successful_jobs_history_limit: 3,
            failed_jobs_history_limit: 7,
            workflow_spec: from_template(&names.train),
        },
    }
}

/// Returns the workflow that a clock starts: the template, at the scheduled time.
pub(super) fn from_template(template: &str) -> WorkflowSpec {
    WorkflowSpec {
        workflow_template_ref: Some(WorkflowTemplateRef { name: template.to_owned() }),
        arguments: Some(parameter("now", SCHEDULED_TIME)),
        ..WorkflowSpec::default()
    }
}

pub(super) fn mutex(name: &str) -> Synchronization {
    Synchronization { mutexes: vec![Mutex { name: name.to_owned() }] }
}

pub(super) fn parameter(name: &str, value: &str) -> Arguments {
    let value = Some(value.to_owned());
    Arguments {
        parameters: vec![Parameter { name: name.to_owned(), value, description: None }],
        artifacts: Vec::new(),
    }
}

pub(super) fn declared(names: &[&str]) -> Vec<Parameter> {
    let parameter = |name: &&str| Parameter { name: (*name).to_owned(), ..Parameter::default() };
    names.iter().map(parameter).collect()
}

/// The flags of a task that are the workflow's parameters. They go through the entrypoint's inputs:
/// a default that is itself a reference is resolved there, and not in `workflow.parameters`.
fn passed(task: &Task) -> Result<Vec<&'static str>, StepError> {
    let parameters = task.command.parameters()?;
    Ok(PASSED.into_iter().filter(|name| parameters.contains_key(*name)).collect())
}

/// Returns the condition under which a model is trained: `models` names it.
pub(super) fn is_wanted(model: &str) -> String {
    format!("' {{{{inputs.parameters.models}}}} ' =~ '[ ,]{model}[ ,]'")
}

/// Returns a task's name as Argo allows it: letters, digits and `-`.
fn argo_name(task: &Task) -> String {
    task.name.replace('_', "-")
}

fn dag(pipeline: &str, plan: &Plan) -> Result<Template, StepError> {
    let mut tasks = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let needs = plan.needs(index);
        let given = passed(task)?.into_iter().map(|name| Parameter {
            name: name.to_owned(),
            value: Some(format!("{{{{inputs.parameters.{name}}}}}")),
            description: None,
        });
        let artifacts = input_artifacts(pipeline, plan, index)?;
        let given = Arguments {
            parameters: given.collect(),
            artifacts: artifacts.into_iter().filter_map(|(argument, _)| argument).collect(),
        };
        tasks.push(DagTask {
            name: argo_name(task),
            template: argo_name(task),
            dependencies: needs.into_iter().map(|needed| argo_name(&plan.tasks[needed])).collect(),
            when: task.model().map(is_wanted),
            arguments: (given != Arguments::default()).then_some(given),
        });
    }
    Ok(Template {
        name: ENTRYPOINT.to_owned(),
        inputs: Some(Arguments { parameters: declared(&PASSED), artifacts: Vec::new() }),
        dag: Some(Dag { tasks }),
        ..Template::default()
    })
}

/// Returns the input artifacts of a task, each with the task's argument for it (none for a file
/// that lies in the store beforehand) and the template's declaration.
fn input_artifacts(
    pipeline: &str,
    plan: &Plan,
    index: usize,
) -> Result<Vec<(Option<Artifact>, Artifact)>, StepError> {
    let task = &plan.tasks[index];
    let ports = task.command.inputs();
    let mut found = Vec::new();
    for port in ports.iter().filter(|port| port.name != "document") {
        let path = port.path.display().to_string();
        let writes = |other: &&Task| other.command.outputs().iter().any(|o| o.path == port.path);
        let producer = plan.tasks.iter().find(writes);
        let repeated = ports.iter().filter(|other| other.name == port.name).count() > 1;
        let name = match producer {
            Some(producer) if repeated => format!("{}-{}", port.name, argo_name(producer)),
            _ => port.name.to_owned(),
        };
        let mut declared = Artifact {
            name: name.clone(),
            path: Some(step::input_path(&path, false)?),
            // A model that is not wanted leaves no candidate.
            optional: producer.and_then(Task::model).map(|_| true),
            ..Artifact::default()
        };
        let optional = declared.optional;
        let argument = producer.map(|producer| {
            let (producer, port) = (argo_name(producer), port.name);
            let from = Some(format!("{{{{tasks.{producer}.outputs.artifacts.{port}}}}}"));
            Artifact { name, from, optional, ..Artifact::default() }
        });
        if argument.is_none() {
            let key = format!("inputs/{pipeline}/{}", step::external(&path)?);
            declared.s3 = Some(S3Key { key: as_folder(&key, port.path) });
            declared.archive = Some(Archive::default());
        }
        found.push((argument, declared));
    }
    Ok(found)
}

/// A folder's key ends with `/`: without it Argo would take the folder for a file.
fn as_folder(key: &str, path: &Path) -> String {
    let slash = if path.extension().is_none() { "/" } else { "" };
    format!("{key}{slash}")
}

fn task_template(document: &Document, plan: &Plan, index: usize) -> Result<Template, StepError> {
    let task = &plan.tasks[index];
    let stage = task.command.stage();
    let surroundings = Surroundings {
        document,
        resources: figures::training(stage),
        store_secret: access::TRAINER,
        shares_work: false,
    };
    let mut pod_labels = [label(COMPONENT, stage.name())].to_vec();
    if stage == Stage::Collect {
        pod_labels.push(label(SOURCE, "allowed"));
    }
    let artifacts = input_artifacts(&document.name, plan, index)?;
    let inputs = Arguments {
        parameters: declared(&passed(task)?),
        artifacts: artifacts.into_iter().map(|(_, declared)| declared).collect(),
    };
    Ok(Template {
        name: argo_name(task),
        metadata: Some(PodMetadata { labels: pod_labels.into_iter().collect() }),
        inputs: (inputs != Arguments::default()).then_some(inputs),
        outputs: Some(Arguments {
            parameters: Vec::new(),
            artifacts: output_artifacts(document, task),
        }),
        container: Some(step::container(task, &surroundings)?),
        active_deadline_seconds: Some(figures::STEP_DEADLINE_SECONDS),
        retry_strategy: Some(figures::retry()),
        ..Template::default()
    })
}

/// Makes the template of the page, which comes after all tasks, however they ended: everything that
/// the run left under its keys becomes one folder again.
fn report(document: &Document) -> Result<Template, StepError> {
    let task = train::report(&inputs(document));
    let stage = task.command.stage();
    let surroundings = Surroundings {
        document,
        resources: figures::training(stage),
        store_secret: access::TRAINER,
        shares_work: false,
    };
    let run = Artifact {
        name: "run".to_owned(),
        path: Some(step::input_path(&format!("{WORK}/run"), false)?),
        // A run that was refused at its first task may have left nothing.
        optional: Some(true),
        s3: Some(S3Key { key: format!("runs/{}/{{{{workflow.uid}}}}/", document.name) }),
        archive: Some(Archive::default()),
        ..Artifact::default()
    };
    let mut given = parameter("now", "{{workflow.creationTimestamp.RFC3339}}");
    given.artifacts.push(run);
    Ok(Template {
        name: argo_name(&task),
        metadata: Some(PodMetadata { labels: [label(COMPONENT, stage.name())].into() }),
        inputs: Some(given),
        outputs: Some(Arguments {
            parameters: Vec::new(),
            artifacts: output_artifacts(document, &task),
        }),
        container: Some(step::container(&task, &surroundings)?),
        active_deadline_seconds: Some(figures::STEP_DEADLINE_SECONDS),
        retry_strategy: Some(figures::retry()),
        ..Template::default()
    })
}

/// Returns what a task leaves in the store, under the keys that the same run would have in a folder.
///
/// The outcome and reports come first: Argo uploads in this order, after a refusal too, and stops at
/// the first that is absent.
pub(super) fn output_artifacts(document: &Document, task: &Task) -> Vec<Artifact> {
    let artifact = |name: &str, path: &Path| Artifact {
        name: name.to_owned(),
        path: Some(path.display().to_string()),
        s3: Some(S3Key {
            key: as_folder(
                &format!(
                    "runs/{}/{{{{workflow.uid}}}}/{}",
                    document.name,
                    path.strip_prefix(WORK).unwrap_or(path).display()
                ),
                path,
            ),
        }),
        archive: Some(Archive::default()),
        ..Artifact::default()
    };
    let mut ports = task.command.outputs();
    let is_report = |path: &Path| path.extension().is_some_and(|extension| extension == "json");
    ports.sort_by_key(|port| !is_report(port.path));
    let outcome = step::outcome(task);
    let mut artifacts = vec![artifact("outcome", Path::new(&outcome))];
    artifacts.extend(ports.iter().map(|port| artifact(port.name, port.path)));
    artifacts
}
