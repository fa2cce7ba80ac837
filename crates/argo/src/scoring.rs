//! The scoring plan as one pod with a container for each step, and the `CronWorkflow` that starts
//! it each minute.

use contract::steps::StepCommand;
use contract::{Shard, Span, Stage, StepError};
use document::Document;
use k8s_openapi::api::core::v1::Volume;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use plan::{Plan, Task};

use super::cluster::Object;
use super::group::{Group, argo_name, list_of_shards, output_artifacts};
use super::resources;
use super::step::{self, MAIN, Surroundings};
use super::training::{
    API_VERSION, SCHEDULED_TIME, cron_metadata, declared, handed_on, inputs, mutex, parameter,
    passed_on,
};
use super::workflow::{
    Arguments, Artifact, ContainerOfSet, ContainerSet, CronWorkflow, CronWorkflowSpec, Dag,
    DagTask, Parameter, PodGc, PodMetadata, Template, TtlStrategy, WorkflowSpec,
};
use super::{
    COLLECTED, COLLECTED_BEFORE, ITEM, ITEM_COUNT, SHARD, SHARD_COUNT, TICK, access, any_shard,
    labels, lists_shards, names, over_shards,
};

/// Less than the minute between two ticks, so that a late tick never starts beside the next one.
const STARTING_DEADLINE_SECONDS: u32 = 50;

/// The template of the exit handler. Tasks are named after stages, so no task has this name.
const ENDING: &str = "ending";
/// The template of a tick, and the template of the ticks of all shards.
const SCORE: &str = "score";
const SHARDS: &str = "shards";

/// Pods that run at the same time if the number of shards is not known.
const PARALLELISM: u32 = 32;

/// Parts of a tick's time that each step may take in a pod, and each step of the pods that follow a
/// failure. After a step exceeds its deadline, no other step of its pod runs. Argo adds about 15 s
/// to a pod: 5 s until its first container runs, and up to 10 s until the controller notices its
/// end. So a tick always ends before the next one starts, even if a step hangs.
const STEP_SHARE: f64 = 0.3;
const ENDING_SHARE: f64 = 0.2;

/// Makes the `CronWorkflow`, which contains its workflow: Argo ignores a `CronWorkflow` that is
/// applied before the template that it references. A failed pod is not retried: the next tick
/// starts at the watermark and scores what was missed.
pub(super) fn cron(document: &Document) -> Result<CronWorkflow, StepError> {
    let names = names(document);
    Ok(Object {
        api_version: API_VERSION.to_owned(),
        kind: "CronWorkflow".to_owned(),
        metadata: cron_metadata(&names.score, document),
        spec: CronWorkflowSpec {
            schedules: vec![schedule(document.scoring.every)?],
            timezone: "Etc/UTC".to_owned(),
            concurrency_policy: "Forbid".to_owned(),
            starting_deadline_seconds: STARTING_DEADLINE_SECONDS,
            successful_jobs_history_limit: 3,
            failed_jobs_history_limit: 10,
            stop_strategy: None,
            workflow_spec: workflow(document)?,
        },
    })
}

fn workflow(document: &Document) -> Result<WorkflowSpec, StepError> {
    let (inputs, shard) = (inputs(document), any_shard(document));
    let listed = shard.filter(|_| lists_shards(document));
    let mut plan = match listed {
        Some(shard) => plan::score::plan_of_shard(&inputs, shard)?,
        None => plan::score::plan_of_pod(&inputs, shard)?,
    };
    adapt(document, &mut plan);
    let names = names(document);
    let volumes = step::volumes(document, "1Gi", &[&[Stage::Collect], &*stages(&plan)].concat());
    let mut templates = vec![score(document, &plan, &volumes)?];
    let shards = over_shards(document, COLLECTED)?;
    if let Some(shards) = &shards {
        let collect = listed.map(|shard| collecting(document, shard)).transpose()?;
        templates.push(of_shards(shards, collect.as_ref()));
        templates.extend(collect);
    }
    templates.extend(ending(document, &plan)?);
    let mut spec = WorkflowSpec {
        entrypoint: Some(if shards.is_some() { SHARDS } else { SCORE }.to_owned()),
        on_exit: Some(ENDING.to_owned()),
        arguments: Some(Arguments {
            parameters: step::parameters(SCHEDULED_TIME),
            artifacts: Vec::new(),
        }),
        active_deadline_seconds: Some(resources::SCORING_DEADLINE_SECONDS.into()),
        // The pods of the shards run in parallel; after a failure two pods run in parallel.
        parallelism: Some(listed.map_or(2 * document.shards.number(), |_| PARALLELISM)),
        synchronization: Some(mutex(&names.score)),
        pod_gc: Some(PodGc { strategy: "OnPodSuccess".to_owned() }),
        ttl_strategy: Some(TtlStrategy {
            seconds_after_success: 600,
            seconds_after_failure: 86_400,
        }),
        service_account_name: Some(names.score.clone()),
        artifact_repository_ref: Some(access::artifacts()),
        archive_logs: Some(false),
        pod_metadata: Some(PodMetadata { labels: labels(document) }),
        volumes,
        templates,
        ..WorkflowSpec::default()
    };
    step::secure(&mut spec)?;
    Ok(spec)
}

