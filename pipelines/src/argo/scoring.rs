//! The scoring plan as one pod with a container for each step, and the `CronWorkflow` that starts
//! it each minute.

use contract::steps::StepCommand;
use contract::{Span, Stage, StepError};
use document::Document;

use super::cluster::Object;
use super::figures;
use super::outside::Outside;
use super::step::{self, Surroundings};
use super::training::{
    API_VERSION, SCHEDULED_TIME, cron_metadata, declared, handed_on, inputs, mutex, parameter,
    passed_on,
};
use super::workflow::{
    Arguments, ContainerSet, CronWorkflow, CronWorkflowSpec, Dag, DagTask, PodGc, PodMetadata,
    Sequence, Template, TtlStrategy, WorkflowSpec,
};
use super::{COMPONENT, ITEM, SHARD, access, any_shard, label, labels, names, over_shards};
use crate::plan::{Plan, Task};

/// Less than the minute between two ticks, so that a late tick never starts beside the next one.
const STARTING_DEADLINE_SECONDS: u32 = 50;

/// The template of the exit handler. Tasks are named after stages, so no task has this name.
const ENDING: &str = "ending";
/// The template of a tick, and the template of the ticks of all shards.
const SCORE: &str = "score";
const SHARDS: &str = "shards";

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
    let mut plan = crate::score::plan_of_pod(&inputs(document), any_shard(document))?;
    adapt(document, &mut plan);
    let names = names(document);
    let stages: Vec<Stage> = plan.tasks.iter().map(|task| task.command.stage()).collect();
    let volumes = step::volumes(document, "1Gi", &stages);
    let set =
        ContainerSet { volume_mounts: vec![step::work_mount()], containers: set(document, &plan)? };
    let mut pod_labels = vec![label(COMPONENT, "score")];
    pod_labels.extend(stages.iter().filter_map(|stage| Some(Outside::of(*stage)?.label())));
    let score = Template {
        name: SCORE.to_owned(),
        metadata: Some(PodMetadata { labels: pod_labels.into_iter().collect() }),
        inputs: Some(Arguments { parameters: declared(&given(&plan)), artifacts: Vec::new() }),
        active_deadline_seconds: Some(figures::SCORING_DEADLINE_SECONDS),
        pod_spec_patch: step::volumes_patch(&volumes, &set)?,
        container_set: Some(set),
        ..Template::default()
    };
    let shards = over_shards(document);
    let mut templates = vec![score];
    templates.extend(shards.clone().map(of_shards));
    templates.extend(ending(document, &plan)?);
    let mut spec = WorkflowSpec {
        entrypoint: Some(if shards.is_some() { SHARDS } else { SCORE }.to_owned()),
        on_exit: Some(ENDING.to_owned()),
        arguments: Some(Arguments {
            parameters: step::parameters(SCHEDULED_TIME),
            artifacts: Vec::new(),
        }),
        active_deadline_seconds: Some(figures::SCORING_DEADLINE_SECONDS),
        // The pods of the shards run in parallel; after a failure two pods run in parallel.
        parallelism: Some(2 * document.shards.number()),
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

/// Returns the parameters of the templates of a plan.
fn given(plan: &Plan) -> Vec<&'static str> {
    ["now"].into_iter().chain(plan.shard().map(|_| SHARD)).collect()
}

/// Makes the entrypoint of a pipeline with shards: one pod for each. A failed shard does not
/// prevent the others from scoring.
fn of_shards(shards: Sequence) -> Template {
    let arguments = Arguments {
        parameters: vec![passed_on("now"), handed_on(SHARD, ITEM)],
        artifacts: Vec::new(),
    };
    let each = DagTask {
        name: SCORE.to_owned(),
        template: SCORE.to_owned(),
        arguments: Some(arguments),
        with_sequence: Some(shards),
        ..DagTask::default()
    };
    Template {
        name: SHARDS.to_owned(),
        inputs: Some(Arguments { parameters: declared(&["now"]), artifacts: Vec::new() }),
        dag: Some(Dag { fail_fast: Some(false), tasks: vec![each] }),
        ..Template::default()
    }
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
        *deadline = crate::score::share(document, share);
    }
}

/// Makes the containers of the plan. They are numbered because Argo uses the first failed container
/// by name for the workflow's message, and containers after the cause report only that they did not
/// run.
fn set(document: &Document, plan: &Plan) -> Result<Vec<super::pod::Container>, StepError> {
    let name = |index: usize| format!("{}-{}", index + 1, plan.tasks[index].name);
    let mut containers = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let mut container = step::container(task, &surroundings(document, task, true))?;
        container.name = name(index);
        container.dependencies = plan.needs(index).into_iter().map(name).collect();
        containers.push(container);
    }
    Ok(containers)
}

fn surroundings<'a>(document: &'a Document, task: &Task, shares_work: bool) -> Surroundings<'a> {
    Surroundings {
        document,
        resources: figures::scoring(task.command.stage()),
        store_secret: access::SCORER,
        shares_work,
        // One minute of data is processed faster than a second thread starts.
        threads: 1,
    }
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
    let tell = |task: &Task| DagTask {
        name: task.name.clone(),
        template: task.name.clone(),
        when: Some("{{workflow.status}} != Succeeded".to_owned()),
        arguments: plan.shard().map(|_| parameter(SHARD, ITEM)),
        with_sequence: over_shards(document),
        ..DagTask::default()
    };
    let mut templates = vec![Template {
        name: ENDING.to_owned(),
        dag: Some(Dag { tasks: last.iter().map(tell).collect(), ..Dag::default() }),
        ..Template::default()
    }];
    for task in &last {
        let stage = task.command.stage();
        let mut pod_labels = vec![label(COMPONENT, stage.name())];
        pod_labels.extend(Outside::of(stage).map(|outside| outside.label()));
        let mut given = parameter("now", SCHEDULED_TIME);
        given.parameters.extend(plan.shard().into_iter().flat_map(|_| declared(&[SHARD])));
        templates.push(Template {
            name: task.name.clone(),
            metadata: Some(PodMetadata { labels: pod_labels.into_iter().collect() }),
            inputs: Some(given),
            container: Some(step::container(task, &surroundings(document, task, false))?),
            active_deadline_seconds: Some(figures::SCORING_DEADLINE_SECONDS),
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
