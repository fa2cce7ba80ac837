//! Facets of `OpenLineage`: metadata of runs, jobs and data sets.

use std::collections::BTreeMap;
use std::path::Path;

use contract::outcome::PortRecord;
use contract::{Outcome, read_json};
use serde_json::{Map, Value, json};

use super::{PRODUCER, REPOSITORY, run_id};
use crate::content::Content;

const FACETS: &str = "https://openlineage.io/spec/facets";
/// Ports whose rows a step counts.
const TABLES: [&str; 3] = ["samples", "features", "dataset"];

/// Facets by name.
pub(super) type Facets = Map<String, Value>;

/// Makes a facet: `named` is its version and its type.
pub(super) fn facet(named: &str, mut value: Value) -> Value {
    let (version, name) = named.split_once('/').unwrap_or(("", named));
    if let Some(fields) = value.as_object_mut() {
        let url = format!("{FACETS}/{version}/{name}.json#/$defs/{name}");
        fields.insert("_producer".to_owned(), PRODUCER.into());
        fields.insert("_schemaURL".to_owned(), url.into());
    }
    value
}

/// Metadata of a run's data sets, from the outcomes of its tasks.
pub(super) struct Known<'a> {
    content: &'a Content,
    /// Rows of a data set by its SHA-256.
    rows: BTreeMap<&'a str, u64>,
    /// The task that wrote a data set, by its SHA-256.
    written_by: BTreeMap<&'a str, &'a str>,
    validation: Option<Value>,
    statistics: Option<Value>,
}

impl<'a> Known<'a> {
    /// Reads the metadata from a run's folder; missing files are left out.
    pub(super) fn of(content: &'a Content) -> Self {
        let (mut rows, mut written_by) = (BTreeMap::new(), BTreeMap::new());
        for (task, _, outcome) in &content.tasks {
            let Some(outcome) = outcome else { continue };
            for (port, record) in &outcome.outputs {
                written_by.insert(record.sha256.as_str(), task.as_str());
                if let (true, Some(count)) =
                    (TABLES.contains(&port.as_str()), outcome.counts.get("rows"))
                {
                    rows.insert(record.sha256.as_str(), *count);
                }
            }
        }
        let read = |name: &str| read_json::<Value>(&content.folder.join(name)).ok();
        Self {
            content,
            rows,
            written_by,
            validation: read("validate/validation.json"),
            statistics: read("validate/dataset/statistics.json"),
        }
    }

    /// Returns the facets of a task's run; without a task, those of the whole run.
    pub(super) fn run(&self, namespace: &str, task: Option<&str>) -> Facets {
        let content = self.content;
        let mut facets = Facets::new();
        let mut add = |name: &str, named: &str, value: Value| {
            facets.insert(name.to_owned(), facet(named, value));
        };
        let (from, to) = content.nominal;
        let time = json!({"nominalStartTime": from.to_string(), "nominalEndTime": to.to_string()});
        add("nominalTime", "1-0-1/NominalTimeRunFacet", time);
        let engine = json!({"name": "lynceus", "version": contract::VERSION});
        add("processing_engine", "1-1-1/ProcessingEngineRunFacet", engine);
        let outcome = task.and_then(|task| self.outcome(task));
        let parameters: Vec<Value> = match (task, outcome) {
            (None, _) => pairs(&content.whole.params),
            (Some(_), Some(outcome)) => pairs(&outcome.parameters),
            (Some(_), None) => Vec::new(),
        };
        let parameters = json!({"parameters": parameters});
        add("executionParameters", "1-0-0/ExecutionParametersRunFacet", parameters);
        if let Some(task) = task {
            let job = json!({"namespace": namespace, "name": content.pipeline});
            let run = json!({"runId": run_id(content, None)});
            let root = json!({"run": run, "job": job});
            let parent = json!({"run": run, "job": job, "root": root});
            add("parent", "1-2-0/ParentRunFacet", parent);
            let upstream = json!({"upstream": self.upstream(namespace, task), "downstream": []});
            add("jobDependencies", "1-0-1/JobDependenciesRunFacet", upstream);
        }
        facets
    }

