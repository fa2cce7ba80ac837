//! The fields of a `DaemonSet` that the manifests use.

use serde::{Deserialize, Serialize};

use crate::cluster::{Object, Selector};
use crate::serving::objects::PodTemplate;

/// A pod on each node.
pub type DaemonSet = Object<DaemonSetSpec>;

/// The specification of a `DaemonSet`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetSpec {
    /// Selects its pods.
    pub selector: Selector,
    /// Template of the pods.
    pub template: PodTemplate,
}
