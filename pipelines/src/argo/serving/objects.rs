//! The fields of the objects of an endpoint that the manifests use.

use serde::{Deserialize, Serialize};

use crate::argo::cluster::{Object, Selector};
use crate::argo::pod::{Container, Labels, PodSecurityContext, Volume};

/// Pods that answer.
pub type Deployment = Object<DeploymentSpec>;

/// What a Deployment is to be.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeploymentSpec {
    /// Its pods.
    pub selector: Selector,
    /// How pods are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// What they are made of.
    pub template: PodTemplate,
}

/// How pods are replaced.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Strategy {
    /// One more than wanted, none fewer.
    pub rolling_update: RollingUpdate,
}

/// How many pods there may be while some are replaced.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollingUpdate {
    /// More than wanted.
    pub max_surge: u32,
    /// Fewer than wanted.
    pub max_unavailable: u32,
}

/// Labels and contents of pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodTemplate {
    /// Labels.
    pub metadata: PodMetadata,
    /// Contents.
    pub spec: PodSpec,
}

/// Labels of pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodMetadata {
    /// The labels.
    pub labels: Labels,
    /// Annotations.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}

/// Contents of a pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSpec {
    /// Its identity.
    pub service_account_name: String,
    /// Whether it gets the identity's token.
    pub automount_service_account_token: bool,
    /// What its containers may do.
    pub security_context: PodSecurityContext,
    /// Taints of nodes that do not keep it away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Number of its containers.
    pub containers: Vec<Container>,
    /// Its volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// Taints that do not keep a pod away.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toleration {
    /// `Exists`, without a key: all taints.
    pub operator: String,
}

/// A name for pods.
pub type Service = Object<ServiceSpec>;

/// Which pods, at which ports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// The pods.
    pub selector: Labels,
    /// The ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort {
    /// Its name.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// The name of the pods' port.
    pub target_port: String,
}

/// A scaler.
pub type Autoscaler = Object<AutoscalerSpec>;

/// What it scales, between which bounds, by what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AutoscalerSpec {
    /// What.
    pub scale_target_ref: TargetRef,
    /// Fewest replicas.
    pub min_replicas: u32,
    /// Most replicas.
    pub max_replicas: u32,
    /// By what.
    pub metrics: Vec<ScaleMetric>,
}

/// An object by kind and name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A figure that replicas are scaled by.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleMetric {
    /// `Resource`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which.
    pub resource: ScaleResource,
}

/// A resource and its target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleResource {
    /// `cpu`.
    pub name: String,
    /// The target.
    pub target: ScaleTarget,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleTarget {
    /// `Utilization`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Percent of the request.
    pub average_utilization: u32,
}

/// An endpoint of `KServe`.
pub type InferenceService = Object<InferenceServiceSpec>;

/// What `KServe` runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InferenceServiceSpec {
    /// The pods that answer.
    pub predictor: Predictor,
}

/// Pods that answer, and how many of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Predictor {
    /// Fewest replicas.
    pub min_replicas: u32,
    /// Most replicas.
    pub max_replicas: u32,
    /// `cpu`.
    pub scale_metric: String,
    /// Percent of the request.
    pub scale_target: u32,
    /// Labels of the pods.
    pub labels: Labels,
    /// Their identity.
    pub service_account_name: String,
    /// Whether they get the identity's token.
    pub automount_service_account_token: bool,
    /// What their containers may do.
    pub security_context: PodSecurityContext,
    /// Their containers.
    pub containers: Vec<Container>,
    /// Their volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}
