//! Content of a run's folder: parameters, metrics, tags, files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::bundle::{BundleManifest, CandidateManifest};
use contract::deployment::Deployment;
use contract::run::{RunRecord, RunStatus, TaskState};
use contract::{Outcome, StepError, Timestamp, read_json};
use document::Document;
use fs_err as fs;
use serde_json::{Map, Value};

/// Sections of the document that are parameters of a training. The parameters of a model are logged
/// with the model.
const SECTIONS: [&str; 12] = [
    "task",
    "step",
    "range",
    "rate_window",
    "seed",
    "split",
    "fill",
    "labels",
    "vote",
    "gate",
    "deployment",
    "classify",
];
/// Files of a run that are uploaded with its metrics; paths below its folder.
const FILES: [&str; 5] =
    ["report.html", "run.json", "document.yaml", "validate/validation.json", DEPLOYMENT];
/// The decision about its version; path below its folder.
const DEPLOYMENT: &str = "deploy/deployment.json";
/// Folder of the model, below a run's.
pub(crate) const BUNDLE: &str = "select/bundle";

/// A training.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The pipeline.
    pub pipeline: String,
    /// The run's name; no other run of the pipeline has it.
    pub run: String,
    /// When it was started, by the clock.
    pub started: Timestamp,
    /// Time of its end; for an interrupted training, its start plus its working time.
    pub ended: Timestamp,
    /// The time range that it trains on.
    pub nominal: (Timestamp, Timestamp),
    /// How it ended.
    pub status: RunStatus,
    /// Parameters, metrics and tags of the whole training.
    pub whole: Logged,
    /// Parameters, metrics and tags of each model, by kind.
    pub models: BTreeMap<String, Logged>,
    /// The data set, if it was made.
    pub dataset: Option<Dataset>,
    /// The version that it registered, if it registered one.
    pub version: Option<String>,
    /// Files to keep: names below the run's folder.
    pub files: Vec<String>,
    /// The tasks with their state and outcome, in the order of the plan.
    pub tasks: Vec<(String, TaskState, Option<Outcome>)>,
    /// The run's folder.
    pub folder: PathBuf,
}

/// Parameters, metrics and tags.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Logged {
    /// Parameters by name.
    pub params: BTreeMap<String, String>,
    /// Metrics.
    pub metrics: Vec<Metric>,
    /// Tags by name.
    pub tags: BTreeMap<String, String>,
}

/// A metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Epoch, trial or number of entities; 0 for a metric of the whole training.
    pub step: u64,
}

/// The data set of a training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// SHA-256 of its folder.
    pub sha256: String,
    /// Rows of the training part.
    pub rows: u64,
    /// Its features, in order.
    pub features: Vec<Feature>,
    /// Its path.
    pub path: PathBuf,
}

/// A feature of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// The query of its sample, or the formula over other columns.
    pub formula: String,
}

impl Logged {
    /// Adds a metric; one that is not finite is left out.
    fn metric(&mut self, name: &str, value: f64, step: u64) {
        if value.is_finite() {
            self.metrics.push(Metric { name: name.to_owned(), value, step });
        }
    }

    /// Adds the counts and metrics of a task.
    fn outcome(&mut self, prefix: &str, outcome: &Outcome) {
        for (name, count) in &outcome.counts {
            self.metric(&format!("{prefix}{name}"), *count as f64, 0);
        }
        for (name, value) in &outcome.metrics {
            self.metric(&format!("{prefix}{name}"), *value, 0);
        }
    }
}

