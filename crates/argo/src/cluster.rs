//! The fields of Kubernetes' own objects that the manifests use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pod::{IntOrString, Labels, NameRef};

/// An object with a `spec`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Object<S> {
    /// API version, such as `argoproj.io/v1alpha1`.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// Specification of the object.
    pub spec: S,
}

/// Name, labels and annotations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace; kustomize sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Labels,
}

/// Texts by key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// `v1`.
    pub api_version: String,
    /// `ConfigMap`.
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// The texts.
    pub data: BTreeMap<String, String>,
}

/// An identity of pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccount {
    /// `v1`.
    pub api_version: String,
    /// `ServiceAccount`.
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// Whether Kubernetes mounts its token into pods by default.
    #[serde(default = "yes")]
    pub automount_service_account_token: bool,
}

/// A Secret: the generator writes one without values, into which Kubernetes fills a service
/// account's token.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenSecret {
    /// `v1`.
    pub api_version: String,
    /// `Secret`.
    pub kind: String,
    /// Name and the account in an annotation.
    pub metadata: Metadata,
    /// `kubernetes.io/service-account-token`.
    #[serde(rename = "type")]
    pub secret_type: String,
    /// Its values, encoded; the generator writes none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: Labels,
    /// Its values as texts; the generator writes none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub string_data: Labels,
}

/// What may be done.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Role {
    /// `rbac.authorization.k8s.io/v1`.
    pub api_version: String,
    /// `Role`.
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// What.
    pub rules: Vec<RoleRule>,
}

/// Verbs on resources.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRule {
    /// Whose resources.
    pub api_groups: Vec<String>,
    /// Which.
    pub resources: Vec<String>,
    /// What may be done with them.
    pub verbs: Vec<String>,
}

/// User or service account with the permission.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleBinding {
    /// `rbac.authorization.k8s.io/v1`.
    pub api_version: String,
    /// `RoleBinding`.
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// The role.
    pub role_ref: RoleRef,
    /// Who gets it.
    pub subjects: Vec<Subject>,
}

/// A role by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    /// `rbac.authorization.k8s.io`.
    pub api_group: String,
    /// `Role`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// An account by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `ServiceAccount`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; kustomize sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Connections that pods may make and accept.
pub type NetworkPolicy = Object<NetworkPolicySpec>;

/// Connections that the selected pods may make and accept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySpec {
    /// The pods.
    pub pod_selector: Selector,
    /// `Ingress`, `Egress`: the directions in which connections without a rule are denied.
    pub policy_types: Vec<String>,
    /// Allowed destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressRule>,
    /// Allowed sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<IngressRule>,
}

/// Sources of incoming connections, and their ports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IngressRule {
    /// Allowed sources; empty allows all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Peer>,
    /// Where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PolicyPort>,
}

/// Pods or namespaces with all of these labels.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// The labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: Labels,
}

/// Allowed destinations and their ports; without peers, all destinations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EgressRule {
    /// Allowed destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Peer>,
    /// Where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PolicyPort>,
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Peer {
    /// Pods of these namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// Pods with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<Selector>,
    /// Addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// Addresses.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IpBlock {
    /// CIDR, as in `10.0.0.1/32`.
    pub cidr: String,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyPort {
    /// `TCP` or `UDP`.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// Its number or name, as pods see it: behind a Service that is the target port.
    pub port: IntOrString,
}

/// A namespace; overlays make it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// `v1`.
    pub api_version: String,
    /// `Namespace`.
    pub kind: String,
    /// Name and labels; one label sets the Pod Security level.
    pub metadata: Metadata,
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
    pub access_key_secret: SecretKey,
    /// Reference to the secret key.
    pub secret_key_secret: SecretKey,
    /// The certificate of a private authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretKey {
    /// The Secret.
    pub name: String,
    /// The key.
    pub key: String,
}

/// Returns what Kubernetes assumes where nothing is said.
pub(super) const fn yes() -> bool {
    true
}

fn tcp() -> String {
    "TCP".to_owned()
}

/// Makes a reference to an object.
pub(super) fn reference(name: &str) -> NameRef {
    NameRef { name: name.to_owned() }
}