    /// Returns the facets of a job.
    pub(super) fn job(job_type: &str) -> Facets {
        let kind =
            json!({"processingType": "BATCH", "integration": "LYNCEUS", "jobType": job_type});
        let code = json!({
            "type": "git",
            "url": REPOSITORY,
            "repoUrl": REPOSITORY,
            "tag": format!("v{}", contract::VERSION),
        });
        [
            ("jobType".to_owned(), facet("2-0-4/JobTypeJobFacet", kind)),
            ("sourceCodeLocation".to_owned(), facet("1-1-0/SourceCodeLocationJobFacet", code)),
        ]
        .into_iter()
        .collect()
    }

    fn outcome(&self, task: &str) -> Option<&'a Outcome> {
        self.content.tasks.iter().find(|(name, ..)| name == task)?.2.as_ref()
    }

    /// Returns the tasks whose data sets a task reads.
    fn upstream(&self, namespace: &str, task: &str) -> Vec<Value> {
        let inputs = self.outcome(task).into_iter().flat_map(|outcome| outcome.inputs.values());
        let by = inputs.filter_map(|port| self.written_by.get(port.sha256.as_str()).copied());
        let mut by: Vec<&str> = by.filter(|by| *by != task).collect();
        by.sort_unstable();
        by.dedup();
        let of = |by: &str| {
            json!({
                "job": {"namespace": namespace, "name": format!("{}.{by}", self.content.pipeline)},
                "run": {"runId": run_id(self.content, Some(by))},
                "dependency_type": "DIRECT_INVOCATION",
                "sequence_trigger_rule": "FINISH_TO_START",
                "status_trigger_rule": "EXECUTE_ON_SUCCESS",
            })
        };
        by.into_iter().map(of).collect()
    }

    /// Returns the data sets that a task read.
    pub(super) fn inputs(&self, task: &str, outcome: &Outcome) -> Vec<Value> {
        let of = |(port, record): (&String, &PortRecord)| {
            let mut own = Facets::new();
            let statistics = facet("1-0-0/InputStatisticsInputDatasetFacet", self.extent(record));
            own.insert("inputStatistics".to_owned(), statistics);
            if let Some(assertions) =
                self.assertions().filter(|_| task == "validate" && port == "features")
            {
                let named = "1-1-0/DataQualityAssertionsDatasetFacet";
                own.insert("dataQualityAssertions".to_owned(), facet(named, assertions));
            }
            if let Some(metrics) = self.metrics().filter(|_| port == "dataset") {
                let named = "1-0-3/DataQualityMetricsInputDatasetFacet";
                own.insert("dataQualityMetrics".to_owned(), facet(named, metrics));
            }
            let mut dataset = self.dataset(record);
            dataset["inputFacets"] = own.into();
            dataset
        };
        outcome.inputs.iter().map(of).collect()
    }

    /// Returns the data sets that a task wrote.
    pub(super) fn outputs(&self, outcome: &Outcome) -> Vec<Value> {
        let of = |(port, record): (&String, &PortRecord)| {
            let mut dataset = self.dataset(record);
            let change = json!({"lifecycleStateChange": "CREATE"});
            dataset["facets"]["lifecycleStateChange"] =
                facet("1-0-1/LifecycleStateChangeDatasetFacet", change);
            if let Some(lineage) = self.lineage(outcome).filter(|_| port == "features") {
                dataset["facets"]["columnLineage"] =
                    facet("1-2-0/ColumnLineageDatasetFacet", lineage);
            }
            let statistics = facet("1-0-2/OutputStatisticsOutputDatasetFacet", self.extent(record));
            dataset["outputFacets"] = json!({"outputStatistics": statistics});
            dataset
        };
        outcome.outputs.iter().map(of).collect()
    }

    /// Returns the name of a data set: a file has the namespace `file` and its whole path.
    fn dataset(&self, record: &PortRecord) -> Value {
        let version = json!({"datasetVersion": record.sha256});
        let mut facets = Facets::new();
        facets.insert("version".to_owned(), facet("1-0-1/DatasetVersionDatasetFacet", version));
        let by = self.written_by.get(record.sha256.as_str()).copied();
        let features = self.content.dataset.as_ref();
        if let Some(dataset) = features.filter(|_| matches!(by, Some("feature" | "validate"))) {
            let names = dataset.features.iter().map(|feature| &feature.name);
            let fields: Vec<Value> =
                names.map(|name| json!({"name": name, "type": "double"})).collect();
            let schema = facet("1-2-0/SchemaDatasetFacet", json!({"fields": fields}));
            facets.insert("schema".to_owned(), schema);
        }
        json!({"namespace": "file", "name": record.path.display().to_string(), "facets": facets})
    }

    /// Returns the features with their queries and formulas.
    fn lineage(&self, outcome: &Outcome) -> Option<Value> {
        let samples = outcome.inputs.get("samples")?.path.display().to_string();
        let of = |feature: &crate::content::Feature| {
            let input = json!({
                "namespace": "file",
                "name": samples,
                "field": feature.formula,
                "transformations": [{
                    "type": "DIRECT", "subtype": "TRANSFORMATION", "description": feature.formula,
                }],
            });
            (feature.name.clone(), json!({"inputFields": [input]}))
        };
        let fields: Facets = self.content.dataset.as_ref()?.features.iter().map(of).collect();
        Some(json!({"fields": fields}))
    }

    /// Returns the expectations that were checked, and whether they hold.
    fn assertions(&self) -> Option<Value> {
        let expectations = self.validation.as_ref()?.get("expectations")?.as_array()?;
        let of = |found: &Value| {
            let mut assertion = json!({
                "assertion": found["expectation"],
                "success": found["passed"],
                "expected": found["expected"],
                "actual": found["found"],
                "severity": found["severity"],
            });
            if let Some(column) = found.get("column") {
                assertion["column"] = column.clone();
            }
            assertion
        };
        Some(json!({"assertions": expectations.iter().map(of).collect::<Vec<Value>>()}))
    }

    /// Returns statistics of the columns of the training part.
    fn metrics(&self) -> Option<Value> {
        let statistics = self.statistics.as_ref()?;
        let columns = statistics.get("columns")?.as_object()?;
        let of = |(name, column): (&String, &Value)| {
            let mut metrics = json!({"nullCount": column["nulls"], "count": column["count"]});
            for field in ["min", "max", "quantiles"] {
                if let Some(value) = column.get(field).filter(|value| !value.is_null()) {
                    metrics[field] = value.clone();
                }
            }
            (name.clone(), metrics)
        };
        let columns: Facets = columns.iter().map(of).collect();
        Some(json!({"rowCount": statistics["rows"], "columnMetrics": columns}))
    }

    /// Returns the rows, bytes and files of a data set, as far as they are known.
    fn extent(&self, record: &PortRecord) -> Value {
        let mut extent = Facets::new();
        if let Some(rows) = self.rows.get(record.sha256.as_str()) {
            extent.insert("rowCount".to_owned(), (*rows).into());
        }
        if let Some((bytes, files)) = size(&record.path) {
            extent.insert("size".to_owned(), bytes.into());
            extent.insert("fileCount".to_owned(), files.into());
        }
        extent.into()
    }
}

fn pairs(parameters: &BTreeMap<String, String>) -> Vec<Value> {
    parameters.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

/// Returns the bytes and the number of files of a file or of a folder of files; `None` if it no
/// longer exists.
fn size(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs_err::metadata(path).ok()?;
    if metadata.is_file() {
        return Some((metadata.len(), 1));
    }
    let (mut bytes, mut files) = (0, 0);
    for entry in fs_err::read_dir(path).ok()?.flatten() {
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            bytes += metadata.len();
            files += 1;
        }
    }
    Some((bytes, files))
}
