//! The Argo workflow of a scenario: for each fault it waits, creates an object, watches it until
//! its end, and records the times.

use std::collections::BTreeSet;

use contract::{Span, StepError};
use serde_json::{Value, json};

use crate::file::{ScenarioFile, Step};
use crate::timetable::{Entry, Timetable};

use super::ChaosKind;

/// Time that Chaos Mesh may take beyond the fault's duration.
const SLACK_SECONDS: i64 = 300;

/// Names that differ between clusters.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// Namespace the workflow and the Chaos Mesh objects are created in.
    pub namespace: &'a str,
    /// Image with the program `lynceus`.
    pub image: &'a str,
    /// URL of the store that keeps the scenario log.
    pub store: &'a str,
    /// Secret with the store's credentials, as environment.
    pub store_secret: &'a str,
}

/// Returns the manifests: service account, role, binding and workflow, in the order to apply.
///
/// Errors: usage (2) for a step that is not injected by Chaos Mesh.
pub fn manifests(
    file: &ScenarioFile,
    timetable: &Timetable,
    settings: &Settings<'_>,
) -> Result<Vec<Value>, StepError> {
    let account = format!("lynceus-scenario-{}", file.name);
    let mut resources = BTreeSet::new();
    let mut stressed = BTreeSet::new();
    let mut templates = vec![wait_template(), record_template(file, settings)];
    let mut steps = vec![json!([wait("lead-in", timetable.lead_in)])];
    for (index, entry) in timetable.entries.iter().enumerate() {
        let step = &file.steps[entry.step];
        let Some(chaos) = &step.chaos_mesh else {
            return Err(StepError::usage(format!(
                "step `{}` is injected on this machine, not by Chaos Mesh",
                step.label
            ))
            .hint("set `chaos_mesh` instead of `local`, or use `lynceus scenario run`"));
        };
        resources.insert(chaos.kind.resource());
        if chaos.kind == ChaosKind::StressChaos {
            stressed.extend(chaos.namespaces());
        }
        let inject = inject_template(index, step, entry)?;
        steps.push(json!([{"name": format!("inject-{index}"), "template": inject["name"]}]));
        steps.push(json!([record(index, entry)]));
        steps.push(json!([wait(&format!("pause-{index}"), entry.pause)]));
        templates.push(inject);
    }
    templates.insert(0, json!({"name": "scenario", "steps": steps}));
    let workflow = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "generateName": format!("scenario-{}-", file.name),
            "namespace": settings.namespace,
        },
        "spec": {
            "entrypoint": "scenario",
            "serviceAccountName": account,
            "activeDeadlineSeconds": timetable.total.ms() / 1000
                + SLACK_SECONDS * (1 + i64::try_from(timetable.entries.len()).unwrap_or(0)),
            // With two scenarios at the same time, windows would have the labels of both.
            "synchronization": {"mutexes": [{"name": "lynceus-scenario"}]},
            "ttlStrategy": {"secondsAfterCompletion": 86_400},
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532},
            "templates": templates,
        },
    });
    let mut all = access(&account, settings.namespace, &resources);
    for namespace in stressed {
        all.extend(pods_of(&account, settings.namespace, namespace));
    }
    all.push(workflow);
    Ok(all)
}

fn wait_template() -> Value {
    json!({
        "name": "wait",
        "inputs": {"parameters": [{"name": "seconds"}]},
        "suspend": {"duration": "{{inputs.parameters.seconds}}"},
    })
}

fn wait(name: &str, span: Span) -> Value {
    // Without a duration Argo suspends forever, so every pause is at least one second.
    let seconds = (span.ms() / 1000).max(1).to_string();
    let seconds = json!([{"name": "seconds", "value": seconds}]);
    json!({"name": name, "template": "wait", "arguments": {"parameters": seconds}})
}

fn inject_template(index: usize, step: &Step, entry: &Entry) -> Result<Value, StepError> {
    let chaos = step.chaos_mesh.as_ref().ok_or_else(|| StepError::bug("a step without a fault"))?;
    let name = "{{workflow.name}}".to_owned() + &format!("-{index}");
    let manifest = serde_saphyr::to_string(&chaos.manifest(&name, entry.duration))
        .map_err(|error| StepError::bug(format!("cannot write a manifest as YAML: {error}")))?;
    Ok(json!({
        "name": format!("inject-{index}"),
        "activeDeadlineSeconds": SLACK_SECONDS,
        "resource": {
            "action": "create",
            "setOwnerReference": true,
            "manifest": manifest,
        },
    }))
}

fn record(index: usize, entry: &Entry) -> Value {
    let parameters = json!([
        {"name": "id", "value": format!("{{{{workflow.name}}}}-{index}")},
        {"name": "step", "value": entry.step.to_string()},
        {"name": "seconds", "value": (entry.duration.ms() / 1000).to_string()},
    ]);
    json!({
        "name": format!("record-{index}"),
        "template": "record",
        "arguments": {"parameters": parameters},
    })
}

/// Makes the template that watches the object until its fault has ended, with the account's token,
/// and appends the true times to the log in the store. The scenario file is mounted from a
/// `ConfigMap` named after the scenario.
fn record_template(file: &ScenarioFile, settings: &Settings<'_>) -> Value {
    let argument = |flag: &str, name: &str| format!("--{flag}={{{{inputs.parameters.{name}}}}}");
    let inputs = ["id", "step", "seconds"].map(|name| json!({"name": name}));
    json!({
        "name": "record",
        "inputs": {"parameters": inputs},
        "retryStrategy": {
            "limit": "5", "backoff": {"duration": "10s", "factor": "2"},
            // A retry does not help if Chaos Mesh does not inject the fault.
            "expression": "lastRetry.exitCode in ['4', '5'] || lastRetry.status == 'Error'",
        },
        "volumes": [{
            "name": "scenario",
            "configMap": {"name": format!("lynceus-scenario-{}", file.name)},
        }],
        "container": {
            "image": settings.image,
            "command": ["lynceus"],
            "args": [
                "scenario", "record", "/etc/lynceus/scenario/scenario.yaml",
                format!("--store={}", settings.store),
                argument("id", "id"), argument("step", "step"),
                argument("seconds", "seconds"), argument("object", "id"),
                "--namespace={{workflow.namespace}}", format!("--patience={}s", SLACK_SECONDS / 2),
            ],
            "envFrom": [{"secretRef": {"name": settings.store_secret}}],
            "volumeMounts": [
                {"name": "scenario", "mountPath": "/etc/lynceus/scenario", "readOnly": true},
            ],
            "resources": {
                "requests": {"cpu": "20m", "memory": "32Mi"},
                "limits": {"cpu": "500m", "memory": "128Mi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
    })
}

/// Makes the minimal permissions of the workflow: its own objects, and Argo's task results.
fn access(account: &str, namespace: &str, resources: &BTreeSet<String>) -> Vec<Value> {
    let metadata = json!({"name": account, "namespace": namespace});
    let api = "rbac.authorization.k8s.io";
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": metadata,
            "rules": [
                {"apiGroups": ["chaos-mesh.org"], "resources": resources,
                 "verbs": ["create", "get"]},
                {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"],
                 "verbs": ["create", "patch"]},
            ],
        }),
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        }),
    ]
}

/// Makes the permissions to read whether a stressed pod ran out of memory.
fn pods_of(account: &str, own: &str, namespace: &str) -> [Value; 2] {
    let metadata = json!({"name": format!("{account}-pods"), "namespace": namespace});
    let api = "rbac.authorization.k8s.io";
    [
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        }),
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": format!("{account}-pods")},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": own}],
        }),
    ]
}
