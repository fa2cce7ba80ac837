//! The fields of the objects of an endpoint that the manifests use.

use serde::{Deserialize, Serialize};

use crate::cluster::{Object, Selector};
use crate::pod::{Container, IntOrString, Labels, PodSecurityContext, Volume};

/// The pods of the endpoint.
pub type Deployment = Object<DeploymentSpec>;

/// The specification of a Deployment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    /// Its pods.
    pub selector: Selector,
    /// How pods are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Template of the pods.
    pub template: PodTemplate,
}

/// How pods are replaced.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// One more pod than the replica count, and none fewer.
    pub rolling_update: RollingUpdate,
}

/// How many pods there may be while some are replaced.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    /// More than wanted.
    pub max_surge: IntOrString,
    /// Fewer than wanted.
    pub max_unavailable: IntOrString,
}

/// Labels and contents of pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// Labels.
    pub metadata: PodMetadata,
    /// Contents.
    pub spec: PodSpec,
}

/// Labels of pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMetadata {
    /// The labels.
    pub labels: Labels,
    /// Annotations.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}

/// Contents of a pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Its identity.
    pub service_account_name: String,
    /// Whether it gets the identity's token.
    #[serde(default = "crate::cluster::yes")]
    pub automount_service_account_token: bool,
    /// Security context of its containers.
    pub security_context: PodSecurityContext,
    /// Taints of nodes that the pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Its containers.
    pub containers: Vec<Container>,
    /// Its volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// Taints that a pod tolerates.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Toleration {
    /// `Exists`, without a key: all taints.
    pub operator: String,
}

/// A name for pods.
pub type Service = Object<ServiceSpec>;

/// Which pods, at which ports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// The pods.
    pub selector: Labels,
    /// The ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Its name.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// The name or the number of the pods' port.
    pub target_port: String,
}

/// A scaler.
pub type Autoscaler = Object<AutoscalerSpec>;

/// The scaled object, the bounds, and the metrics.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoscalerSpec {
    /// The scaled object.
    pub scale_target_ref: TargetRef,
    /// Fewest replicas.
    #[serde(default = "one")]
    pub min_replicas: u32,
    /// Most replicas.
    pub max_replicas: u32,
    /// The metrics.
    pub metrics: Vec<ScaleMetric>,
}

/// An object by kind and name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A metric by which replicas are scaled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ScaleMetric {
    /// `Resource`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The resource.
    pub resource: ScaleResource,
}

/// A resource and its target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ScaleResource {
    /// `cpu`.
    pub name: String,
    /// The target.
    pub target: ScaleTarget,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleTarget {
    /// `Utilization`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Percent of the request.
    pub average_utilization: u32,
}

/// An endpoint of `KServe`.
pub type InferenceService = Object<InferenceServiceSpec>;

/// The specification of an `InferenceService`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InferenceServiceSpec {
    /// The pods of the endpoint.
    pub predictor: Predictor,
}

/// The pods of the endpoint, and their number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Predictor {
    /// Fewest replicas.
    #[serde(default = "one")]
    pub min_replicas: u32,
    /// Most replicas.
    #[serde(default = "any_number")]
    pub max_replicas: u32,
    /// `cpu`.
    #[serde(default = "cpu")]
    pub scale_metric: String,
    /// Percent of the request.
    pub scale_target: u32,
    /// Labels of the pods.
    pub labels: Labels,
    /// Their identity.
    pub service_account_name: String,
    /// Whether they get the identity's token.
    #[serde(default = "crate::cluster::yes")]
    pub automount_service_account_token: bool,
    /// Security context of their containers.
    pub security_context: PodSecurityContext,
    /// Their containers.
    pub containers: Vec<Container>,
    /// Their volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// What Kubernetes and `KServe` assume where nothing is said.
const fn one() -> u32 {
    1
}

const fn any_number() -> u32 {
    u32::MAX
}

fn cpu() -> String {
    "cpu".to_owned()
}
