//! The sink `kubernetes`: the class of a pod as annotations, and an event if it does not behave as
//! its image declares.
//!
//! Publishing a window again changes nothing: annotations are set to the same values, and the name
//! of an event is derived from its content.

use std::path::Path;

use client::{Failed, Reply, Request, Server};
use contract::classify::{EntityClass, UNKNOWN};
use contract::score::EntityScore;
use contract::{Span, StepError, Timestamp, artifact};
use document::http::Http;
use document::sinks::kubernetes::KubernetesSink;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Batch, Failure, Opener, Sink};

/// Prefix of the annotations' names.
const PREFIX: &str = "lynceus.dev";
/// Reason of the events.
const REASON: &str = "ClassMismatch";
/// Maximum number of bytes of a pod's name in the name of an event.
const NAME_BYTES: usize = 200;

/// The API server of a cluster.
struct Kubernetes {
    server: Server,
    runtime: tokio::runtime::Runtime,
    events: bool,
    annotations: bool,
}

/// A pod by name.
struct Pod<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Pod<'a> {
    /// Reads `namespace/pod`; `None` for another entity.
    fn of(entity: &'a str) -> Option<Self> {
        let is_name = |text: &str| {
            let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let is_inner = text.chars().all(|c| is_letter(c) || c == '-' || c == '.');
            is_inner && text.starts_with(is_letter) && text.ends_with(is_letter)
        };
        let (namespace, name) = entity.split_once('/')?;
        (is_name(namespace) && is_name(name)).then_some(Self { namespace, name })
    }

    fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods/{}", self.namespace, self.name)
    }
}

impl Opener for Http<KubernetesSink> {
    fn open(&self, name: &str, folder: &Path) -> Result<Box<dyn Sink>, StepError> {
        let field = format!("exports.{name}.kubernetes");
        let (server, runtime) = super::connect(&self.server, &field, folder)?;
        let KubernetesSink { events, annotations } = self.own;
        Ok(Box::new(Kubernetes { server, runtime, events, annotations }))
    }
}

impl Kubernetes {
    /// Publishes the verdict of a pod; returns the number of changed objects, 0 for a deleted pod.
    fn pod(
        &self,
        pipeline: &str,
        scored: &EntityScore,
        class: &EntityClass,
    ) -> Result<usize, Failure> {
        let Some(pod) = Pod::of(&scored.entity) else { return Ok(0) };
        let is_event = self.events && class.mismatch;
        let found = if self.annotations {
            let body = json!({"metadata": {"annotations": annotations(class)}});
            self.ask(Method::PATCH, &pod.path(), "application/merge-patch+json", &body)?
        } else if is_event {
            self.ask(Method::GET, &pod.path(), "", &Value::Null)?
        } else {
            return Ok(0);
        };
        let Some(found) = found else { return Ok(0) };
        let changed = usize::from(self.annotations);
        if !is_event {
            return Ok(changed);
        }
        let uid = found["metadata"]["uid"].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{}/events", pod.namespace);
        let body = event(pipeline, &pod, uid, scored, class);
        self.ask(Method::POST, &path, "application/json", &body)?;
        Ok(changed + 1)
    }

    /// Sends a request; returns the object of the reply, or `None` if the pod or namespace was
    /// deleted or the event already exists.
    fn ask(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: &Value,
    ) -> Result<Option<Value>, Failure> {
        let url = self.server.url().join(path);
        let request = if method == Method::GET {
            Request::get(url)
        } else {
            let body = body.to_string().into_bytes();
            Request { method, ..Request::post(url, media_type, body) }
        };
        let judge = |reply: Reply| {
            let object: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            if reply.is_success() {
                return Ok(Some(object));
            }
            if is_settled(reply.status, &object) {
                return Ok(None);
            }
            let failed = self.refused(&request, &reply, &object);
            // Another writer changed the pod at the same time, so a retry may succeed.
            let is_passing = failed.is_passing || reply.status == CONFLICT;
            Err(Failed { is_passing, ..failed })
        };
        Ok(self.runtime.block_on(self.server.send(&request, judge))?)
    }

