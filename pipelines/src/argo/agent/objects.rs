//! The fields of a `DaemonSet` that the manifests use.

use serde::{Deserialize, Serialize};

use crate::argo::cluster::{Object, Selector};
use crate::argo::serving::objects::PodTemplate;

/// A pod on each node.
pub type DaemonSet = Object<DaemonSetSpec>;

/// What a `DaemonSet` is to be.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DaemonSetSpec {
    /// Its pods.
    pub selector: Selector,
    /// What they are made of.
    pub template: PodTemplate,
}
