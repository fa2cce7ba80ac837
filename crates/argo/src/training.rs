//! The training plan as a `WorkflowTemplate`, and the `CronWorkflows` that start it.

use std::path::Path;

use contract::steps::StepCommand;
use contract::{Stage, StepError, Timestamp};
use document::Document;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use plan::{Inputs, Plan, RUN, train};

use super::cluster::Object;
use super::group::{self, Group, PASSED, argo_name, groups, output_artifacts};
use super::resources;
use super::step::{self, INPUTS, Surroundings, WORK};
use super::workflow::{
    Archive, Arguments, Artifact, ArtifactGc, CronWorkflow, CronWorkflowSpec, Dag, DagTask, Mutex,
    Parameter, PodGc, PodMetadata, S3Key, StopStrategy, Synchronization, Template, TtlStrategy,
    WorkflowSpec, WorkflowTemplate, WorkflowTemplateRef,
};
use super::{
    COLLECTED, ITEM, SHARD, access, any_shard, exit_handler, label, labels, lists_shards, metadata,
    names, over_shards,
};

pub(super) const API_VERSION: &str = "argoproj.io/v1alpha1";
pub(super) const SCHEDULED_TIME: &str = "{{workflow.scheduledTime}}";
const CREATED: &str = "{{workflow.creationTimestamp.RFC3339}}";
/// A time at night at which few other jobs run.
const RETRAIN: &str = "17 3 * * *";
/// How often the first training is started until one has produced a model.
const FIRST: &str = "*/10 * * * *";
/// Size limit of the files of one pod.
pub(super) const WORK_SIZE: &str = "8Gi";
const WEEK_SECONDS: u32 = 7 * 86_400;
/// The first template. Tasks are named after stages, so none has this name.
const ENTRYPOINT: &str = "training";
/// The task that trains each shard.
const SHARDS: &str = "shards";

/// Returns the inputs of a plan as it runs in pods.
pub(super) fn inputs(document: &Document) -> Inputs<'_> {
    Inputs {
        document,
        base: Path::new(INPUTS),
        folder: Path::new(WORK),
        store: "{{workflow.parameters.store}}",
        // Placeholder; printing the flags replaces it by a reference.
        now: Timestamp::from_ms(0),
    }
}