fn stages(plan: &Plan) -> Vec<Stage> {
    plan.tasks.iter().map(|task| task.command.stage()).collect()
}

/// Makes the template of a tick of a shard, or of the whole pipeline: one pod.
fn score(document: &Document, plan: &Plan, volumes: &[Volume]) -> Result<Template, StepError> {
    let group = Group::whole(plan);
    let mut artifacts: Vec<Artifact> = group
        .inputs(&document.name, plan, std::slice::from_ref(&group))?
        .into_iter()
        .map(|(_, declared)| declared)
        .collect();
    of_tick(&mut artifacts);
    let mut containers = set(document, plan)?;
    if let Some(last) = containers.last_mut().filter(|_| !artifacts.is_empty()) {
        // Argo gives artifacts of a set only to the container of this name; it sorts after the
        // numbered ones.
        MAIN.clone_into(&mut last.container.name);
    }
    let set = ContainerSet { volume_mounts: vec![step::work_mount()], containers };
    let shard = plan.shard().map(|_| [SHARD, SHARD_COUNT]);
    let names: Vec<&str> = ["now"].into_iter().chain(shard.into_iter().flatten()).collect();
    Ok(Template {
        name: SCORE.to_owned(),
        metadata: Some(step::pod_labels(SCORE, &stages(plan))),
        inputs: Some(Arguments { parameters: declared(&names), artifacts }),
        active_deadline_seconds: Some(IntOrString::Int(resources::SCORING_DEADLINE_SECONDS)),
        pod_spec_patch: step::volumes_patch(volumes, &set)?,
        container_set: Some(set),
        ..Template::default()
    })
}

/// Makes the template that collects the samples of all shards once, and lists the shards, where the
/// document leaves their number open.
fn collecting(document: &Document, shard: Shard) -> Result<Template, StepError> {
    let mut plan = plan::score::plan_of_samples(&inputs(document), shard)?;
    adapt(document, &mut plan);
    let [task] = plan.tasks.as_slice() else {
        return Err(StepError::bug("the samples of a tick are not collected by one task"));
    };
    let mut artifacts = output_artifacts(document, task, "");
    of_tick(&mut artifacts);
    let list = list_of_shards(task).into_iter().collect();
    Ok(Template {
        name: argo_name(task),
        metadata: Some(step::pod_labels(task.command.stage().name(), &stages(&plan))),
        inputs: Some(Arguments { parameters: declared(&["now"]), artifacts: Vec::new() }),
        outputs: Some(Arguments { parameters: list, artifacts }),
        container: Some(step::container(task, &Surroundings::of_scoring(document, task, false))?),
        active_deadline_seconds: Some(IntOrString::Int(resources::SCORING_DEADLINE_SECONDS)),
        ..Template::default()
    })
}

/// Replaces the run in the keys of artifacts: every tick writes the same keys, so that the samples
/// of each minute do not stay in the store.
fn of_tick(artifacts: &mut [Artifact]) {
    for s3 in artifacts.iter_mut().filter_map(|artifact| artifact.s3.as_mut()) {
        s3.key = s3.key.replace("{{workflow.uid}}", TICK);
    }
}

/// Makes the entrypoint of a pipeline with shards: one pod for each, after the pod that collects
/// for all if there is one. A failed shard does not prevent the others from scoring.
fn of_shards(shards: &str, collect: Option<&Template>) -> Template {
    let with = |parameters| Some(Arguments { parameters, artifacts: Vec::new() });
    let first = collect.map(|collect| DagTask {
        name: collect.name.clone(),
        template: collect.name.clone(),
        arguments: with(vec![passed_on("now")]),
        ..DagTask::default()
    });
    let each = DagTask {
        name: SCORE.to_owned(),
        template: SCORE.to_owned(),
        arguments: with([vec![passed_on("now")], of_item()].concat()),
        with_param: Some(shards.to_owned()),
        dependencies: first.iter().map(|task| task.name.clone()).collect(),
        ..DagTask::default()
    };
    Template {
        name: SHARDS.to_owned(),
        inputs: with(declared(&["now"])),
        dag: Some(Dag { fail_fast: Some(false), tasks: first.into_iter().chain([each]).collect() }),
        ..Template::default()
    }
}

/// Returns the parameters of a shard in a loop over the shards.
fn of_item() -> Vec<Parameter> {
    vec![handed_on(SHARD, ITEM), handed_on(SHARD_COUNT, ITEM_COUNT)]
}

