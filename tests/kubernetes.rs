//! Validates objects like the API server of Kubernetes, without one: by a reduced copy of the
//! published `OpenAPI`, and by validation rules that are not in the schema.

mod rules;
mod schema;

use anyhow::{Context as _, Result, ensure};
use argo::{Options, Serving, yaml};
use serde_json::{Value, json};

/// Returns the API server's errors for an object, one per line; empty for a valid object. An
/// unknown field is an error, as with `kubectl apply --validate=strict`.
pub(crate) fn refusals(object: &Value) -> Result<Vec<String>> {
    let mut said = schema::refusals(object)?;
    said.extend(rules::refusals(object));
    Ok(said)
}

/// Returns the pod that Argo would make of a template of a workflow: its containers, and the volumes
/// that they mount.
pub(crate) fn argo_pod(spec: &Value, template: &Value, volumes: &[Value]) -> Value {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut containers = list(&template["containerSet"]["containers"]);
    let shared = list(&template["containerSet"]["volumeMounts"]);
    if template["container"].is_object() {
        let mut main = template["container"].clone();
        main["name"] = "main".into();
        containers.push(main);
    }
    for container in &mut containers {
        let mut mounts = list(&container["volumeMounts"]);
        mounts.extend(shared.iter().cloned());
        container["volumeMounts"] = mounts.into();
        // A field of Argo, which its executor implements.
        container.as_object_mut().map(|fields| fields.remove("dependencies"));
    }
    let mut pod = json!({
        "containers": containers,
        "volumes": volumes,
        "restartPolicy": "Never",
    });
    for field in ["securityContext", "automountServiceAccountToken", "serviceAccountName"] {
        if let Some(value) = spec.get(field) {
            pod[field] = value.clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a-pod"}, "spec": pod})
}

/// All objects that the generator writes for documents of each kind, and those of `minio/`.
fn objects() -> Result<Vec<(String, Value)>> {
    let folder = crate::workspace::pipelines();
    let mut documents = Vec::new();
    for name in ["cluster", "node", "container", "flow"] {
        let overlay = folder.join(format!("../argo/documents/{name}.yaml"));
        let overlays = if overlay.is_file() { vec![overlay.as_path()] } else { Vec::new() };
        let changes = document::Changes { overlays, sets: Vec::new() };
        let mut document = document::read_with(&folder.join(format!("{name}.yaml")), &changes)?;
        document.sample = None;
        documents.push(document);
    }
    let options = Options { serving: Some(Serving::Deployment), ..Options::default() };
    let manifests = argo::generate_with(&documents, options)?;
    let mut texts: Vec<(String, String)> =
        manifests.into_iter().map(|manifest| (manifest.path, manifest.text)).collect();
    for name in ["statefulset", "service", "network-policies", "setup"] {
        let file = folder.join(format!("../minio/{name}.yaml"));
        texts.push((file.display().to_string(), fs_err::read_to_string(&file)?));
    }
    let mut objects = Vec::new();
    for (file, text) in &texts {
        for (_, text) in yaml::documents(text) {
            objects.push((file.clone(), yaml::read(&text)?));
        }
    }
    Ok(objects)
}

/// Returns whether Kubernetes has a schema for an object; Argo and kustomize have their own.
fn is_known(object: &Value) -> bool {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    !version.starts_with("argoproj.io") && !version.contains("kustomize")
}

/// Returns an object of the generated ones.
fn generated(kind: &str, name: &str) -> Result<Value> {
    let mut objects = objects()?.into_iter().map(|(_, object)| object);
    objects
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .with_context(|| format!("no {kind}/{name}"))
}

#[test]
fn api_server_takes_every_generated_object() -> Result<()> {
    let mut kinds = std::collections::BTreeSet::new();
    for (file, object) in objects()?.iter().filter(|(_, object)| is_known(object)) {
        kinds.insert(object["kind"].to_string());
        assert_eq!(refusals(object)?, [""; 0], "{file}: {}", object["metadata"]["name"]);
    }
    for kind in
        ["DaemonSet", "Deployment", "NetworkPolicy", "Role", "Service", "StatefulSet", "Job"]
    {
        assert!(kinds.contains(&format!("\"{kind}\"")), "{kind}: {kinds:?}");
    }
    Ok(())
}

#[test]
fn api_server_takes_every_pod_that_argo_makes_of_a_container() -> Result<()> {
    let mut count = 0;
    for (file, object) in objects()? {
        let spec = match object["kind"].as_str() {
            Some("WorkflowTemplate") => &object["spec"],
            Some("CronWorkflow") => &object["spec"]["workflowSpec"],
            _ => continue,
        };
        let templates = spec["templates"].as_array().into_iter().flatten();
        for template in templates.filter(|template| template["container"].is_object()) {
            let volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
            let pod = argo_pod(spec, template, &volumes);
            assert_eq!(refusals(&pod)?, [""; 0], "{file}: {}", template["name"]);
            count += 1;
        }
    }
    ensure!(count > 10, "{count} pods");
    Ok(())
}

/// A change of an object: the field by its JSON pointer, its value, and the expected error.
type Change = (&'static str, Value, &'static str);

fn is_refused(kind: &str, name: &str, changes: &[Change]) -> Result<()> {
    for (pointer, value, words) in changes {
        let mut object = generated(kind, name)?;
        let (parent, field) = pointer.rsplit_once('/').context("a pointer")?;
        let parent = object.pointer_mut(parent).with_context(|| format!("no `{parent}`"))?;
        match parent {
            Value::Array(items) => items.push(value.clone()),
            other => other[field] = value.clone(),
        }
        let said = refusals(&object)?;
        assert!(
            said.iter().any(|line| line.contains(words)),
            "{kind} {pointer}: expected `{words}`, found {said:#?}"
        );
    }
    Ok(())
}

#[test]
fn broken_daemon_set_is_refused_by_field() -> Result<()> {
    const POD: &str = "/spec/template/spec";
    let container = |field: &'static str| -> &'static str {
        Box::leak(format!("{POD}/containers/0/{field}").into_boxed_str())
    };
    is_refused(
        "DaemonSet",
        "lynceus-node-agent",
        &[
            ("/spec/replicas", 1.into(), "spec.replicas: unknown field"),
            ("/spec/selector", json!({}), "selector: does not match the labels of the template"),
            ("/metadata/name", "Agent_1".into(), "metadata.name: `Agent_1`"),
            ("/metadata/labels", json!({"a": "b c"}), "metadata.labels.a"),
            (container("args"), "--node".into(), "args: must be an array"),
            (container("tty"), "yes".into(), "tty: must be a boolean"),
            (container("imag"), "x".into(), "imag: unknown field"),
            (container("image"), "".into(), "image: is empty"),
            (container("name"), "agent.1".into(), "name: `agent.1`"),
            (
                container("volumeMounts/-"),
                json!({"name": "logs", "mountPath": "/logs"}),
                "Not found: \"logs\"",
            ),
            (
                container("volumeMounts/-"),
                json!({"name": "spool", "mountPath": "/spool"}),
                "mountPath: `/spool` is there twice",
            ),
            (container("ports/0/containerPort"), 65_536.into(), "containerPort: 65536"),
            (
                container("ports/0/containerPort"),
                "9464".into(),
                "containerPort: must be an integer",
            ),
            (container("ports/0/name"), "port-of-metrics-1".into(), "name: `port-of-metrics-1`"),
            (container("livenessProbe/httpGet/port"), "health".into(), "no port named `health`"),
            (container("livenessProbe/httpGet/port"), 0.into(), "httpGet.port: 0"),
            (container("resources/limits/memory"), "64MB".into(), "`64MB` is not a quantity"),
            (container("resources/limits/memory"), "16Mi".into(), "more than its limit"),
            (container("env/-"), json!({"name": "1=2"}), "env.2.name: `1=2`"),
            (
                "/spec/template/spec/volumes/-",
                json!({"name": "two", "emptyDir": {}, "secret": {"secretName": "x"}}),
                "volumes.4: names 2 sources",
            ),
            (
                "/spec/template/spec/volumes/-",
                json!({"name": "spool", "emptyDir": {}}),
                "`spool` is there twice",
            ),
            ("/spec/template/spec/restartPolicy", "Never".into(), "restartPolicy"),
        ],
    )
}

#[test]
fn broken_services_policies_and_roles_are_refused_by_field() -> Result<()> {
    is_refused(
        "Service",
        "lynceus-cluster-serve",
        &[
            ("/spec/ports/0/port", 70_000.into(), "port: 70000"),
            ("/spec/ports/0/targetPort", "http_1".into(), "targetPort: `http_1`"),
            ("/metadata/name", "1st".into(), "metadata.name: `1st`"),
            ("/spec/portz", json!([]), "spec.portz: unknown field"),
        ],
    )?;
    is_refused(
        "NetworkPolicy",
        "lynceus-node-agent",
        &[
            ("/spec/egress/0/ports/0/port", 0.into(), "port: 0"),
            ("/spec/policyTypes/-", "Outgress".into(), "`Outgress`"),
            ("/spec/ingress/0/from/-", json!({"pods": {}}), "pods: unknown field"),
            ("/spec/ingress/0/from/-", json!({"ipBlock": {}}), "ipBlock.cidr: is missing"),
        ],
    )?;
    is_refused(
        "Role",
        "lynceus-executor",
        &[
            ("/rules/0/verb", "get".into(), "verb: unknown field"),
            ("/rules/-", json!({"resources": ["pods"]}), "rules.1.verbs: is missing"),
        ],
    )
}

#[test]
fn object_of_unknown_kind_is_an_error() {
    assert!(refusals(&json!({"apiVersion": "v1", "kind": "Pood"})).is_err());
}