impl Content {
    /// Reads a run's folder; `None` for a run that is not a training, or has not ended.
    ///
    /// Errors: those of its record and its document. Other missing files are left out.
    pub fn read(folder: &Path) -> Result<Option<Self>, StepError> {
        let record = RunRecord::read(folder)?;
        if !record.is_training() || record.status == RunStatus::Running {
            return Ok(None);
        }
        let document = document::read(&folder.join("document.yaml"))?;
        let outcome = |task: &str| RunRecord::outcome_of(folder, task);
        let deployment: Option<Deployment> = read_json(&folder.join(DEPLOYMENT)).ok();
        #[expect(clippy::cast_possible_truncation, reason = "the seconds of a run")]
        let worked_ms = (record.seconds * 1000.0).round() as i64;
        let mut whole = Logged { params: document_params(&document)?, ..Logged::default() };
        for task in &record.tasks {
            whole.metric(&format!("seconds/{}", task.name), task.seconds, 0);
            let Some(outcome) = outcome(&task.name) else { continue };
            let bytes = outcome.peak_memory_bytes as f64;
            whole.metric(&format!("peak_memory_bytes/{}", task.name), bytes, 0);
            if !task.name.starts_with("train-") {
                let prefix =
                    if task.name == "select" { String::new() } else { task.name.clone() + "/" };
                whole.outcome(&prefix, &outcome);
            }
        }
        whole.metric("seconds", record.seconds, 0);
        whole.tags = tags(&record, deployment.as_ref());
        let models = record.tasks.iter().filter_map(|task| {
            let kind = task.name.strip_prefix("train-")?;
            Some((kind.to_owned(), model(folder, &task.name, outcome(&task.name).as_ref())))
        });
        let models = models.collect();
        let tasks = record.tasks.iter().map(|it| (it.name.clone(), it.state, outcome(&it.name)));
        Ok(Some(Self {
            dataset: dataset(folder),
            version: deployment.map(|deployment| deployment.version),
            files: files(folder),
            tasks: tasks.collect(),
            folder: folder.to_owned(),
            started: record.started,
            ended: record.started + contract::Span::from_ms(worked_ms),
            nominal: (record.now - document.range, record.now),
            status: record.status,
            run: record.run,
            pipeline: record.pipeline,
            whole,
            models,
        }))
    }
}

