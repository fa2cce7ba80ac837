//! The pods that Argo makes of the manifests, checked like the API server does: by its published
//! schema, and by its other rules.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use argo::yaml;
use serde_json::{Value, json};

use super::{TALKATIVE, files, readers};

/// Returns a list's items; empty for an absent list.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the workflows of manifests: those of templates, and those in `CronWorkflows`.
fn workflows(texts: &[String]) -> Result<Vec<Value>> {
    let mut specs = Vec::new();
    for (_, text) in texts.iter().flat_map(|text| yaml::documents(text)) {
        let object: Value = yaml::read(&text)?;
        let spec = match object["kind"].as_str() {
            Some("WorkflowTemplate") => &object["spec"],
            Some("CronWorkflow") => &object["spec"]["workflowSpec"],
            _ => continue,
        };
        specs.extend(spec["templates"].is_array().then(|| spec.clone()));
    }
    Ok(specs)
}

/// Makes the pod of a template as Argo 3.6 to 4.1 do, with Argo's own containers `init` and `wait`.
fn pod(spec: &Value, template: &Value) -> Result<Value> {
    let name = template["name"].as_str().context("a template has a name")?;
    let mut containers: Vec<Value> = list(&template["containerSet"]["containers"]).to_vec();
    if let Some(container) = template["container"].as_object() {
        let mut container = Value::Object(container.clone());
        container["name"] = "main".into();
        containers.push(container);
    }
    let shared = list(&template["containerSet"]["volumeMounts"]);
    let own = list(&template["container"]["volumeMounts"]);
    let named: BTreeSet<&str> =
        shared.iter().chain(own).filter_map(|mount| mount["name"].as_str()).collect();
    let volumes = list(&spec["volumes"]).iter();
    let volumes = volumes.filter(|it| it["name"].as_str().is_some_and(|it| named.contains(it)));
    for container in &mut containers {
        let container = container.as_object_mut().context("a container")?;
        container.remove("dependencies");
        let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
        if template["containerSet"].is_object() {
            mounts.as_array_mut().context("mounts")?.extend(shared.iter().cloned());
        }
    }
    containers.push(json!({"name": "wait", "image": "argoexec"}));
    let mut labels = spec["podMetadata"]["labels"].clone();
    for (key, value) in template["metadata"]["labels"].as_object().into_iter().flatten() {
        labels[key] = value.clone();
    }
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("lynceus-{name}"), "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [{"name": "init", "image": "argoexec"}],
            "containers": containers,
            "volumes": volumes.cloned().collect::<Vec<_>>(),
            "securityContext": spec["securityContext"],
            "serviceAccountName": spec["serviceAccountName"],
            "automountServiceAccountToken": spec["automountServiceAccountToken"],
            "activeDeadlineSeconds": template["activeDeadlineSeconds"],
        },
    });
    for patch in [&spec["podSpecPatch"], &template["podSpecPatch"]] {
        if let Some(patch) = patch.as_str() {
            apply(&mut pod["spec"], &yaml::read(patch)?);
        }
    }
    Ok(pod)
}

/// Applies a strategic merge patch: lists of containers and volumes are merged by name.
fn apply(spec: &mut Value, patch: &Value) {
    for (field, items) in patch.as_object().into_iter().flatten() {
        for item in list(items) {
            let Some(known) = spec[field].as_array_mut() else { continue };
            match known.iter_mut().find(|other| other["name"] == item["name"]) {
                Some(other) => {
                    for (key, value) in item.as_object().into_iter().flatten() {
                        other[key] = value.clone();
                    }
                }
                None => known.push(item.clone()),
            }
        }
    }
}

/// Returns the errors of a pod that is valid by the schema but that the API server rejects.
fn refusals(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut refusals = Vec::new();
    let mut names = BTreeSet::new();
    let volumes: Vec<&Value> = list(&spec["volumes"]).iter().map(|it| &it["name"]).collect();
    for (index, container) in list(&spec["containers"]).iter().enumerate() {
        let name = container["name"].as_str().unwrap_or_default();
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 63 || !name.chars().all(inner) {
            refusals.push(format!("spec.containers[{index}].name: Invalid value: {name:?}"));
        }
        if !names.insert(name) {
            refusals.push(format!("spec.containers[{index}].name: Duplicate value: {name:?}"));
        }
        let mut paths = BTreeSet::new();
        for (number, mount) in list(&container["volumeMounts"]).iter().enumerate() {
            let at = format!("spec.containers[{index}].volumeMounts[{number}]");
            if !volumes.contains(&&mount["name"]) {
                refusals.push(format!("{at}.name: Not found: {}", mount["name"]));
            }
            if !paths.insert(mount["mountPath"].as_str()) {
                refusals.push(format!("{at}.mountPath: must be unique: {}", mount["mountPath"]));
            }
        }
    }
    refusals
}

fn pods(sets: &[&str], change: impl Fn(&str) -> String) -> Result<Vec<Value>> {
    let texts: Vec<String> = files(sets)?.iter().map(|file| change(&file.text)).collect();
    let mut pods = Vec::new();
    for spec in workflows(&texts)? {
        for template in list(&spec["templates"]).iter().filter(|it| !it["dag"].is_object()) {
            pods.push(pod(&spec, template)?);
        }
    }
    Ok(pods)
}

/// If several containers failed, Argo takes the first by name for the workflow's message: one that
/// did not run because another failed must not come before it.
#[test]
fn container_comes_after_those_for_which_it_waits_by_name() -> Result<()> {
    let texts: Vec<String> = files(&TALKATIVE)?.into_iter().map(|file| file.text).collect();
    let mut count = 0;
    for spec in workflows(&texts)? {
        let templates = list(&spec["templates"]).iter();
        for container in templates.flat_map(|it| list(&it["containerSet"]["containers"])) {
            for needed in list(&container["dependencies"]) {
                assert!(needed.as_str() < container["name"].as_str(), "{container}");
                count += 1;
            }
        }
    }
    assert!(count > 3, "{count} dependencies");
    Ok(())
}

#[test]
fn pod_of_each_template_is_accepted_by_the_api_server() -> Result<()> {
    for sets in [&[][..], &TALKATIVE] {
        let pods = pods(sets, str::to_owned)?;
        assert!(pods.len() >= 4, "{}", pods.len());
        let refused: Vec<String> = pods.iter().flat_map(refusals).collect();
        assert_eq!(refused, [""; 0]);
        let Some(said) = readers::refused_by_schema(&pods)? else { return Ok(()) };
        assert_eq!(said, "");
    }
    Ok(())
}

#[test]
fn pod_with_a_volume_that_only_the_workflow_has_is_refused() -> Result<()> {
    let pods =
        pods(&[], |text| text.replace("podSpecPatch: |\n        volumes:", "x: |\n        v:"))?;
    let refused: Vec<String> = pods.iter().flat_map(refusals).collect();
    let expected = "spec.containers[0].volumeMounts[0].name: Not found: \"document\"";
    assert!(refused.iter().any(|said| said == expected), "{refused:?}");
    Ok(())
}

#[test]
fn pod_with_a_field_that_kubernetes_does_not_have_is_refused_by_its_schema() -> Result<()> {
    let broken = |text: &str| text.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem");
    let Some(said) = readers::refused_by_schema(&pods(&[], broken)?)? else { return Ok(()) };
    assert!(said.contains("readOnlyRootFileSystem"), "{said}");
    Ok(())
}