/// Makes the template, from which users start trainings and which the `CronWorkflows` reference.
pub(super) fn template(document: &Document) -> Result<WorkflowTemplate, StepError> {
    let inputs = inputs(document);
    let lists_shards = lists_shards(document);
    let whole = if lists_shards { train::plan_of_ends(&inputs) } else { train::plan(&inputs) }?;
    // The pods of a shard run the same tasks as those of a whole pipeline, up to the bundle.
    let mut plan = match any_shard(document) {
        Some(shard) => train::plan_of_shard(&inputs, shard)?,
        None => whole.clone(),
    };
    let models = document.trained().join(",");
    take_parameters(&mut plan, document, &models);
    let groups = groups(&plan);
    let mut templates = match over_shards(document, COLLECTED)? {
        Some(shards) => of_shards(document, shards, &models, &taken(&plan, &groups)?)?,
        None => Vec::new(),
    };
    templates.push(dag(&document.name, &plan, &groups)?);
    for group in &groups {
        templates.push(group.template(document, &plan, &groups)?);
    }
    let last = exit_handler::templates(document, &whole, report(document)?)?;
    let mut stages = vec![Stage::Collect];
    // The message task of a training exists where notification is enabled.
    stages.extend((last.len() > 1).then_some(Stage::Alert));
    let names = names(document);
    let mut spec = WorkflowSpec {
        entrypoint: Some(ENTRYPOINT.to_owned()),
        on_exit: last.first().map(|template| template.name.clone()),
        arguments: Some(Arguments {
            parameters: parameters(document, &models),
            artifacts: Vec::new(),
        }),
        active_deadline_seconds: Some(resources::TRAINING_DEADLINE_SECONDS),
        parallelism: Some(resources::PARALLELISM),
        synchronization: Some(mutex(&names.train)),
        pod_gc: Some(PodGc { strategy: "OnPodSuccess".to_owned() }),
        ttl_strategy: Some(TtlStrategy {
            seconds_after_success: WEEK_SECONDS,
            seconds_after_failure: WEEK_SECONDS,
        }),
        artifact_gc: Some(ArtifactGc { strategy: "Never".to_owned() }),
        artifact_repository_ref: Some(access::artifacts()),
        archive_logs: Some(true),
        service_account_name: Some(names.train.clone()),
        pod_metadata: Some(PodMetadata { labels: labels(document) }),
        volumes: step::volumes(document, WORK_SIZE, &stages),
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

/// Sets the flags whose values are parameters of the workflow.
fn take_parameters(plan: &mut Plan, document: &Document, models: &str) {
    for task in &mut plan.tasks {
        if let StepCommand::Collect(args) = &mut task.command {
            args.range = Some(document.range);
        }
        if let StepCommand::Select(args) = &mut task.command {
            args.models = vec![models.to_owned()];
        }
    }
}

/// Returns the parameters of a training.
fn parameters(document: &Document, models: &str) -> Vec<Parameter> {
    let mut parameters = step::parameters(CREATED);
    let (seed, range) = (document.seed.to_string(), document.range.to_string());
    parameters.extend([
        step::parameter("seed", &seed, "seed of everything random"),
        step::parameter("range", &range, "how much time before `now` to train on"),
        step::parameter("models", models, "models of the document to train"),
    ]);
    parameters
}

/// Makes the `CronWorkflow` that retrains each night. It passes the scheduled time as `now`, so a
/// late start trains on the planned range.
pub(super) fn retrain(document: &Document) -> CronWorkflow {
    cron(document, &names(document).retrain, RETRAIN)
}

/// Makes the `CronWorkflow` that starts the first training after the installation. It tries again
/// while there is too little data, and stops permanently once a training has succeeded.
pub(super) fn first(document: &Document) -> CronWorkflow {
    let mut cron = cron(document, &names(document).first, FIRST);
    let expression = "cronworkflow.succeeded >= 1".to_owned();
    cron.spec.stop_strategy = Some(StopStrategy { expression });
    cron.spec.starting_deadline_seconds = 300;
    cron
}

fn cron(document: &Document, name: &str, schedule: &str) -> CronWorkflow {
    Object {
        api_version: API_VERSION.to_owned(),
        kind: "CronWorkflow".to_owned(),
        metadata: cron_metadata(name, document),
        spec: CronWorkflowSpec {
            schedules: vec![schedule.to_owned()],
            timezone: "Etc/UTC".to_owned(),
            concurrency_policy: "Forbid".to_owned(),
            starting_deadline_seconds: 3600,
            successful_jobs_history_limit: 3,
            failed_jobs_history_limit: 7,
            stop_strategy: None,
            workflow_spec: WorkflowSpec {
                workflow_template_ref: Some(WorkflowTemplateRef { name: names(document).train }),
                arguments: Some(parameter("now", SCHEDULED_TIME)),
                ..WorkflowSpec::default()
            },
        },
    }
}

/// Returns the metadata of a `CronWorkflow`. Argo CD applies it after the objects that it
/// references: Argo looks for an unknown template again only after 20 minutes.
pub(super) fn cron_metadata(name: &str, document: &Document) -> ObjectMeta {
    let mut metadata = metadata(name, Some(document));
    metadata.annotations = Some([label("argocd.argoproj.io/sync-wave", "1")].into());
    metadata
}

pub(super) fn mutex(name: &str) -> Synchronization {
    Synchronization { mutexes: vec![Mutex { name: name.to_owned() }] }
}

pub(super) fn parameter(name: &str, value: &str) -> Arguments {
    Arguments { parameters: vec![handed_on(name, value)], artifacts: Vec::new() }
}

/// Returns a parameter with its value.
pub(super) fn handed_on(name: &str, value: &str) -> Parameter {
    Parameter { name: name.to_owned(), value: Some(value.to_owned()), ..Parameter::default() }
}

/// Returns a parameter with the value of the template's own input of that name.
pub(super) fn passed_on(name: &str) -> Parameter {
    handed_on(name, &format!("{{{{inputs.parameters.{name}}}}}"))
}

pub(super) fn declared(names: &[&str]) -> Vec<Parameter> {
    let parameter = |name: &&str| Parameter { name: (*name).to_owned(), ..Parameter::default() };
    names.iter().map(parameter).collect()
}

/// Returns the condition under which a model is trained: `models` names it.
pub(super) fn is_wanted(model: &str) -> String {
    format!("' {{{{inputs.parameters.models}}}} ' =~ '[ ,]{model}[ ,]'")
}

/// Makes the entrypoint of a pipeline with shards: it collects the samples of all shards, trains
/// each shard up to its bundle, and then makes one version of all bundles. Also returns the
/// templates of the first and the last task.
fn of_shards(
    document: &Document,
    shards: String,
    models: &str,
    passed: &[&str],
) -> Result<Vec<Template>, StepError> {
    let mut samples = train::plan_of_samples(&inputs(document))?;
    take_parameters(&mut samples, document, models);
    let collecting = groups(&samples);
    let collect = dag(&document.name, &samples, &collecting)?.dag.unwrap_or_default().tasks;
    let item = handed_on(SHARD, ITEM);
    let each = DagTask {
        name: SHARDS.to_owned(),
        template: SHARD.to_owned(),
        arguments: Some(Arguments {
            parameters: passed.iter().map(|name| passed_on(name)).chain([item]).collect(),
            artifacts: Vec::new(),
        }),
        with_param: Some(shards),
        dependencies: collect.iter().map(|task| task.name.clone()).collect(),
        ..DagTask::default()
    };
    let version = train::plan_of_version(&inputs(document))?;
    let groups = groups(&version);
    let mut entrypoint = dag(&document.name, &version, &groups)?;
    if let Some(dag) = &mut entrypoint.dag {
        dag.tasks.iter_mut().for_each(|task| task.dependencies = vec![SHARDS.to_owned()]);
        dag.tasks =
            collect.into_iter().chain([each]).chain(std::mem::take(&mut dag.tasks)).collect();
    }
    let first = collecting.iter().map(|group| group.template(document, &samples, &collecting));
    let last = groups.iter().map(|group| group.template(document, &version, &groups));
    std::iter::once(Ok(entrypoint)).chain(first).chain(last).collect()
}

/// Returns the workflow's parameters that the pods of a plan use.
fn taken(plan: &Plan, groups: &[Group]) -> Result<Vec<&'static str>, StepError> {
    let taken: Vec<Vec<&str>> =
        groups.iter().map(|group| group.passed(plan)).collect::<Result<_, _>>()?;
    let is_taken = |name: &&str| taken.iter().any(|names| names.contains(name));
    Ok(PASSED.into_iter().filter(is_taken).collect())
}

/// Makes the DAG of a whole pipeline (the entrypoint) or of a shard.
fn dag(pipeline: &str, plan: &Plan, groups: &[Group]) -> Result<Template, StepError> {
    let mut tasks = Vec::new();
    for group in groups {
        let given = group.passed(plan)?.into_iter().map(passed_on);
        let artifacts = group.inputs(pipeline, plan, groups)?;
        let given = Arguments {
            parameters: given.collect(),
            artifacts: artifacts.into_iter().filter_map(|(argument, _)| argument).collect(),
        };
        let name = group.name(plan);
        tasks.push(DagTask {
            template: name.clone(),
            name,
            dependencies: group.needs(plan, groups),
            when: group.model(plan).map(is_wanted),
            arguments: (given != Arguments::default()).then_some(given),
            ..DagTask::default()
        });
    }
    let shard = plan.shard().map(|_| SHARD);
    let passed = if shard.is_some() { taken(plan, groups)? } else { PASSED.to_vec() };
    let names: Vec<&str> = passed.into_iter().chain(shard).collect();
    Ok(Template {
        name: shard.unwrap_or(ENTRYPOINT).to_owned(),
        inputs: Some(Arguments { parameters: declared(&names), artifacts: Vec::new() }),
        dag: Some(Dag { tasks, ..Dag::default() }),
        ..Template::default()
    })
}

/// Makes the template of the report page, which runs after all tasks, whether they succeeded or
/// failed. All outputs of the run in the store become its input folder.
fn report(document: &Document) -> Result<Template, StepError> {
    let mut task = train::report(&inputs(document));
    if let StepCommand::Report(args) = &mut task.command {
        args.record = Some(Path::new(WORK).join("record"));
        args.run_name = Some("{{workflow.uid}}".to_owned());
    }
    let stage = task.command.stage();
    let surroundings = Surroundings::of_training(document, &task, false);
    let run = Artifact {
        name: RUN.to_owned(),
        path: Some(step::input_path(&format!("{WORK}/{RUN}"), false)?),
        // A run that failed at its first task may have no outputs.
        optional: Some(true),
        s3: Some(S3Key { key: group::run_key(&document.name) }),
        archive: Some(Archive::default()),
        ..Artifact::default()
    };
    let mut given = parameter("now", "{{workflow.creationTimestamp.RFC3339}}");
    given.artifacts.push(run);
    Ok(Template {
        name: argo_name(&task),
        metadata: Some(step::pod_labels(stage.name(), &[stage])),
        inputs: Some(given),
        outputs: Some(Arguments {
            parameters: Vec::new(),
            artifacts: output_artifacts(document, &task, ""),
        }),
        container: Some(step::container(&task, &surroundings)?),
        active_deadline_seconds: Some(IntOrString::Int(resources::STEP_DEADLINE_SECONDS)),
        retry_strategy: Some(resources::retry()),
        ..Template::default()
    })
}