    fn refused(&self, request: &Request, reply: &Reply, status: &Value) -> Failed {
        let said = status["message"].as_str().map_or(reply.text().into_owned(), str::to_owned);
        let failed = self.server.refusal(request, reply, &said);
        if !matches!(reply.status, 401 | 403) {
            return failed;
        }
        let hint =
            "the account needs the verbs `get` and `patch` on `pods` and `create` on `events`";
        Failed { error: failed.error.hint(hint), ..failed }
    }
}

impl Sink for Kubernetes {
    fn publish(&mut self, batch: &Batch<'_>) -> Result<usize, Failure> {
        let (mut changed, mut refused) = (0, None);
        for window in batch.windows {
            let is_new = |class: &&EntityClass| class.since == window.time;
            for scored in &window.entities {
                let Some(class) = scored.class.as_ref().filter(is_new) else { continue };
                match self.pod(batch.pipeline, scored, class) {
                    Ok(count) => changed += count,
                    // A permanently rejected pod does not affect the other pods.
                    Err(failure) if failure.is_final => refused = Some(failure),
                    Err(failure) => return Err(failure),
                }
            }
        }
        refused.map_or(Ok(changed), Err)
    }
}

/// Status of a change that conflicts with an earlier one, and of an object that already exists.
const CONFLICT: u16 = 409;

/// Returns whether a reply of an API server means that nothing is left to do: the pod or its
/// namespace was deleted, or the event already exists. A reply without the reason of an API server
/// does not count.
fn is_settled(status: u16, object: &Value) -> bool {
    let reason = object["reason"].as_str().unwrap_or_default();
    let causes = object["details"]["causes"].as_array().into_iter().flatten();
    match status {
        404 => reason == "NotFound",
        CONFLICT => reason == "AlreadyExists",
        403 => causes.into_iter().any(|cause| cause["reason"] == "NamespaceTerminating"),
        _ => false,
    }
}

/// Returns the annotations of a verdict; `null` removes an annotation.
fn annotations(class: &EntityClass) -> Value {
    let named = class.class.as_deref().unwrap_or(UNKNOWN);
    let mismatch = class.declared.as_deref().filter(|_| class.mismatch);
    json!({
        format!("{PREFIX}/class"): named,
        format!("{PREFIX}/class-probability"): format!("{:.3}", class.probability),
        format!("{PREFIX}/class-since"): class.since.to_string(),
        format!("{PREFIX}/mismatch"): mismatch.map(|declared| format!("declares {declared}")),
    })
}

/// Returns the event of a pod whose class differs from the declared one.
fn event(
    pipeline: &str,
    pod: &Pod<'_>,
    uid: &str,
    scored: &EntityScore,
    class: &EntityClass,
) -> Value {
    let EntityClass { declared, since, probability, .. } = class;
    let declared = declared.as_deref().unwrap_or("something else");
    let named = class.class.as_deref().unwrap_or("no known class");
    let features: Vec<&str> = scored.causes.iter().take(3).map(|it| it.feature.as_str()).collect();
    let by = if features.is_empty() {
        String::new()
    } else {
        format!(", as {} say", features.join(", "))
    };
    let message = format!(
        "declared {declared}, behaves like {named} (probability {probability:.2}) since {since}{by}"
    );
    let said = format!("{pipeline}\n{}\n{uid}\n{since}\n{named}", scored.entity);
    let hash = artifact::sha256(said.as_bytes());
    let short = pod.name.get(..NAME_BYTES).unwrap_or(pod.name);
    let name = format!("{}.{}", short.trim_end_matches(['.', '-']), &hash[..16]);
    let time = seconds(*since);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": pod.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": uid,
        },
        "type": "Warning",
        "reason": REASON,
        "action": "Classify",
        "message": message,
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": "lynceus"},
        "reportingComponent": format!("{PREFIX}/lynceus"),
        "reportingInstance": pipeline,
    })
}

/// Returns a time in whole seconds, the format of `metav1.Time`.
fn seconds(time: Timestamp) -> String {
    time.floor(Span::from_seconds(1)).to_string()
}
