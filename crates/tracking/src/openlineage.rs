//! `OpenLineage` events of a training: one for its start and one for its end, and a pair for each
//! task, in the format of spec 2-0-2.

mod facets;

use contract::run::{RunStatus, TaskState};
use contract::{Outcome, Timestamp, artifact};
use serde_json::{Value, json};

use crate::content::Content;
use facets::{Known, facet};

const REPOSITORY: &str = "https://github.com/lynceus/lynceus";
const PRODUCER: &str = REPOSITORY;
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// Returns the events of a training, in the order of time. The same run has the same ids, so that
/// sending an event again does not duplicate it.
pub fn events(content: &Content, namespace: &str) -> Vec<Value> {
    let known = &Known::of(content);
    let whole = Job {
        content,
        known,
        namespace,
        name: content.pipeline.clone(),
        task: None,
        outcome: None,
    };
    let mut events = vec![whole.event("START", content.started, &[], &[])];
    for (name, state, outcome) in &content.tasks {
        let end = match state {
            TaskState::Done | TaskState::Cached => "COMPLETE",
            TaskState::Failed => "FAIL",
            TaskState::Running => "ABORT",
            TaskState::Waiting | TaskState::Skipped => continue,
        };
        let task = format!("{}.{name}", content.pipeline);
        let outcome = outcome.as_ref();
        let job = Job { content, known, namespace, name: task, task: Some(name), outcome };
        let inputs = outcome.map(|it| known.inputs(name, it)).unwrap_or_default();
        let outputs = outcome.map(|it| known.outputs(it)).unwrap_or_default();
        events.push(job.event("START", content.started, &inputs, &[]));
        events.push(job.event(end, content.ended, &inputs, &outputs));
    }
    let end = match content.status {
        RunStatus::Done => "COMPLETE",
        RunStatus::Running => "ABORT",
        RunStatus::Refused | RunStatus::Failed => "FAIL",
    };
    events.push(whole.event(end, content.ended, &[], &[]));
    events
}

struct Job<'a> {
    content: &'a Content,
    known: &'a Known<'a>,
    namespace: &'a str,
    name: String,
    task: Option<&'a str>,
    /// Outcome of the task, if it wrote one.
    outcome: Option<&'a Outcome>,
}

impl Job<'_> {
    fn event(&self, kind: &str, time: Timestamp, inputs: &[Value], outputs: &[Value]) -> Value {
        let content = self.content;
        let mut facets = self.known.run(self.namespace, self.task);
        let error = self.outcome.and_then(|outcome| outcome.error.as_ref());
        if let Some(error) = error.filter(|_| kind == "FAIL") {
            let said = json!({"message": error.message, "programmingLanguage": "Rust"});
            facets.insert("errorMessage".to_owned(), facet("1-0-1/ErrorMessageRunFacet", said));
        }
        let job_type = if self.task.is_some() { "TASK" } else { "PIPELINE" };
        json!({
            "eventType": kind,
            "eventTime": time.to_string(),
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
            "run": {"runId": run_id(content, self.task), "facets": facets},
            "job": {
                "namespace": self.namespace,
                "name": self.name,
                "facets": Known::job(job_type),
            },
            "inputs": inputs,
            "outputs": outputs,
        })
    }
}

/// Returns the id of a run or of one of its tasks: a UUID (version 8) of its SHA-256.
fn run_id(content: &Content, task: Option<&str>) -> String {
    let named = format!("{}/{}/{}", content.pipeline, content.run, task.unwrap_or_default());
    let hash = artifact::sha256(named.as_bytes());
    let [one, two, three, four, five] =
        [&hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32]];
    format!("{one}-{two}-8{three}-8{four}-{five}")
}
