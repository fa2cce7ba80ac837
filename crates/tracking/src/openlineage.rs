//! `OpenLineage` events of a training: one for its start and one for its end, and a pair for each
//! task, in the shape of spec 2-0-2.

use contract::run::{RunStatus, TaskState};
use contract::{Outcome, Timestamp, artifact};
use serde_json::{Map, Value, json};

use crate::content::Content;

const PRODUCER: &str = "https://github.com/lynceus/lynceus";
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACETS: &str = "https://openlineage.io/spec/facets";

/// Returns the events of a training, in the order of time. The same run has the same ids, so that
/// an event that is sent again is none more.
pub fn events(content: &Content, namespace: &str) -> Vec<Value> {
    let whole = Job { content, namespace, name: content.pipeline.clone(), task: None };
    let mut events = vec![whole.event("START", content.started, &[], &[])];
    for (name, state, outcome) in &content.tasks {
        let end = match state {
            TaskState::Done | TaskState::Cached => "COMPLETE",
            TaskState::Failed => "FAIL",
            TaskState::Running => "ABORT",
            TaskState::Waiting | TaskState::Skipped => continue,
        };
        let task = format!("{}.{name}", content.pipeline);
        let job = Job { content, namespace, name: task, task: Some(name) };
        let (inputs, outputs) = outcome.as_ref().map(|it| ports(content, it)).unwrap_or_default();
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
    namespace: &'a str,
    name: String,
    task: Option<&'a str>,
}

impl Job<'_> {
    fn event(&self, kind: &str, time: Timestamp, inputs: &[Value], outputs: &[Value]) -> Value {
        let content = self.content;
        let mut facets = Map::new();
        if self.task.is_some() {
            let parent = json!({
                "run": {"runId": run_id(content, None)},
                "job": {"namespace": self.namespace, "name": content.pipeline},
            });
            facets.insert("parent".to_owned(), facet("1-2-0/ParentRunFacet", parent));
        }
        let engine = json!({"name": "lynceus", "version": contract::VERSION});
        facets.insert(
            "processing_engine".to_owned(),
            facet("1-1-1/ProcessingEngineRunFacet", engine),
        );
        let error = self.task.and_then(|task| {
            let (_, _, outcome) = content.tasks.iter().find(|(name, ..)| name == task)?;
            outcome.as_ref()?.error.as_ref()
        });
        if let Some(error) = error.filter(|_| kind == "FAIL") {
            let said = json!({"message": error.message, "programmingLanguage": "Rust"});
            facets.insert("errorMessage".to_owned(), facet("1-0-1/ErrorMessageRunFacet", said));
        }
        let job_type = if self.task.is_some() { "TASK" } else { "PIPELINE" };
        let job = json!({
            "processingType": "BATCH", "integration": "LYNCEUS", "jobType": job_type,
        });
        json!({
            "eventType": kind,
            "eventTime": time.to_string(),
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
            "run": {"runId": run_id(content, self.task), "facets": facets},
            "job": {
                "namespace": self.namespace,
                "name": self.name,
                "facets": {"jobType": facet("2-0-4/JobTypeJobFacet", job)},
            },
            "inputs": inputs,
            "outputs": outputs,
        })
    }
}

/// Makes a facet: `named` is its version and its type.
fn facet(named: &str, mut value: Value) -> Value {
    let (_, name) = named.split_once('/').unwrap_or(("", named));
    let version = named.split('/').next().unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        let url = format!("{FACETS}/{version}/{name}.json#/$defs/{name}");
        fields.insert("_producer".to_owned(), PRODUCER.into());
        fields.insert("_schemaURL".to_owned(), url.into());
    }
    value
}

/// Returns the data sets that a task read and wrote.
fn ports(content: &Content, outcome: &Outcome) -> (Vec<Value>, Vec<Value>) {
    let dataset = |port: &contract::outcome::PortRecord| {
        let version = json!({"datasetVersion": port.sha256});
        let mut facets = json!({"version": facet("1-0-1/DatasetVersionDatasetFacet", version)});
        let features = content.dataset.as_ref().filter(|it| it.sha256 == port.sha256);
        if let (Some(dataset), Some(facets)) = (features, facets.as_object_mut()) {
            let fields: Vec<Value> = dataset
                .features
                .iter()
                .map(|name| json!({"name": name, "type": "double"}))
                .collect();
            let schema = facet("1-2-0/SchemaDatasetFacet", json!({"fields": fields}));
            facets.insert("schema".to_owned(), schema);
        }
        json!({"namespace": "file", "name": port.path.display().to_string(), "facets": facets})
    };
    (
        outcome.inputs.values().map(dataset).collect(),
        outcome.outputs.values().map(dataset).collect(),
    )
}

/// Returns the id of a run or of one of its tasks: a UUID (version 8) of its SHA-256.
fn run_id(content: &Content, task: Option<&str>) -> String {
    let named = format!("{}/{}/{}", content.pipeline, content.run, task.unwrap_or_default());
    let hash = artifact::sha256(named.as_bytes());
    let [one, two, three, four, five] =
        [&hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32]];
    format!("{one}-{two}-8{three}-8{four}-{five}")
}
