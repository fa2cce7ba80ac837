//! The true start and end of a Chaos Mesh fault, from `status.experiment.containerRecords`.

use contract::{Span, StepError, Timestamp};
use serde::Deserialize;

use super::ChaosMesh;
use crate::log::{End, Record};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Status {
    experiment: Experiment,
    conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Experiment {
    container_records: Vec<ContainerRecord>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct ContainerRecord {
    id: String,
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    operation: String,
    #[serde(default)]
    message: String,
    timestamp: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
}

/// What was asked of Chaos Mesh.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Number of the fault in the log.
    pub id: &'a str,
    /// Name of the scenario.
    pub scenario: &'a str,
    /// Label.
    pub label: &'a str,
    /// Entity it happens to; empty: each pod of the status as `namespace/pod`.
    pub target: &'a str,
    /// Duration.
    pub duration: Span,
    /// The object.
    pub chaos: &'a ChaosMesh,
}

/// Reads the records of a fault that has ended, one for each container it happened to.
///
/// Errors: refused (3) where the selector matched nothing or the injection failed, unavailable (4)
/// where the fault has not been taken back yet.
pub fn records(status: &str, asked: &Asked<'_>) -> Result<Vec<Record>, StepError> {
    let status: Status = contract::artifact::parse_json("status", status.as_bytes())?;
    if status.experiment.container_records.is_empty() {
        let reasons =
            status.conditions.iter().filter(|it| it.kind == "Selected" && it.status != "True");
        let reason: Vec<&str> = reasons.map(|it| it.reason.as_str()).collect();
        return Err(StepError::refused(format!(
            "`{}`: the selector matched nothing{}",
            asked.label,
            if reason.is_empty() { String::new() } else { format!(": {}", reason.join(", ")) }
        ))
        .hint("check the namespaces and labels of `spec.selector`"));
    }
    let containers = status.experiment.container_records;
    let mut records = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        records.push(record(container, index, asked)?);
    }
    Ok(records)
}

fn record(
    container: &ContainerRecord,
    index: usize,
    asked: &Asked<'_>,
) -> Result<Record, StepError> {
    let succeeded = |operation: &str| {
        let of = |it: &&Event| it.kind == "Succeeded" && it.operation == operation;
        container.events.iter().filter(of).filter_map(|event| event.timestamp).collect::<Vec<_>>()
    };
    let Some(start) = succeeded("Apply").first().copied() else {
        let failed = container.events.iter().rev().find(|event| event.kind == "Failed");
        let cause = failed.map_or("no event says so", |event| event.message.as_str());
        return Err(StepError::refused(format!(
            "`{}`: the fault was not injected into `{}`: {cause}",
            asked.label, container.id
        )));
    };
    let end = match succeeded("Recover").last() {
        Some(end) => *end,
        // Nothing takes a killed pod back: what follows counts as the fault for as long as asked.
        None if asked.chaos.is_one_shot() => start + asked.duration,
        None => {
            return Err(StepError::unavailable(format!(
                "`{}`: the fault in `{}` has not been taken back",
                asked.label, container.id
            ))
            .hint("a paused object or a stuck finalizer keeps it; see `kubectl describe`"));
        }
    };
    let pod = container.id.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
    let target = if asked.target.is_empty() { pod } else { asked.target.to_owned() };
    let parameters = serde_json::to_value(asked.chaos)
        .map_err(|error| StepError::bug(format!("cannot write a fault as JSON: {error}")))?;
    Ok(Record {
        id: format!("{}-{index}", asked.id),
        scenario: asked.scenario.to_owned(),
        executor: "chaos_mesh".to_owned(),
        kind: asked.chaos.kind().to_owned(),
        label: asked.label.to_owned(),
        target,
        parameters,
        requested_start: start,
        requested_duration: asked.duration,
        start,
        end: Some(end),
        outcome: Some(End::Completed),
    })
}
