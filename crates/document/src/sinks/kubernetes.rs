//! The sink `kubernetes`: classes of pods as events and annotations in their cluster.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::HttpSettings;
use crate::problem::{Problem, problem};

/// The API server of the cluster whose pods `task: classify` classifies. Entities are
/// `namespace/pod`. Both `events` and `annotations` are off by default, because they change objects
/// of the cluster; set at least one.
///
/// Inside the cluster `url` is `https://kubernetes.default.svc`, and `auth` and `tls` come from the
/// Secret in the manifests of this sink.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSink {
    /// Whether a warning event is created for a pod that does not behave as its image declares,
    /// with the class and the three features that explain it. The account needs `get` on `pods` and
    /// `create` on `events`.
    pub events: bool,
    /// Whether the annotations `lynceus.dev/class`, `lynceus.dev/class-probability`,
    /// `lynceus.dev/class-since` and `lynceus.dev/mismatch` of a pod are set whenever its class
    /// changes. The account needs `patch` on `pods`.
    pub annotations: bool,
}

impl HttpSettings for KubernetesSink {
    const NAME: &'static str = "kubernetes";
    const TIMEOUT: Span = Span::from_seconds(5);
    const RETRIES: u8 = 1;

    fn check(&self) -> Result<(), Problem> {
        if self.events || self.annotations {
            return Ok(());
        }
        Err(problem("events", "nothing is published").hint("set `events` or `annotations` to true"))
    }

    fn permissions(&self) -> Vec<(&'static str, &'static str)> {
        let all = [
            (self.events, ("pods", "get")),
            (self.annotations, ("pods", "patch")),
            (self.events, ("events", "create")),
        ];
        all.into_iter().filter_map(|(is, permission)| is.then_some(permission)).collect()
    }
}