fn tags(record: &RunRecord, deployment: Option<&Deployment>) -> BTreeMap<String, String> {
    let status = match record.status {
        RunStatus::Running => "running",
        RunStatus::Done => "done",
        RunStatus::Refused => "refused",
        RunStatus::Failed => "failed",
    };
    let mut tags: BTreeMap<String, String> = [
        ("lynceus.pipeline", record.pipeline.clone()),
        ("lynceus.status", status.to_owned()),
        ("lynceus.now", record.now.to_string()),
        ("lynceus.document_sha256", record.document_sha256.clone()),
        ("mlflow.source.name", format!("lynceus run {}", record.pipeline)),
        ("mlflow.source.type", "JOB".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    // Tags of the user do not replace tags of the program.
    for (name, value) in &record.tags {
        tags.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if let Some(note) = &record.note {
        tags.insert("mlflow.note.content".to_owned(), note.clone());
    }
    let Some(deployment) = deployment else { return tags };
    let champion = deployment.champion.clone().map(|champion| ("champion", champion));
    let said = [
        ("model_version", deployment.version.clone()),
        ("why", deployment.why.clone()),
        ("promoted", deployment.promoted.to_string()),
    ];
    for (name, text) in said.into_iter().chain(champion) {
        tags.insert(format!("lynceus.{name}"), text);
    }
    tags
}

/// Returns the parameters, metrics and tags of a model.
fn model(folder: &Path, task: &str, outcome: Option<&Outcome>) -> Logged {
    let mut logged = Logged::default();
    if let Some(outcome) = outcome {
        logged.outcome("", outcome);
        logged.metric("seconds", outcome.seconds, 0);
        logged.metric("peak_memory_bytes", outcome.peak_memory_bytes as f64, 0);
        for (detail, name) in [("losses", "loss"), ("validation_losses", "validation_loss")] {
            let series = outcome.details.get(detail).and_then(Value::as_array);
            for (epoch, value) in (1..).zip(series.into_iter().flatten()) {
                logged.metric(&format!("epoch/{name}"), value.as_f64().unwrap_or(f64::NAN), epoch);
            }
        }
    }
    let manifest = folder.join(task).join("candidate").join(CandidateManifest::FILE);
    let Ok(candidate) = read_json::<CandidateManifest>(&manifest) else { return logged };
    flatten("", &candidate.parameters, &mut logged.params);
    logged.params.insert("kind".to_owned(), candidate.kind.clone());
    logged.params.insert("seed".to_owned(), candidate.seed.to_string());
    logged.tags.insert("lynceus.contract_sha256".to_owned(), candidate.contract_sha256.clone());
    for trial in &candidate.trials {
        logged.metric("trial/value", trial.value.unwrap_or(f64::NAN), trial.trial);
    }
    let curve = candidate.cross_validation.as_ref().and_then(learning_curve);
    for point in curve.into_iter().flatten() {
        let entities = point.get("entities").and_then(Value::as_u64).unwrap_or(0);
        let share = point.pointer("/balanced_accuracy/mean").and_then(Value::as_f64);
        let name = "learning_curve/balanced_accuracy";
        logged.metric(name, share.unwrap_or(f64::NAN), entities);
    }
    logged
}

/// Finds the learning curve in a candidate's results for left-out entities.
fn learning_curve(found: &Value) -> Option<&Vec<Value>> {
    let fields = found.as_object()?;
    let here = fields.get("learning_curve").and_then(Value::as_array);
    here.or_else(|| fields.values().find_map(learning_curve))
}

fn dataset(folder: &Path) -> Option<Dataset> {
    let manifest: BundleManifest =
        read_json(&folder.join(BUNDLE).join(BundleManifest::FILE)).ok()?;
    let validated = RunRecord::outcome_of(folder, "validate")?;
    let of = |column: &contract::FeatureColumn| Feature {
        name: column.name.clone(),
        formula: column.formula.clone(),
    };
    let features = manifest.contract.columns.iter().map(of).collect();
    Some(Dataset {
        sha256: validated.outputs.get("dataset")?.sha256.clone(),
        rows: manifest.provenance.train_rows,
        features,
        path: folder.join("validate/dataset"),
    })
}

/// Returns the existing files, including those of the model, in order of their names.
fn files(folder: &Path) -> Vec<String> {
    let mut files: Vec<String> =
        FILES.iter().map(|&name| name.to_owned()).filter(|it| folder.join(it).is_file()).collect();
    let bundle = fs::read_dir(folder.join(BUNDLE)).into_iter().flatten().flatten();
    let names = bundle.filter_map(|entry| entry.file_name().into_string().ok());
    files.extend(names.map(|name| format!("{BUNDLE}/{name}")));
    files.sort();
    files
}

fn document_params(document: &Document) -> Result<BTreeMap<String, String>, StepError> {
    let value = serde_json::to_value(document)
        .map_err(|e| StepError::bug(format!("cannot write the document as JSON: {e}")))?;
    let mut params = BTreeMap::new();
    for section in SECTIONS {
        if let Some(value) = value.get(section) {
            flatten(section, value, &mut params);
        }
    }
    let kinds = |(name, source): (&String, &document::sources::Source)| {
        format!("{name}={}", source.kinds().first().map_or("", |(kind, _)| *kind))
    };
    let sources: Vec<String> = document.sources.iter().map(kinds).collect();
    params.insert("sources".to_owned(), sources.join(","));
    params.insert("models".to_owned(), document.trained().join(","));
    params.insert("feature_rules".to_owned(), document.features.len().to_string());
    Ok(params)
}

/// Adds the fields of a value by their paths; a list is one parameter, as JSON.
fn flatten(path: &str, value: &Value, params: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => fields_of(path, fields, params),
        Value::String(text) => drop(params.insert(path.to_owned(), text.clone())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            params.insert(path.to_owned(), value.to_string());
        }
    }
}

fn fields_of(path: &str, fields: &Map<String, Value>, params: &mut BTreeMap<String, String>) {
    for (name, value) in fields {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        flatten(&inner, value, params);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn user_tags_replace_no_program_tags() {
        let record = json!({
            "format": 1, "run": "r", "pipeline": "p", "now": "2026-11-21T09:00:00Z",
            "started": "2026-11-21T09:00:00Z", "document_sha256": "d", "status": "done",
            "seconds": 1.0, "tasks": [], "note": "the first one",
            "tags": {"purpose": "baseline", "lynceus.status": "failed"},
        });
        let record: RunRecord = serde_json::from_value(record).unwrap();
        let tags = tags(&record, None);
        assert_eq!(tags["purpose"], "baseline");
        assert_eq!(tags["lynceus.status"], "done");
        assert_eq!(tags["mlflow.note.content"], "the first one");
    }

    #[test]
    fn parameters_are_named_by_their_paths() {
        let mut params = BTreeMap::new();
        flatten("", &json!({"a": {"b": 1, "c": null}, "d": ["x", 2], "e": "f"}), &mut params);
        let expected = [("a.b", "1"), ("d", "[\"x\",2]"), ("e", "f")];
        assert_eq!(
            params,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        );
    }

    #[test]
    fn a_learning_curve_is_found_wherever_it_is() {
        let found = json!({"figures": {"learning_curve": [{"entities": 3}]}});
        assert_eq!(learning_curve(&found).map(Vec::len), Some(1));
        assert_eq!(learning_curve(&json!({"a": 1})), None);
    }
}
