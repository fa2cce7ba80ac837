//! The true start and end of a Chaos Mesh fault, from `status.experiment.containerRecords`.

use contract::{Span, StepError, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::ChaosMesh;
use crate::log::{End, Record};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Status {
    experiment: Experiment,
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
    phase: String,
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

/// A fault that was requested from Chaos Mesh.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Number of the fault in the log.
    pub id: &'a str,
    /// Name of the scenario.
    pub scenario: &'a str,
    /// Label.
    pub label: &'a str,
    /// Affected entity; if empty, each pod of the status as `namespace/pod`.
    pub target: &'a str,
    /// Duration.
    pub duration: Span,
    /// Time after it that is excluded.
    pub guard: Span,
    /// The object.
    pub chaos: &'a ChaosMesh,
}

/// A target container of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `NAMESPACE/POD/CONTAINER`.
    pub(crate) id: String,
    /// When it was injected and recovered: more than once for a fault that was paused.
    pub(crate) intervals: Vec<(Timestamp, Option<Timestamp>)>,
    /// Why it is not injected.
    pub(crate) cause: String,
    phase: String,
}

impl Target {
    /// Returns whether Chaos Mesh reports the fault as recovered, or as never injected.
    pub(crate) fn is_out(&self) -> bool {
        self.phase != "Injected"
    }

    fn pod(&self) -> String {
        self.id.splitn(3, '/').take(2).collect::<Vec<_>>().join("/")
    }
}

/// Reads the targets of an object's status.
///
/// Errors: refused (3) for a status that is not one of Chaos Mesh.
pub(crate) fn targets(status: &Value) -> Result<Vec<Target>, StepError> {
    if status.is_null() {
        return Ok(Vec::new());
    }
    let status: Status = contract::artifact::parse_json("status", status.to_string().as_bytes())?;
    Ok(status.experiment.container_records.into_iter().map(target).collect())
}

fn target(container: ContainerRecord) -> Target {
    let mut intervals: Vec<(Timestamp, Option<Timestamp>)> = Vec::new();
    for event in container.events.iter().filter(|event| event.kind == "Succeeded") {
        let Some(time) = event.timestamp else { continue };
        // A repeated injection or recovery changes nothing.
        let is_open = intervals.last().is_some_and(|(_, end)| end.is_none());
        if event.operation == "Apply" && !is_open {
            intervals.push((time, None));
        } else if event.operation == "Recover"
            && let Some((_, end)) = intervals.last_mut().filter(|_| is_open)
        {
            *end = Some(time);
        }
    }
    let failed = container.events.iter().rev().find(|event| event.kind == "Failed");
    let cause = failed.map_or_else(|| "no event says so".to_owned(), |event| event.message.clone());
    Target { id: container.id, intervals, cause, phase: container.phase }
}

impl Asked<'_> {
    /// Makes the row of a target for one interval in which the fault was active.
    pub(crate) fn record(
        &self,
        target: &Target,
        (start, end): (Timestamp, Timestamp),
        outcome: End,
    ) -> Result<Record, StepError> {
        let mut parameters = serde_json::to_value(self.chaos)
            .map_err(|error| StepError::bug(format!("cannot write a fault as JSON: {error}")))?;
        if let Some(fields) = parameters.as_object_mut() {
            fields.insert("pod".to_owned(), target.pod().into());
        }
        let name = if self.target.is_empty() { target.pod() } else { self.target.to_owned() };
        Ok(Record {
            id: self.id.to_owned(),
            scenario: self.scenario.to_owned(),
            executor: "chaos_mesh".to_owned(),
            kind: self.chaos.kind().to_owned(),
            label: self.label.to_owned(),
            target: name,
            parameters,
            requested_start: start,
            requested_duration: self.duration,
            guard: self.guard,
            start,
            end: Some(end),
            outcome: Some(outcome),
        })
    }
}
