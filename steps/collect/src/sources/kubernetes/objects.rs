//! Fields of the API's objects that are read; all others are skipped.

use std::collections::BTreeMap;

use contract::Timestamp;
use serde::{Deserialize, Deserializer};

/// Annotation that names a pod's main container.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    #[serde(default)]
    pub(super) metadata: PageMetadata,
    /// An empty list may be `null`.
    pub(super) items: Option<Vec<T>>,
}

/// Metadata of a page of a list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PageMetadata {
    /// Token of the next page; empty at the end of the list.
    #[serde(default, rename = "continue")]
    pub(super) next: String,
}

/// An error in the format of the API.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) message: String,
}

fn or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}

/// A node.
#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) status: NodeStatus,
}

/// Status of a node.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NodeStatus {
    #[serde(default, deserialize_with = "or_null")]
    pub(super) images: Vec<NodeImage>,
}

/// An image on a node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeImage {
    /// Names with a tag, and names with a digest.
    #[serde(default, deserialize_with = "or_null")]
    pub(super) names: Vec<String>,
    #[serde(default)]
    pub(super) size_bytes: u64,
}

/// A pod.
#[derive(Debug, Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: PodSpec,
    #[serde(default)]
    pub(super) status: PodStatus,
}

/// Metadata of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner_references: Vec<Owner>,
    creation_timestamp: Option<String>,
}

impl Metadata {
    /// Returns when the object was created, if that is known.
    pub(super) fn created(&self) -> Option<Timestamp> {
        self.creation_timestamp.as_ref()?.parse().ok()
    }
}

/// Owner of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    kind: String,
    name: String,
    controller: bool,
}

/// Specification of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub(super) node_name: String,
    pub(super) containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Container {
    pub(super) name: String,
    /// The image as its author wrote it.
    pub(super) image: String,
}

/// Status of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    phase: String,
    start_time: Option<String>,
    container_statuses: Vec<ContainerStatus>,
}

/// Status of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "imageID")]
    image_id: String,
    restart_count: u32,
}

impl Pod {
    /// Returns when it started; `None` for a pod that is not running.
    pub(super) fn started(&self) -> Option<Timestamp> {
        if self.status.phase != "Running" {
            return None;
        }
        self.status.start_time.as_ref()?.parse().ok()
    }

    /// Returns its main container.
    pub(super) fn main(&self) -> Option<&Container> {
        let named = self.metadata.annotations.get(DEFAULT_CONTAINER);
        let containers = &self.spec.containers;
        let named = named.and_then(|name| containers.iter().find(|it| it.name == *name));
        named.or_else(|| containers.first())
    }

    /// Returns the id of the image that a container runs; empty where it is not known.
    pub(super) fn image_id(&self, container: &Container) -> &str {
        let mut statuses = self.status.container_statuses.iter();
        statuses.find(|it| it.name == container.name).map_or("", |it| it.image_id.as_str())
    }

    /// Returns the restarts of all its containers.
    pub(super) fn restarts(&self) -> f64 {
        self.status.container_statuses.iter().map(|it| f64::from(it.restart_count)).sum()
    }

    /// Returns the workload that it belongs to: the Deployment if it belongs to a replica set of a
    /// Deployment.
    pub(super) fn owner(&self) -> Option<String> {
        let owners = &self.metadata.owner_references;
        let owner = owners.iter().find(|owner| owner.controller).or_else(|| owners.first())?;
        let hash = self.metadata.labels.get("pod-template-hash");
        let of_deployment = hash
            .filter(|_| owner.kind == "ReplicaSet")
            .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        Some(of_deployment.unwrap_or(&owner.name).to_owned())
    }
}
