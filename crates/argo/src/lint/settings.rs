//! Checks deadlines, mutexes, retries and garbage collection.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::objects::Objects;
use super::{Finding, Report, values};
use crate::cluster::name_of;
use crate::resources;
use crate::workflow::{CronWorkflow, Template, WorkflowSpec};

pub(super) fn workflow(spec: &WorkflowSpec, report: &mut Report<'_>) {
    if spec.active_deadline_seconds.is_none() {
        report.say("deadline", "the workflow has no time limit: activeDeadlineSeconds is missing");
    }
    if spec.parallelism.is_none() {
        report.say("settings", "the workflow may start any number of pods: parallelism is missing");
    }
    if spec.synchronization.as_ref().is_none_or(|locks| locks.mutexes.is_empty()) {
        report
            .say("mutex", "two of these workflows may overlap: synchronization.mutexes is missing");
    }
    if spec.pod_gc.is_none() {
        report.say("garbage", "pods are never deleted: podGC is missing");
    }
    if spec.ttl_strategy.is_none() {
        report.say("garbage", "workflows are never deleted: ttlStrategy is missing");
    }
    if spec.artifact_gc.as_ref().is_some_and(|gc| gc.strategy != "Never") {
        report.say("garbage", "the artifacts of runs must be kept: artifactGC has to be Never");
    }
}

pub(super) fn template(spec: &WorkflowSpec, template: &Template, report: &mut Report<'_>) {
    let name = &template.name;
    // A failed tick is not retried: the next one scores the missed windows.
    let is_tick = spec.templates.iter().any(|other| other.container_set.is_some());
    let is = |kind: &str| template.others.contains_key(kind);
    if template.dag.is_some() || is("steps") {
        if template.active_deadline_seconds.is_some() {
            let message = format!("`{name}` is a dag or steps: Argo refuses a deadline there");
            report.say("deadline", message);
        }
    } else if template.active_deadline_seconds.is_none() && !is("suspend") {
        report.say(
            "deadline",
            format!("`{name}` has no time limit: activeDeadlineSeconds is missing"),
        );
    }
    if let Some(retry) = &template.retry_strategy {
        for text in [&retry.backoff.duration, &retry.backoff.max_duration] {
            if !text.is_empty() && !values::is_duration(text) {
                report.say("value", format!("`{name}`: `{text}` is not a duration, such as 10s"));
            }
        }
        let expected = resources::retry_expression();
        if retry.expression.is_empty() {
            let message =
                format!("`{name}` is retried after any failure: set expression: {expected}");
            report.say("retry", message);
        } else if retry.expression != expected {
            report.say(
                "retry",
                format!("`{name}` is retried on `{}` and not on `{expected}`", retry.expression),
            );
        }
    } else if template.container.is_some() && !is_tick {
        report.say("retry", format!("`{name}` is not retried after a failure of a service"));
    }
}

/// Checks that no two templates have the same mutex: scoring would wait for training.
pub(super) fn mutexes(objects: &Objects, findings: &mut Vec<Finding>) {
    let mut holders = BTreeMap::new();
    for held in objects.workflows() {
        let (place, metadata) = (held.place, held.metadata);
        for mutex in held.spec.synchronization.iter().flat_map(|locks| &locks.mutexes) {
            let lock = (&metadata.namespace, &mutex.name);
            let holder = *holders.entry(lock).or_insert(name_of(metadata));
            if holder != name_of(metadata) {
                let message = format!("`{holder}` has the mutex `{}` too", mutex.name);
                Report { place, findings }.say("mutex", message);
            }
        }
    }
}

pub(super) fn cron(cron: &CronWorkflow, report: &mut Report<'_>) {
    let spec = &cron.spec;
    if !spec.timezone.is_empty() && TimeZone::get(&spec.timezone).is_err() {
        report.say("value", format!("`{}` is not a time zone, such as Etc/UTC", spec.timezone));
    }
    if spec.concurrency_policy != "Forbid" {
        report.say("schedule", "two runs may overlap: concurrencyPolicy has to be Forbid");
    }
    if spec.schedules.is_empty() {
        report.say("schedule", "there is no schedule");
    }
    for schedule in &spec.schedules {
        if !is_cron(schedule) {
            report.say("schedule", format!("`{schedule}` is not a cron expression of five fields"));
        }
        let each_minute = schedule.starts_with("* ");
        if each_minute && !(10..60).contains(&spec.starting_deadline_seconds) {
            report.say(
                "schedule",
                "for a start each minute, startingDeadlineSeconds must be 10 to 59",
            );
        }
    }
    if spec.starting_deadline_seconds == 0 {
        report.say("schedule", "a start that is missed is lost: startingDeadlineSeconds is 0");
    }
    let arguments = spec.workflow_spec.arguments.iter().flat_map(|arguments| &arguments.parameters);
    let mut now = arguments.into_iter().filter(|parameter| parameter.name == "now");
    if now.next().and_then(|now| now.value.as_deref()) != Some("{{workflow.scheduledTime}}") {
        report.say(
            "schedule",
            "`now` has to be the scheduled time, or a late start uses another range",
        );
    }
}

fn is_cron(schedule: &str) -> bool {
    let limits = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    fields.len() == limits.len()
        && fields
            .iter()
            .zip(limits)
            .all(|(field, limits)| field.split(',').all(|part| is_part(part, limits)))
}

fn is_part(part: &str, (low, high): (u32, u32)) -> bool {
    let within = |text: &str| text.parse().is_ok_and(|number: u32| (low..=high).contains(&number));
    let (range, step) = part.split_once('/').unwrap_or((part, "1"));
    let is_range = match range.split_once('-') {
        Some((from, to)) => within(from) && within(to),
        None => range == "*" || within(range),
    };
    is_range && step.parse().is_ok_and(|step: u32| step >= 1)
}

#[cfg(test)]
mod tests {
    use super::is_cron;

    #[test]
    fn cron_expressions_have_five_fields_within_their_ranges() {
        for good in ["* * * * *", "17 3 * * *", "*/5 * * * *", "0 9-17/2 1,15 * 1-5"] {
            assert!(is_cron(good), "{good}");
        }
        for bad in ["", "* * * *", "60 * * * *", "* 24 * * *", "*/0 * * * *", "@daily", "a * * * *"]
        {
            assert!(!is_cron(bad), "{bad}");
        }
    }
}
