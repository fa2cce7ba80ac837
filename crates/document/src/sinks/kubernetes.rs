//! The sink `kubernetes`: classes of pods as events and annotations in their cluster.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Problem, problem};
use crate::http::HttpSettings;

/// The API server of a cluster whose pods `task: classify` names. Entities are `namespace/pod`. Both
/// settings are off by default, since they change objects of the cluster: at least one is set.
///
/// From inside of the cluster `url` is `https://kubernetes.default.svc`, and `auth` and `tls` come from
/// the Secret that the manifests hold for this sink.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSink {
    /// Writes a warning event at a pod that is not what its image declares, with the class and the three
    /// features that say so. The account needs `get` on `pods` and `create` on `events`.
    pub events: bool,
    /// Sets the annotations `lynceus.dev/class`, `lynceus.dev/class-probability`,
    /// `lynceus.dev/class-since` and `lynceus.dev/mismatch` of a pod whenever its class changes. The
    /// account needs `patch` on `pods`.
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
