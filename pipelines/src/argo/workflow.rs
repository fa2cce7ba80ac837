//! The fields of Argo's `WorkflowTemplate` and `CronWorkflow` that the manifests use.
//!
//! Only fields that 3.6, 3.7, 4.0 and 4.1 all have: `schedules` and `mutexes` are plural, and there
//! is no `backoff.cap`, no template annotation.

use serde::{Deserialize, Serialize};

use super::cluster::Object;
use super::pod::{Container, Labels, PodSecurityContext, Volume, VolumeMount};

/// A workflow that others are made from.
pub type WorkflowTemplate = Object<WorkflowSpec>;

/// A workflow that is started by the clock.
pub type CronWorkflow = Object<CronWorkflowSpec>;

/// What a workflow does.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkflowSpec {
    /// The template to take the rest from.
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
    pub active_deadline_seconds: Option<u32>,
    /// Pods at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// What may not run beside it.
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
    /// Where its artifacts go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_repository_ref: Option<ArtifactRepositoryRef>,
    /// Whether logs are kept beside the artifacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_logs: Option<bool>,
    /// Who the pods are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether the pods' containers get that account's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Who Argo's own containers in the pods are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<Executor>,
    /// What the pods may do.
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
}

/// The name of a `WorkflowTemplate`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowTemplateRef {
    /// The name.
    pub name: String,
}

/// What a template, a task or a workflow is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arguments {
    /// Texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// Files and folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
}

/// A text by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The name.
    pub name: String,
    /// The text; in a template's inputs the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it means, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A file or folder by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Artifact {
    /// The name: the port's.
    pub name: String,
    /// Its path in the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The output that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether it may be absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Its place in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Key>,
    /// How it is packed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
}

/// A key of the artifact repository's bucket.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Key {
    /// The key; a folder's ends with `/`.
    pub key: String,
}

/// How an artifact is packed. Only "not at all" is used: every object opens with public tools.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Not at all.
    pub none: NoArchive,
}

/// Stored as it is; it has no settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoArchive {}

/// What may not run at the same time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Synchronization {
    /// Held by one workflow at a time.
    pub mutexes: Vec<Mutex>,
}

/// A lock of the namespace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutex {
    /// Its name.
    pub name: String,
}

/// When pods are deleted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodGc {
    /// `OnPodSuccess` and the like.
    pub strategy: String,
}

/// When workflows are deleted, in seconds after their end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TtlStrategy {
    /// After a good end.
    pub seconds_after_success: u32,
    /// After a bad end.
    pub seconds_after_failure: u32,
}

/// When artifacts are deleted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactGc {
    /// `Never`.
    pub strategy: String,
}

/// Which settings say where artifacts go.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactRepositoryRef {
    /// The `ConfigMap`.
    pub config_map: String,
    /// Its key.
    pub key: String,
}

/// Who Argo's own containers are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Executor {
    /// The account's name.
    pub service_account_name: String,
}

/// Labels of pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodMetadata {
    /// The labels.
    pub labels: Labels,
}

/// A piece of a workflow: exactly one of `dag`, `container` and `container_set` is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Template {
    /// Its name: the task's.
    pub name: String,
    /// Labels of its pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PodMetadata>,
    /// What it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Arguments>,
    /// What it gives back.
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
    pub active_deadline_seconds: Option<u32>,
    /// When its pod is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_strategy: Option<RetryStrategy>,
    /// A patch of this template's pods, after that of the workflow, as YAML in a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_spec_patch: Option<String>,
}

/// Containers of one pod that need one another.
///
/// Argo gives the pod only the volumes that `volume_mounts` names. A volume that a single container
/// mounts has to come from the template's `pod_spec_patch`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContainerSet {
    /// What every container sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// The containers.
    pub containers: Vec<Container>,
}

/// Tasks that need one another.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dag {
    /// Whether tasks that need none that failed are no longer started, which is the default.
    #[serde(default, rename = "failFast", skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<bool>,
    /// The tasks.
    pub tasks: Vec<DagTask>,
}

/// A task of a DAG.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DagTask {
    /// Its name.
    pub name: String,
    /// The template that it is.
    pub template: String,
    /// The tasks that must have ended well before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
    /// The condition under which it runs; otherwise it is skipped, and its dependants run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What the template is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Arguments>,
    /// Runs it once for each number, which is `{{item}}`, side by side.
    #[serde(rename = "withSequence", skip_serializing_if = "Option::is_none")]
    pub with_sequence: Option<Sequence>,
}

/// The numbers from 0 to below a count.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// The count, which Argo takes as text.
    pub count: String,
}

/// When a pod is tried again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryStrategy {
    /// How often at most.
    pub limit: u32,
    /// On what; it alone decides.
    pub expression: String,
    /// How long to wait.
    pub backoff: Backoff,
}

/// How long to wait before another try.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backoff {
    /// The first wait.
    pub duration: String,
    /// How many times longer each further one is.
    pub factor: u32,
    /// When to stop trying.
    pub max_duration: String,
}

/// When a clock stops permanently.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopStrategy {
    /// An expression over the clock's counts of workflows, such as `cronworkflow.succeeded >= 1`.
    pub expression: String,
}

/// When a workflow is started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CronWorkflowSpec {
    /// Cron expressions of five fields.
    pub schedules: Vec<String>,
    /// The time zone they are meant in.
    pub timezone: String,
    /// What happens when the last one still runs: `Forbid`.
    pub concurrency_policy: String,
    /// How late a missed start may still happen, in seconds.
    pub starting_deadline_seconds: u32,
    /// How many good workflows are kept.
    pub successful_jobs_history_limit: u32,
    /// How many bad workflows are kept.
    pub failed_jobs_history_limit: u32,
    /// When no further workflow is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_strategy: Option<StopStrategy>,
    /// The workflow.
    pub workflow_spec: WorkflowSpec,
}