/// Sets the message of `score` for a pipeline without model, and removes the failed tasks of
/// `alert`: its container runs only after all others succeeded, and another pod runs after a
/// failure.
fn adapt(document: &Document, plan: &mut Plan) {
    let names = names(document);
    for task in &mut plan.tasks {
        if let StepCommand::Score(args) = &mut task.command {
            args.no_model_hint = Some(format!(
                "a training creates a model: CronWorkflow {} starts it, or now: argo submit --from \
                 workflowtemplate/{}",
                names.retrain, names.train
            ));
        }
        if let StepCommand::Alert(args) = &mut task.command {
            args.tick.clear();
        }
        limit(document, task, STEP_SHARE);
    }
}

/// Sets the deadline of a task that has one to its share of a tick's time.
fn limit(document: &Document, task: &mut Task, share: f64) {
    if let Some(deadline) = &mut task.command.common_mut().deadline {
        *deadline = plan::score::share(document, share);
    }
}

/// Makes the containers of the plan. They are numbered because Argo uses the first failed container
/// by name for the workflow's message, and containers after the cause report only that they did not
/// run.
fn set(document: &Document, plan: &Plan) -> Result<Vec<ContainerOfSet>, StepError> {
    let name = |index: usize| format!("{}-{}", index + 1, plan.tasks[index].name);
    let mut containers = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let mut container = step::container(task, &Surroundings::of_scoring(document, task, true))?;
        container.name = name(index);
        let dependencies = plan.needs(index).into_iter().map(name).collect();
        containers.push(ContainerOfSet { container, dependencies });
    }
    Ok(containers)
}

/// Makes the tasks that run after a failed tick, in separate pods: waiting messages are sent,
/// firing alerts are repeated, the reason is written to the store, and sinks get their missing
/// windows. After a successful tick they do not run.
fn ending(document: &Document, plan: &Plan) -> Result<Vec<Template>, StepError> {
    let last = plan.tasks.iter().filter_map(|task| {
        let failed = "{{workflow.failures}}".to_owned();
        let command = task.command.after_failure(Some(failed))?;
        let mut task = Task::new(task.name.clone(), command);
        limit(document, &mut task, ENDING_SHARE);
        Some(task)
    });
    let last: Vec<Task> = last.collect();
    let shards = over_shards(document, COLLECTED_BEFORE)?;
    let tell = |task: &Task| DagTask {
        name: task.name.clone(),
        template: task.name.clone(),
        when: Some("{{workflow.status}} != Succeeded".to_owned()),
        arguments: shards
            .is_some()
            .then(|| Arguments { parameters: of_item(), artifacts: Vec::new() }),
        with_param: shards.clone(),
        ..DagTask::default()
    };
    let mut templates = vec![Template {
        name: ENDING.to_owned(),
        dag: Some(Dag { tasks: last.iter().map(tell).collect(), ..Dag::default() }),
        ..Template::default()
    }];
    for task in &last {
        let stage = task.command.stage();
        let mut given = parameter("now", SCHEDULED_TIME);
        let shard = plan.shard().map(|_| declared(&[SHARD, SHARD_COUNT]));
        given.parameters.extend(shard.into_iter().flatten());
        templates.push(Template {
            name: task.name.clone(),
            metadata: Some(step::pod_labels(stage.name(), &[stage])),
            inputs: Some(given),
            container: Some(step::container(
                task,
                &Surroundings::of_scoring(document, task, false),
            )?),
            active_deadline_seconds: Some(IntOrString::Int(resources::SCORING_DEADLINE_SECONDS)),
            ..Template::default()
        });
    }
    Ok(templates)
}

/// Returns the cron expression for a start each `every`. Cron starts at most once a minute; each
/// start scores all windows that are due.
fn schedule(every: Span) -> Result<String, StepError> {
    let minutes = every.ms() / 60_000;
    let whole = every.ms() % 60_000 == 0;
    match minutes {
        0 | 1 => Ok("* * * * *".to_owned()),
        2..=30 if whole && 60 % minutes == 0 => Ok(format!("*/{minutes} * * * *")),
        60 if whole => Ok("0 * * * *".to_owned()),
        61..=720 if whole && minutes % 60 == 0 && 24 % (minutes / 60) == 0 => {
            Ok(format!("0 */{} * * *", minutes / 60))
        }
        1440 if whole => Ok("0 0 * * *".to_owned()),
        _ => Err(StepError::usage(format!(
            "`scoring.every`: `{every}` does not divide an hour or a day"
        ))
        .hint("use a value such as 1m, 5m, 15m or 1h for a pipeline that a CronWorkflow starts")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_becomes_a_cron_expression_or_is_refused() {
        let of = |text: &str| schedule(text.parse().unwrap());
        for (every, cron) in [
            ("10s", "* * * * *"),
            ("1m", "* * * * *"),
            ("5m", "*/5 * * * *"),
            ("30m", "*/30 * * * *"),
            ("1h", "0 * * * *"),
            ("6h", "0 */6 * * *"),
            ("1d", "0 0 * * *"),
        ] {
            assert_eq!(of(every).unwrap(), cron, "{every}");
        }
        for every in ["7m", "45m", "90m", "5h", "2d", "2m30s"] {
            assert!(of(every).is_err(), "{every}");
        }
    }
}
