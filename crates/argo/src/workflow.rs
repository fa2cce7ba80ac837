//! The fields of Argo's `WorkflowTemplate` and `CronWorkflow` that the manifests use.
//!
//! Only fields that exist in 3.6, 3.7, 4.0 and 4.1: `schedules` and `mutexes` are plural, and there
//! is no `backoff.cap`, no template annotation.

mod arguments;

pub use arguments::{Archive, Arguments, Artifact, NoArchive, Parameter, S3Key, ValueFrom};

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};

use super::cluster::{Labels, Object, Others};

/// A template from which workflows are created.
pub type WorkflowTemplate = Object<WorkflowSpec>;

/// A workflow that starts on a schedule.
pub type CronWorkflow = Object<CronWorkflowSpec>;

/// What a workflow does.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkflowSpec {
    /// The `WorkflowTemplate` that provides the other fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_template_ref: Option<WorkflowTemplateRef>,
    /// The template of `templates` to start with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
    /// The template that runs after all others, however they ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exit: Option<String>,
    /// Its parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Arguments>,
    /// Seconds after which it is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// Most pods that run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// Locks that keep other workflows from running at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synchronization: Option<Synchronization>,
    /// When its pods are deleted.
    #[serde(rename = "podGC", skip_serializing_if = "Option::is_none")]
    pub pod_gc: Option<PodGc>,
    /// When the workflow itself is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_strategy: Option<TtlStrategy>,
    /// When its artifacts are deleted.
    #[serde(rename = "artifactGC", skip_serializing_if = "Option::is_none")]
    pub artifact_gc: Option<ArtifactGc>,
    /// Its artifact repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_repository_ref: Option<ArtifactRepositoryRef>,
    /// Whether logs are stored with the artifacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_logs: Option<bool>,
    /// Service account of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether the pods' containers get that account's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Service account of Argo's own containers in the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<Executor>,
    /// Security context of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
    /// A patch of every pod, as YAML in a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_spec_patch: Option<String>,
    /// Labels of every pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<PodMetadata>,
    /// Volumes of every pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<Template>,
    /// The other fields.
    #[serde(flatten)]
    pub others: Others,
}

/// The name of a `WorkflowTemplate`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkflowTemplateRef {
    /// The name.
    pub name: String,
}

/// What may not run at the same time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Synchronization {
    /// Held by one workflow at a time.
    pub mutexes: Vec<Mutex>,
}

/// A lock of the namespace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mutex {
    /// Its name.
    pub name: String,
}

/// When pods are deleted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodGc {
    /// `OnPodSuccess` and the like.
    pub strategy: String,
}

/// When workflows are deleted, in seconds after their end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TtlStrategy {
    /// Seconds after success.
    pub seconds_after_success: u32,
    /// Seconds after failure.
    pub seconds_after_failure: u32,
}

/// When artifacts are deleted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactGc {
    /// `Never`.
    pub strategy: String,
}

/// Reference to the settings of the artifact repository.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactRepositoryRef {
    /// The `ConfigMap`.
    pub config_map: String,
    /// Its key.
    pub key: String,
}

/// Identity of Argo's own containers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Executor {
    /// The account's name.
    pub service_account_name: String,
}

/// Labels of pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodMetadata {
    /// The labels.
    pub labels: Labels,
}

/// A piece of a workflow: exactly one of `dag`, `container` and `container_set` is set, or another
/// type of template in `others`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Template {
    /// Its name: the task's.
    pub name: String,
    /// Labels of its pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PodMetadata>,
    /// What it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Arguments>,
    /// Its outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Arguments>,
    /// Tasks that need one another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dag: Option<Dag>,
    /// A pod of one container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// A pod of several containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_set: Option<ContainerSet>,
    /// Seconds after which its pod is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<IntOrString>,
    /// When its pod is retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_strategy: Option<RetryStrategy>,
    /// A patch of this template's pods, after that of the workflow, as YAML in a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_spec_patch: Option<String>,
    /// The other fields.
    #[serde(flatten)]
    pub others: Others,
}

/// Containers of one pod that need one another.
///
/// Argo adds only the volumes in `volume_mounts` to the pod. A volume that only some containers
/// mount must be in the template's `pod_spec_patch`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSet {
    /// Mounts of every container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// The containers.
    pub containers: Vec<ContainerOfSet>,
}

/// A container of a set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ContainerOfSet {
    /// The container.
    #[serde(flatten)]
    pub container: Container,
    /// Containers of the set that must have succeeded before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
}

/// Tasks that need one another.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dag {
    /// Whether no further task starts after a failure, even if it does not depend on the failed
    /// task; the default.
    #[serde(default, rename = "failFast", skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<bool>,
    /// The tasks.
    pub tasks: Vec<DagTask>,
}

/// A task of a DAG.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DagTask {
    /// Its name.
    pub name: String,
    /// The template that it runs.
    pub template: String,
    /// The tasks that must have succeeded before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
    /// The condition under which it runs; otherwise it is skipped, and its dependants run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Arguments of the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Arguments>,
    /// Runs it once for each item of a JSON list, in parallel; `{{item.NAME}}` is a field of the
    /// item. The list is written here, or is a reference to an output.
    #[serde(rename = "withParam", skip_serializing_if = "Option::is_none")]
    pub with_param: Option<String>,
    /// The other fields.
    #[serde(flatten)]
    pub others: Others,
}

impl DagTask {
    /// Returns the tasks for which it waits: its dependencies, and those in an expression such as
    /// `depends: "a.Succeeded || b.Skipped"`.
    pub fn waits_for(&self) -> Vec<String> {
        let depends = self.others.get("depends").and_then(|depends| depends.as_str());
        let words = depends.unwrap_or_default().split(|c: char| "&|!() \n".contains(c));
        let named = words.filter_map(|word| word.split('.').next()).map(str::to_owned);
        let names = self.dependencies.iter().cloned().chain(named);
        names.filter(|name| !name.is_empty()).collect()
    }
}

/// When a pod is retried.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryStrategy {
    /// Most retries.
    pub limit: IntOrString,
    /// Condition for a retry; no other field decides.
    pub expression: String,
    /// Delay before a retry.
    pub backoff: Backoff,
}

/// Delay before a retry.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Backoff {
    /// The first delay.
    pub duration: String,
    /// Factor between one delay and the next.
    pub factor: IntOrString,
    /// Time after which no retry starts.
    pub max_duration: String,
}

/// When a `CronWorkflow` stops permanently.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StopStrategy {
    /// An expression over the counts of its workflows, such as `cronworkflow.succeeded >= 1`.
    pub expression: String,
}

/// The specification of a `CronWorkflow`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronWorkflowSpec {
    /// Cron expressions of five fields.
    pub schedules: Vec<String>,
    /// The time zone of the schedules.
    pub timezone: String,
    /// Behaviour if the previous workflow still runs: `Forbid`.
    pub concurrency_policy: String,
    /// How late a missed start may still happen, in seconds.
    pub starting_deadline_seconds: u32,
    /// How many successful workflows are kept.
    pub successful_jobs_history_limit: u32,
    /// How many failed workflows are kept.
    pub failed_jobs_history_limit: u32,
    /// When no further workflow is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_strategy: Option<StopStrategy>,
    /// The workflow.
    pub workflow_spec: WorkflowSpec,
}
