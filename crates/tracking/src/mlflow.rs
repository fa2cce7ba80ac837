//! Mirrors a training into `MLflow`: an experiment, a run with a nested run for each model, files,
//! and a version in its registry. Existing objects are not changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use contract::run::RunStatus;
use contract::{StepError, Timestamp};
use document::http::Http;
use document::tracking::Mlflow;
use fs_err as fs;
use serde_json::{Value, json};

use crate::content::{BUNDLE, Content, Dataset, Logged};
use crate::rest::Rest;

/// Tag that identifies a run.
const RUN: &str = "lynceus.run";
/// Tag that identifies a version.
const VERSION: &str = "lynceus.version";
/// Most entries of one request: below the server's limits for each kind, for all kinds together,
/// and for bytes.
const METRICS_AT_ONCE: usize = 500;
const PARAMS_AT_ONCE: usize = 50;
const TAGS_AT_ONCE: usize = 50;
/// Longest values and names in bytes; the server rejects or silently cuts longer ones.
const LONGEST_PARAM: usize = 6000;
const LONGEST_TAG: usize = 5000;
const LONGEST_NAME: usize = 250;
const LONGEST_DIGEST: usize = 36;
/// Largest file that is uploaded.
const LARGEST_FILE_BYTES: u64 = 256 << 20;
/// URL scheme of artifacts that the server stores itself.
const SERVED: &str = "mlflow-artifacts:/";

/// A server to which trainings are mirrored.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    rest: Rest,
    settings: &'a Mlflow,
    /// No request starts after this time.
    until: Option<Instant>,
}

/// A run that may not exist yet.
struct NewRun<'a> {
    /// What identifies it.
    key: &'a str,
    name: &'a str,
    /// Identifier of the run that it belongs to.
    parent: Option<&'a str>,
}

/// A run of the server.
struct Run {
    id: String,
    artifacts: String,
}

impl<'a> Server<'a> {
    /// Prepares the mirroring; nothing is sent yet.
    pub(crate) fn open(
        settings: &'a Http<Mlflow>,
        folder: &Path,
        until: Option<Instant>,
    ) -> Result<Self, StepError> {
        let rest = Rest::open(&settings.server, "tracking.mlflow", folder)?;
        Ok(Self { rest, settings: &settings.own, until })
    }

    /// Mirrors a training; repeating it changes nothing.
    ///
    /// Errors: unavailable if the server does not answer in time; usage if it rejects a request.
    pub(crate) fn mirror(&self, content: &Content) -> Result<(), StepError> {
        let name = self.settings.experiment.as_ref().unwrap_or(&content.pipeline);
        let experiment = self.experiment(name, &content.pipeline)?;
        let whole = self.run(
            &experiment,
            content,
            &NewRun { key: &content.run, name: &content.run, parent: None },
        )?;
        self.log(&whole.id, &content.whole, content.ended)?;
        if let Some(dataset) = &content.dataset {
            self.dataset(&whole.id, &content.pipeline, dataset)?;
        }
        for (kind, logged) in &content.models {
            let key = format!("{}/{kind}", content.run);
            let run = self.run(
                &experiment,
                content,
                &NewRun { key: &key, name: kind, parent: Some(&whole.id) },
            )?;
            self.log(&run.id, logged, content.ended)?;
            self.end(&run.id, content)?;
        }
        if self.settings.artifacts {
            self.artifacts(&whole, content)?;
        }
        if let Some(version) = &content.version {
            self.version(&whole, content, version)?;
        }
        // The run is ended last: an open run is one whose mirroring is incomplete.
        self.end(&whole.id, content)
    }

    /// Points an alias of the model at one of our versions, if the server has the version.
    pub(crate) fn alias(
        &self,
        pipeline: &str,
        alias: &str,
        version: &str,
    ) -> Result<(), StepError> {
        let model = self.model(pipeline);
        let Some(number) = self.number(model, version)? else { return Ok(()) };
        let named = [("name", model), ("alias", alias)];
        // The server reports a missing alias as an invalid parameter.
        let known = ["INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"];
        let now = self.rest.get("registered-models/alias", &named, &known)?.value();
        let now = now.and_then(|found| text(&found, "/model_version/version"));
        if now.as_ref() == Some(&number) {
            return Ok(());
        }
        let body = json!({"name": model, "alias": alias, "version": number});
        self.post("registered-models/alias", &body).map(drop)
    }

