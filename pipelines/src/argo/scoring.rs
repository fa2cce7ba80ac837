//! The scoring plan as one pod of four containers, and the clock that starts it each minute.

use contract::steps::StepCommand;
use contract::{Span, Stage, StepError};
use document::Document;

use super::cluster::Object;
use super::figures;
use super::step::{self, Surroundings};
use super::training::{API_VERSION, declared, from_template, inputs, mutex};
use super::workflow::{
    Arguments, ContainerSet, CronWorkflow, CronWorkflowSpec, PodGc, PodMetadata, Template,
    TtlStrategy, WorkflowSpec, WorkflowTemplate,
};
use super::{ALERT, COMPONENT, METRICS, SOURCE, access, label, labels, metadata, names};
use crate::plan::Plan;

/// Less than the minute between two ticks, so that a tick is never made up for beside the next one.
const STARTING_DEADLINE_SECONDS: u32 = 50;

/// Makes the template. A pod that fails is not tried again: the next tick starts at the watermark
/// and makes up for it.
pub(super) fn template(document: &Document) -> Result<WorkflowTemplate, StepError> {
    let mut plan = crate::score::plan(&inputs(document))?;
    say_when_there_is_no_model(document, &mut plan);
    let mut containers = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let surroundings = Surroundings {
            document,
            resources: figures::scoring(task.command.stage()),
            store_secret: access::SCORER,
            shares_work: true,
        };
        let mut container = step::container(task, &surroundings)?;
        container.name.clone_from(&task.name);
        container.dependencies =
            plan.needs(index).into_iter().map(|needed| plan.tasks[needed].name.clone()).collect();
        containers.push(container);
    }
    let names = names(document);
    let stages: Vec<Stage> = plan.tasks.iter().map(|task| task.command.stage()).collect();
    let mut pod_labels = vec![label(COMPONENT, "score")];
    pod_labels.extend([SOURCE, METRICS, ALERT].map(|way| label(way, "allowed")));
    let mut spec = WorkflowSpec {
        entrypoint: Some("score".to_owned()),
        arguments: Some(Arguments { parameters: step::parameters(), artifacts: Vec::new() }),
        active_deadline_seconds: Some(figures::SCORING_DEADLINE_SECONDS),
        parallelism: Some(1),
        synchronization: Some(mutex(&names.score)),
        pod_gc: Some(PodGc { strategy: "OnPodSuccess".to_owned() }),
        ttl_strategy: Some(TtlStrategy {
            seconds_after_success: 600,
            seconds_after_failure: 86_400,
        }),
        service_account_name: Some(names.score.clone()),
        archive_logs: Some(false),
        pod_metadata: Some(PodMetadata { labels: labels(document) }),
        volumes: step::volumes(document, "1Gi", &stages),
        templates: vec![Template {
            name: "score".to_owned(),
            metadata: Some(PodMetadata { labels: pod_labels.into_iter().collect() }),
            inputs: Some(Arguments { parameters: declared(&["now"]), artifacts: Vec::new() }),
            container_set: Some(ContainerSet {
                volume_mounts: vec![step::work_mount()],
                containers,
            }),
            active_deadline_seconds: Some(figures::SCORING_DEADLINE_SECONDS),
            ..Template::default()
        }],
        ..WorkflowSpec::default()
    };
    step::secure(&mut spec)?;
    Ok(Object {
        api_version: API_VERSION.to_owned(),
        kind: "WorkflowTemplate".to_owned(),
        metadata: metadata(&names.score, Some(document)),
        spec,
    })
}

/// Lets `score` say what makes the first model here.
fn say_when_there_is_no_model(document: &Document, plan: &mut Plan) {
    let names = names(document);
    for task in &mut plan.tasks {
        if let StepCommand::Score(args) = &mut task.command {
            args.no_model_hint = Some(format!(
                "a training makes one: CronWorkflow {} starts it, or now: argo submit --from workflowtemplate/{}",
                names.retrain, names.train
            ));
        }
    }
}

/// Makes the clock.
pub(super) fn cron(document: &Document) -> Result<CronWorkflow, StepError> {
    let names = names(document);
    Ok(Object {
        api_version: API_VERSION.to_owned(),
        kind: "CronWorkflow".to_owned(),
        metadata: metadata(&names.score, Some(document)),
        spec: CronWorkflowSpec {
            schedules: vec![schedule(document.scoring.every)?],
            timezone: "Etc/UTC".to_owned(),
            concurrency_policy: "Forbid".to_owned(),
            starting_deadline_seconds: STARTING_DEADLINE_SECONDS,
            successful_jobs_history_limit: 3,
            failed_jobs_history_limit: 10,
            workflow_spec: from_template(&names.score),
        },
    })
}

/// Returns the cron expression for a start each `every`; a clock of minutes starts nothing more
/// often, and each start scores all windows that are due.
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
        .hint("take 1m, 5m, 15m, 1h or the like for a pipeline that is started by the clock")),
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
