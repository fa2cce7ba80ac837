//! Faults in a cluster: an Argo workflow creates Chaos Mesh objects and waits for their end, and
//! the true times are read from the objects' status.

mod status;
mod watch;
mod workflow;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use status::Asked;
pub use watch::{Ended, OutOfMemory, Watch, cut, out_of_memory, pod_of};
pub use workflow::{Settings, manifests};

/// API group and version of every Chaos Mesh object.
pub const API_VERSION: &str = "chaos-mesh.org/v1alpha1";

/// A Chaos Mesh object, with Chaos Mesh's own fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChaosMesh {
    /// Kind of the object.
    pub kind: ChaosKind,
    /// Its `spec`, without `duration`, which the step's `for` sets: `mode`, `selector`, and the fields
    /// of the kind.
    pub spec: Map<String, Value>,
}

/// Kinds of Chaos Mesh objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChaosKind {
    /// Processor and memory load in the containers of pods.
    StressChaos,
    /// Delay, loss, duplicates, corruption, partition or a bandwidth limit.
    NetworkChaos,
    /// Killed or failing pods and containers.
    PodChaos,
    /// Delay and errors of file operations.
    #[serde(rename = "IOChaos")]
    IoChaos,
    /// Wrong or failing name resolution.
    #[serde(rename = "DNSChaos")]
    DnsChaos,
}

impl ChaosKind {
    /// Returns the kind as Kubernetes spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StressChaos => "StressChaos",
            Self::NetworkChaos => "NetworkChaos",
            Self::PodChaos => "PodChaos",
            Self::IoChaos => "IOChaos",
            Self::DnsChaos => "DNSChaos",
        }
    }

    /// Returns the resource name for rules of a Role.
    pub fn resource(self) -> String {
        self.name().to_lowercase()
    }
}

/// Modes of a selector.
const MODES: [&str; 5] = ["one", "all", "fixed", "fixed-percent", "random-max-percent"];
/// Actions of a `PodChaos` that happen once and have no recovery.
const ONE_SHOT: [&str; 2] = ["pod-kill", "container-kill"];

impl ChaosMesh {
    /// Returns the kind as Kubernetes spells it.
    pub fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// Returns whether the fault happens once: it has a start and no recovery.
    pub fn is_one_shot(&self) -> bool {
        let action = self.spec.get("action").and_then(Value::as_str);
        self.kind == ChaosKind::PodChaos && action.is_some_and(|it| ONE_SHOT.contains(&it))
    }

    /// Returns the path of an object of this kind in the API of Kubernetes.
    pub fn path(&self, namespace: &str, name: &str) -> String {
        let resource = self.kind.resource();
        format!("/apis/{API_VERSION}/namespaces/{namespace}/{resource}/{name}")
    }

    /// Returns the namespaces in which it selects pods.
    pub fn namespaces(&self) -> Vec<&str> {
        let names =
            self.spec.get("selector").and_then(|selector| selector["namespaces"].as_array());
        names.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Checks for fields that Chaos Mesh would ignore, or reject without a message in its status.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mode = self.spec.get("mode").and_then(Value::as_str).unwrap_or_default();
        if !MODES.contains(&mode) {
            return Err(format!("spec.mode: must be one of {}", MODES.join(", ")));
        }
        if !self.spec.get("selector").is_some_and(Value::is_object) {
            return Err("spec.selector: must be a mapping such as {namespaces: [shop]}".to_owned());
        }
        if self.spec.contains_key("duration") {
            return Err("spec.duration: the step's `for` sets it".to_owned());
        }
        if self.spec.get("value").is_some_and(|value| !value.is_string()) {
            return Err("spec.value: Chaos Mesh takes a text such as '50'".to_owned());
        }
        Ok(())
    }

    /// Returns the object that injects the fault for `duration`.
    pub fn manifest(&self, name: &str, duration: Span) -> Value {
        let mut spec = self.spec.clone();
        if !self.is_one_shot() {
            let seconds = (duration.ms() / 1000).max(1);
            spec.insert("duration".to_owned(), format!("{seconds}s").into());
        }
        serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": self.kind.name(),
            "metadata": {"name": name},
            "spec": spec,
        })
    }
}