    fn model<'m>(&'m self, pipeline: &'m str) -> &'m str {
        self.settings.model.as_deref().unwrap_or(pipeline)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, StepError> {
        self.in_time()?;
        Ok(self.rest.post(path, body, &[])?.value().unwrap_or(Value::Null))
    }

    fn in_time(&self) -> Result<(), StepError> {
        match self.until {
            Some(until) if Instant::now() >= until => Err(StepError::unavailable(
                "`tracking.mlflow`: the server is slow: the remaining trainings wait for the next \
                 run",
            )
            .hint(
                "no data is lost; `lynceus track sync PIPELINE` sends the remaining trainings now",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the number of an experiment, and creates the experiment if it does not exist.
    fn experiment(&self, name: &str, pipeline: &str) -> Result<String, StepError> {
        if let Some(id) = self.find_experiment(name)? {
            return Ok(id);
        }
        let tags = json!([{"key": "lynceus.pipeline", "value": pipeline}]);
        let body = json!({"name": name, "tags": tags});
        let made = self.rest.post("experiments/create", &body, &["RESOURCE_ALREADY_EXISTS"])?;
        let made = made.value().and_then(|made| text(&made, "/experiment_id"));
        // If the creation failed, another process has created it.
        match made {
            Some(id) => Ok(id),
            None => self.find_experiment(name)?.ok_or_else(|| no_answer("experiments/create")),
        }
    }

    fn find_experiment(&self, name: &str) -> Result<Option<String>, StepError> {
        let named = [("experiment_name", name)];
        let found =
            self.rest.get("experiments/get-by-name", &named, &["RESOURCE_DOES_NOT_EXIST"])?;
        let Some(found) = found.value() else { return Ok(None) };
        if text(&found, "/experiment/lifecycle_stage").is_some_and(|stage| stage == "deleted") {
            return Err(StepError::usage(format!("the experiment `{name}` of MLflow was deleted"))
                .hint("restore it, or set another one in tracking.mlflow.experiment"));
        }
        text(&found, "/experiment/experiment_id")
            .map(Some)
            .ok_or_else(|| no_answer("experiments/get-by-name"))
    }

    /// Returns the run with a key, and creates the run if it does not exist.
    fn run(
        &self,
        experiment: &str,
        content: &Content,
        NewRun { key, name, parent }: &NewRun<'_>,
    ) -> Result<Run, StepError> {
        let of = |run: &Value| {
            Some(Run {
                id: text(run, "/info/run_id")?,
                artifacts: text(run, "/info/artifact_uri").unwrap_or_default(),
            })
        };
        let filter = format!("tags.`{RUN}` = '{key}'");
        let body = json!({"experiment_ids": [experiment], "filter": filter, "max_results": 1});
        let found = self.post("runs/search", &body)?;
        if let Some(run) = found.pointer("/runs/0").and_then(of) {
            return Ok(run);
        }
        let mut tags = vec![json!({"key": RUN, "value": key})];
        tags.extend(parent.map(|parent| json!({"key": "mlflow.parentRunId", "value": parent})));
        let body = json!({
            "experiment_id": experiment,
            "run_name": name,
            "start_time": content.started.ms(),
            "tags": tags,
        });
        let made = self.post("runs/create", &body)?;
        made.get("run").and_then(of).ok_or_else(|| no_answer("runs/create"))
    }

    /// Sends parameters, metrics and tags. The time of a metric is always the same, so that sending
    /// it again does not duplicate it.
    fn log(&self, run: &str, logged: &Logged, time: Timestamp) -> Result<(), StepError> {
        let metrics: Vec<Value> = logged
            .metrics
            .iter()
            .map(|it| {
                let (key, value) = (plain(&it.name), it.value);
                json!({"key": key, "value": value, "timestamp": time.ms(), "step": it.step})
            })
            .collect();
        for metrics in metrics.chunks(METRICS_AT_ONCE) {
            self.post("runs/log-batch", &json!({"run_id": run, "metrics": metrics}))?;
        }
        for params in pairs(&logged.params, LONGEST_PARAM).chunks(PARAMS_AT_ONCE) {
            self.post("runs/log-batch", &json!({"run_id": run, "params": params}))?;
        }
        for tags in pairs(&logged.tags, LONGEST_TAG).chunks(TAGS_AT_ONCE) {
            self.post("runs/log-batch", &json!({"run_id": run, "tags": tags}))?;
        }
        Ok(())
    }

    fn dataset(&self, run: &str, name: &str, dataset: &Dataset) -> Result<(), StepError> {
        let columns: Vec<Value> = dataset
            .features
            .iter()
            .map(|it| json!({"type": "double", "name": it.name, "required": false}))
            .collect();
        let source = json!({"uri": dataset.path.display().to_string()});
        // These fields are strings that contain JSON.
        let input = json!({
            "tags": [{"key": "mlflow.data.context", "value": "training"}],
            "dataset": {
                "name": name,
                "digest": dataset.sha256.get(..LONGEST_DIGEST).unwrap_or(&dataset.sha256),
                "source_type": "local",
                "source": source.to_string(),
                "schema": json!({"mlflow_colspec": columns}).to_string(),
                "profile": json!({"num_rows": dataset.rows}).to_string(),
            },
        });
        self.post("runs/log-inputs", &json!({"run_id": run, "datasets": [input]}))?;
        // The server's digest is too short for our whole hash.
        let tag = json!({"key": "lynceus.dataset_sha256", "value": dataset.sha256});
        self.post("runs/log-batch", &json!({"run_id": run, "tags": [tag]})).map(drop)
    }

    /// Uploads the files of a training, if the server stores artifacts itself.
    fn artifacts(&self, run: &Run, content: &Content) -> Result<(), StepError> {
        let Some(place) = run.artifacts.strip_prefix(SERVED) else {
            let tag =
                json!({"key": "lynceus.run_folder", "value": content.folder.display().to_string()});
            return self
                .post("runs/log-batch", &json!({"run_id": run.id, "tags": [tag]}))
                .map(drop);
        };
        for name in &content.files {
            self.in_time()?;
            let path = content.folder.join(name);
            let length = fs::metadata(&path).map(|found| found.len());
            let length = length.map_err(|error| StepError::reading(&path, &error))?;
            if length > LARGEST_FILE_BYTES {
                tracing::warn!(file = name, bytes = length, "Too large to be kept by MLflow");
                continue;
            }
            let bytes = fs::read(&path).map_err(|error| StepError::reading(&path, &error))?;
            let kept = name.strip_prefix("select/").unwrap_or(name);
            self.rest.put_file(&format!("{}/{kept}", place.trim_matches('/')), bytes)?;
        }
        Ok(())
    }

    /// Registers a version, if it is not registered yet.
    fn version(&self, run: &Run, content: &Content, version: &str) -> Result<(), StepError> {
        let model = self.model(&content.pipeline);
        let tags = json!([{"key": "lynceus.pipeline", "value": content.pipeline}]);
        let body = json!({"name": model, "tags": tags});
        self.rest.post("registered-models/create", &body, &["RESOURCE_ALREADY_EXISTS"])?;
        if self.number(model, version)?.is_some() {
            return Ok(());
        }
        let bundle = BUNDLE.strip_prefix("select/").unwrap_or(BUNDLE);
        let body = json!({
            "name": model,
            "source": format!("{}/{bundle}", run.artifacts),
            "run_id": run.id,
            "description": format!("Version {version} of Lynceus' registry"),
            "tags": [{"key": VERSION, "value": version}],
        });
        self.post("model-versions/create", &body).map(drop)
    }

    /// Returns the server's number of one of our versions.
    fn number(&self, model: &str, version: &str) -> Result<Option<String>, StepError> {
        self.in_time()?;
        let filter = format!("name = '{model}' and tags.`{VERSION}` = '{version}'");
        let asked = [("filter", filter.as_str()), ("max_results", "1")];
        let found = self.rest.get("model-versions/search", &asked, &[])?.value();
        Ok(found.and_then(|found| text(&found, "/model_versions/0/version")))
    }

    fn end(&self, run: &str, content: &Content) -> Result<(), StepError> {
        let status = match content.status {
            RunStatus::Running => "RUNNING",
            RunStatus::Done => "FINISHED",
            RunStatus::Refused | RunStatus::Failed => "FAILED",
        };
        let body = json!({"run_id": run, "status": status, "end_time": content.ended.ms()});
        self.post("runs/update", &body).map(drop)
    }
}

fn no_answer(path: &str) -> StepError {
    StepError::unavailable(format!("`tracking.mlflow`: the answer to {path} names nothing"))
        .hint("is it a server of MLflow, of version 2 or 3?")
}

/// Returns a text of an answer; a number is converted to text.
fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn pairs(values: &BTreeMap<String, String>, longest: usize) -> Vec<Value> {
    let pair =
        |(key, value): (&String, &String)| json!({"key": plain(key), "value": cut(value, longest)});
    values.iter().map(pair).collect()
}

/// Returns a name reduced to the characters that the server accepts.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-. :/".contains(c) { c } else { '_' };
    cut(&name.chars().map(plain).collect::<String>(), LONGEST_NAME).to_owned()
}

/// Returns the beginning of a text, at most `longest` bytes.
fn cut(text: &str, longest: usize) -> &str {
    let end = (0..=longest.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversized_values_are_shortened_before_sending() {
        assert_eq!(plain("a{b}\u{e9}/c.d"), "a_b__/c.d");
        assert_eq!(cut("caf\u{e9}", 4), "caf");
        assert_eq!(plain(&"x".repeat(300)).len(), LONGEST_NAME);
        let long = [("a".to_owned(), "y".repeat(7000))].into();
        assert_eq!(pairs(&long, LONGEST_PARAM)[0]["value"].as_str().map(str::len), Some(6000));
    }
}
