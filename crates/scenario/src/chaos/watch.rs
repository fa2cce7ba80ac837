//! Watches a Chaos Mesh object: whether its fault has ended, and what to record if it never ends.

use contract::{Span, StepError, Timestamp};
use serde_json::Value;

use super::status::{Asked, Target, targets};
use crate::log::{End, Record};

/// The annotation that pauses a fault.
const PAUSE: &str = "experiment.chaos-mesh.org/pause";

/// The records of a fault, and an error about it.
#[derive(Debug)]
pub struct Ended {
    /// The rows of the log; none where nothing was injected.
    pub records: Vec<Record>,
    /// Why the fault did not run as requested: the command ends with this error after it has
    /// written the rows.
    pub error: Option<StepError>,
}

/// An object that is being watched.
#[derive(Debug)]
pub struct Watch<'a> {
    asked: Asked<'a>,
    /// `KIND/NAME`, for messages.
    name: String,
    last: Option<Value>,
}

impl<'a> Watch<'a> {
    /// Watches the object of a fault by its name.
    pub fn new(asked: Asked<'a>, name: &str) -> Self {
        let name = format!("{}/{name}", asked.chaos.kind());
        Self { asked, name, last: None }
    }

    /// Takes the current object, or `None` if there is none, and returns the end of the fault once
    /// it is over.
    ///
    /// Errors: refused (3) for an object that was deleted before it was read, and for an invalid
    /// status.
    pub fn see(
        &mut self,
        object: Option<Value>,
        now: Timestamp,
    ) -> Result<Option<Ended>, StepError> {
        let Some(object) = object else { return self.gone(now).map(Some) };
        let targets = targets(&object["status"])?;
        let is_stopped = object["status"]["experiment"]["desiredPhase"] == "Stop";
        let is_over = is_stopped || self.asked.chaos.is_one_shot();
        let has_ended = !targets.is_empty()
            && targets.iter().all(|target| self.has_ended(target))
            && is_over
            && !is_paused(&object);
        self.last = Some(object);
        if !has_ended {
            return Ok(None);
        }
        let records = self.records(&targets, now, &End::Completed)?;
        let failed = targets.iter().find(|target| target.intervals.is_empty());
        let error = failed.map(|target| {
            let cause = &target.cause;
            StepError::refused(format!(
                "`{}`: the fault was not injected into `{}`: {cause}",
                self.asked.label, target.id
            )).hint("`kubectl describe` of the object shows why; check the selector, and that Chaos Mesh runs on the node")
        });
        Ok(Some(Ended { records, error }))
    }

    /// Returns the records of a fault that has not ended long after its planned end.
    ///
    /// Errors: refused (3) for a status that is none.
    pub fn give_up(&self, now: Timestamp) -> Result<Ended, StepError> {
        let (name, label) = (&self.name, &self.asked.label);
        let Some(object) = &self.last else { return self.unseen() };
        let targets = targets(&object["status"])?;
        let finalizers = object["metadata"]["finalizers"].as_array();
        let finalizers: Vec<&str> =
            finalizers.into_iter().flatten().filter_map(Value::as_str).collect();
        let (how, error) = if is_paused(object) {
            let message = format!("`{label}`: `{name}` is paused");
            let hint = format!("remove the annotation {PAUSE}, or delete the object");
            (End::Stopped, StepError::refused(message).hint(hint))
        } else if let Some(at) = object["metadata"]["deletionTimestamp"].as_str() {
            let kept = finalizers.join(", ");
            let message = format!(
                "`{label}`: `{name}` was deleted at {at} but still exists because of the finalizer \
                 {kept}: its fault may continue"
            );
            let hint = "check the logs of chaos-controller-manager and of the chaos-daemon on the \
                        pod's node";
            (End::Lost, StepError::refused(message).hint(hint))
        } else if targets.is_empty() {
            return Ok(Ended { records: Vec::new(), error: Some(self.nothing_selected(object)) });
        } else {
            let stuck = targets.iter().find(|target| !self.has_ended(target));
            let stuck = stuck.map_or("", |target| target.id.as_str());
            let message =
                format!("`{label}`: the fault in `{stuck}` was not recovered and may continue");
            let hint =
                format!("check the events of `{name}`: kubectl describe {}", name.to_lowercase());
            (End::Lost, StepError::refused(message).hint(hint))
        };
        Ok(Ended { records: self.records(&targets, now, &how)?, error: Some(error) })
    }

    /// Returns the end of a deleted object's fault. The fault was recovered before the deletion,
    /// because the object's finalizer waits for the recovery.
    fn gone(&self, now: Timestamp) -> Result<Ended, StepError> {
        let Some(object) = &self.last else { return self.unseen() };
        let targets = targets(&object["status"])?;
        let records = self.records(&targets, now, &End::Stopped)?;
        let (name, label) = (&self.name, &self.asked.label);
        let what = if records.is_empty() { "before it was injected" } else { "before its end" };
        let error = StepError::refused(format!("`{label}`: `{name}` was deleted {what}"))
            .hint("do not change the object until its workflow has ended");
        Ok(Ended { records, error: Some(error) })
    }

