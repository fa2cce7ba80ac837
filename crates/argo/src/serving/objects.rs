//! The fields of `KServe`'s objects that the manifests use.

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, Volume};
use serde::{Deserialize, Serialize};

use crate::cluster::{Labels, Object};

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
    pub min_replicas: i32,
    /// Most replicas.
    #[serde(default = "any_number")]
    pub max_replicas: i32,
    /// `cpu`.
    #[serde(default = "cpu")]
    pub scale_metric: String,
    /// Percent of the request.
    pub scale_target: i32,
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

/// What `KServe` assumes where nothing is said.
const fn one() -> i32 {
    1
}

const fn any_number() -> i32 {
    i32::MAX
}

fn cpu() -> String {
    "cpu".to_owned()
}
