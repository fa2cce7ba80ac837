//! Objects of kustomize, the artifact repository of Argo, and what all objects share.
//! `k8s-openapi` has the types of Kubernetes itself.
//!
//! `lint` checks all fields by the published schemas before it reads the objects into types; those
//! of this crate leave out the fields that no rule is about.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SecretKeySelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Labels and annotations.
pub type Labels = BTreeMap<String, String>;

/// Fields that no rule is about, by name; the generator writes none.
pub type Others = BTreeMap<String, Value>;

/// An object with a specification, which is of another project where the generator writes it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Object<S> {
    /// API version, such as `argoproj.io/v1alpha1`.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Specification of the object.
    pub spec: S,
}

/// The input of kustomize; only the fields that the base and the overlays of the repository use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kustomization {
    /// `kustomize.config.k8s.io/v1beta1`.
    pub api_version: String,
    /// `Kustomization`.
    pub kind: String,
    /// The namespace of all objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Files and folders.
    pub resources: Vec<String>,
    /// The order in which objects are applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_options: Option<SortOptions>,
    /// Patches of the objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
}

/// The order in which objects are applied.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SortOptions {
    /// `fifo`: as they are listed. By default kustomize puts a `CronWorkflow` before the
    /// `WorkflowTemplate` that it names, and Argo then ignores it for up to 20 minutes.
    pub order: String,
}

/// A change of objects.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Patch {
    /// The patched objects; without it the patch itself names its object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<PatchTarget>,
    /// The change, as YAML in a string.
    pub patch: String,
}

/// Which objects a patch changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PatchTarget {
    /// Their kind.
    pub kind: String,
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The artifact repository, as Argo reads it from a `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactRepository {
    /// The bucket.
    pub s3: S3Repository,
}

/// A bucket with its endpoint and credentials.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct S3Repository {
    /// Host and port.
    pub endpoint: String,
    /// Whether it uses plain HTTP.
    pub insecure: bool,
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Key format of the logs.
    pub key_format: String,
    /// Reference to the access key.
    pub access_key_secret: SecretKeySelector,
    /// Reference to the secret key.
    pub secret_key_secret: SecretKeySelector,
    /// The certificate of a private authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKeySelector>,
}

/// Returns what Kubernetes assumes where nothing is said.
pub(super) const fn yes() -> bool {
    true
}

/// Returns an object's name; empty if it has none.
pub(super) fn name_of(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

/// Returns labels or annotations, of which there may be none.
pub(super) fn given(labels: Option<&Labels>) -> &Labels {
    const NONE: &Labels = &Labels::new();
    labels.unwrap_or(NONE)
}

/// Selects pods or namespaces with all of these labels.
pub(super) fn selector(labels: Labels) -> LabelSelector {
    LabelSelector {
        match_labels: (!labels.is_empty()).then_some(labels),
        ..LabelSelector::default()
    }
}

/// Returns the labels that a selector names; `None` and no labels select all.
pub(super) fn selected(selector: Option<&LabelSelector>) -> &Labels {
    given(selector.and_then(|selector| selector.match_labels.as_ref()))
}

/// Returns the text of a port's name or number, or of a share such as `25%`.
pub(super) fn text_of(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}