    fn unseen(&self) -> Result<Ended, StepError> {
        let (name, label) = (&self.name, &self.asked.label);
        Err(StepError::refused(format!(
            "`{label}`: there is no `{name}`: it was deleted before its status was read"
        ))
        .hint("check `--namespace` and the name; nothing was recorded"))
    }

    fn nothing_selected(&self, object: &Value) -> StepError {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let unmet = conditions.filter(|it| it["type"] == "Selected" && it["status"] != "True");
        let reasons: Vec<&str> = unmet.filter_map(|it| it["reason"].as_str()).collect();
        let reason =
            if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
        let message = format!("`{}`: the selector matched no target{reason}", self.asked.label);
        StepError::refused(message).hint("check the namespaces and labels of `spec.selector`")
    }

    fn has_ended(&self, target: &Target) -> bool {
        let is_open = target.intervals.last().is_some_and(|(_, end)| end.is_none());
        if self.asked.chaos.is_one_shot() { is_open } else { !is_open && target.is_out() }
    }

    /// Returns a row for each interval in which the fault was active in a target. An interval
    /// without an end ends now, with this outcome.
    fn records(
        &self,
        targets: &[Target],
        now: Timestamp,
        how: &End,
    ) -> Result<Vec<Record>, StepError> {
        let mut records = Vec::new();
        let created =
            self.last.as_ref().and_then(|it| it["metadata"]["creationTimestamp"].as_str());
        let created = created.and_then(|time| time.parse::<Timestamp>().ok());
        for (index, target) in targets.iter().enumerate() {
            for (nth, (start, end)) in target.intervals.iter().enumerate() {
                let (end, outcome) = match end {
                    Some(end) => (*end, End::Completed),
                    // A killed pod has no recovery: the fault counts for the requested duration.
                    None if self.asked.chaos.is_one_shot() => {
                        (*start + self.asked.duration, End::Completed)
                    }
                    None => (now, how.clone()),
                };
                let mut record = self.asked.record(target, (*start, end), outcome)?;
                let again = if nth == 0 { String::new() } else { format!("-{nth}") };
                // It is requested when its object is created.
                record.requested_start = created.unwrap_or(record.start);
                record.id = format!("{}-{index}{again}", self.asked.id);
                records.push(record);
            }
        }
        Ok(records)
    }
}

fn is_paused(object: &Value) -> bool {
    object["metadata"]["annotations"][PAUSE] == "true"
}

/// A container that was killed because it ran out of memory, from `status.containerStatuses` of its
/// pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfMemory {
    /// `NAMESPACE/POD`.
    pub pod: String,
    /// Time at which it ran out of memory.
    pub at: Timestamp,
}

/// Returns when a container of a pod last ran out of memory.
pub fn out_of_memory(pod: &Value) -> Option<OutOfMemory> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let ended = statuses
        .iter()
        .flat_map(|status| [&status["lastState"]["terminated"], &status["state"]["terminated"]]);
    let killed = ended.filter(|it| it["reason"] == "OOMKilled");
    let times = killed.filter_map(|it| it["finishedAt"].as_str()?.parse::<Timestamp>().ok());
    let name = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let pod = format!("{}/{}", name("namespace"), name("name"));
    times.max().map(|at| OutOfMemory { pod, at })
}

/// Ends the rows of a pod's faults at the time at which it ran out of memory: the stressor is gone,
/// and the time until the recovery is neither normal nor the fault.
pub fn cut(records: Vec<Record>, killed: &[OutOfMemory]) -> Vec<Record> {
    let mut cut = Vec::new();
    for mut record in records {
        let found = killed.iter().find(|killed| {
            let in_pod = pod_of(&record) == Some(killed.pod.as_str());
            in_pod && killed.at >= record.start && record.end.is_some_and(|end| killed.at < end)
        });
        if let Some(killed) = found {
            let mut rest = record.clone();
            rest.id.push_str("-rest");
            (rest.start, rest.outcome) = (killed.at, Some(End::Lost));
            let cause = format!("memory of `{}` ran out at {}", killed.pod, killed.at);
            (record.end, record.outcome) = (Some(killed.at), Some(End::Failed(cause)));
            record.guard = Span::ZERO;
            cut.extend([record, rest]);
        } else {
            cut.push(record);
        }
    }
    cut
}

/// Returns the pod of a row, which its parameters keep.
pub fn pod_of(record: &Record) -> Option<&str> {
    record.parameters["pod"].as_str()
}
