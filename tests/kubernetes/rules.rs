//! Rules of the API server that are not in its schema: names, ports, mounts, quantities.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Returns the errors of an object by these rules.
pub(super) fn refusals(object: &Value) -> Vec<String> {
    let mut said = Vec::new();
    let kind = object["kind"].as_str().unwrap_or_default();
    names(kind, object, &mut said);
    let spec = &object["spec"];
    match kind {
        "Pod" => pod("spec", spec, &Value::Null, &mut said),
        "Deployment" | "DaemonSet" | "StatefulSet" | "Job" => {
            let template = &spec["template"];
            pod("spec.template.spec", &template["spec"], &spec["volumeClaimTemplates"], &mut said);
            let selected = spec["selector"]["matchLabels"].as_object();
            let labels = &template["metadata"]["labels"];
            let matches =
                |it: &Map<String, Value>| it.iter().all(|(key, value)| labels[key] == *value);
            if kind != "Job" && !selected.is_some_and(|it| !it.is_empty() && matches(it)) {
                said.push("spec.selector: does not match the labels of the template".to_owned());
            }
            let policy = template["spec"]["restartPolicy"].as_str().unwrap_or("Always");
            if (policy == "Always") == (kind == "Job") {
                said.push(format!("spec.template.spec.restartPolicy: `{policy}` for a {kind}"));
            }
        }
        "Service" => {
            for (index, port) in items(&spec["ports"]) {
                let path = format!("spec.ports.{index}");
                number(&format!("{path}.port"), &port["port"], &mut said);
                port_reference(&format!("{path}.targetPort"), &port["targetPort"], &mut said);
            }
        }
        "NetworkPolicy" => policy(spec, &mut said),
        _ => {}
    }
    said
}

fn items(value: &Value) -> impl Iterator<Item = (usize, &Value)> {
    value.as_array().into_iter().flatten().enumerate()
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_outer = |c: Option<char>| c.is_some_and(|c| inner(c) && c != '-');
    text.len() <= 63
        && text.chars().all(inner)
        && is_outer(text.chars().next())
        && is_outer(text.chars().last())
}

fn names(kind: &str, object: &Value, said: &mut Vec<String>) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let is_right = match kind {
        // DNS-1123 label; that of a Service begins with a letter (DNS-1035).
        "Namespace" => is_label(name),
        "Service" => is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase()),
        _ => name.len() <= 253 && name.split('.').all(is_label),
    };
    if !is_right {
        said.push(format!("metadata.name: `{name}` is not a name by DNS-1123"));
    }
    for (path, metadata) in [
        ("metadata", &object["metadata"]),
        ("spec.template.metadata", &object["spec"]["template"]["metadata"]),
    ] {
        for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let is_outer = |c: char| c.is_ascii_alphanumeric();
            let is_value =
                value.is_empty() || (value.starts_with(is_outer) && value.ends_with(is_outer));
            if value.len() > 63 || !value.chars().all(is_part) || !is_value {
                said.push(format!("{path}.labels.{key}: `{value}` is not a value of a label"));
            }
        }
    }
}

fn pod(path: &str, spec: &Value, claims: &Value, said: &mut Vec<String>) {
    let mut volumes = BTreeSet::new();
    for (index, volume) in items(&spec["volumes"]) {
        let path = format!("{path}.volumes.{index}");
        let name = volume["name"].as_str().unwrap_or_default();
        if !is_label(name) {
            said.push(format!("{path}.name: `{name}` is not a name by DNS-1123"));
        }
        if !volumes.insert(name) {
            said.push(format!("{path}.name: `{name}` is there twice"));
        }
        let sources = volume.as_object().map_or(0, |fields| fields.len().saturating_sub(1));
        if sources != 1 {
            said.push(format!("{path}: names {sources} sources"));
        }
    }
    // Volume claims of a StatefulSet are volumes too.
    volumes.extend(items(claims).filter_map(|(_, claim)| claim["metadata"]["name"].as_str()));
    let mut known = BTreeSet::new();
    for (index, container) in items(&spec["containers"]) {
        let path = format!("{path}.containers.{index}");
        let name = container["name"].as_str().unwrap_or_default();
        if !is_label(name) {
            said.push(format!("{path}.name: `{name}` is not a name by DNS-1123"));
        }
        if !known.insert(name) {
            said.push(format!("{path}.name: `{name}` is there twice"));
        }
        self::container(&path, container, &volumes, said);
    }
    if known.is_empty() {
        said.push(format!("{path}.containers: is empty"));
    }
}

fn container(path: &str, container: &Value, volumes: &BTreeSet<&str>, said: &mut Vec<String>) {
    if container["image"].as_str().is_none_or(str::is_empty) {
        said.push(format!("{path}.image: is empty"));
    }
    let mut paths = BTreeSet::new();
    for (index, mount) in items(&container["volumeMounts"]) {
        let path = format!("{path}.volumeMounts.{index}");
        let name = mount["name"].as_str().unwrap_or_default();
        if !volumes.contains(name) {
            said.push(format!("{path}.name: Not found: \"{name}\""));
        }
        let place = mount["mountPath"].as_str().unwrap_or_default();
        if place.is_empty() || !paths.insert(place) {
            said.push(format!("{path}.mountPath: `{place}` is there twice or empty"));
        }
    }
    let mut ports = BTreeSet::new();
    for (index, port) in items(&container["ports"]) {
        let path = format!("{path}.ports.{index}");
        number(&format!("{path}.containerPort"), &port["containerPort"], said);
        if let Some(name) = port["name"].as_str() {
            ports.insert(name);
            port_reference(&format!("{path}.name"), &port["name"], said);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let port = &container[probe]["httpGet"]["port"];
        port_reference(&format!("{path}.{probe}.httpGet.port"), port, said);
        if port.as_str().is_some_and(|name| !ports.contains(name)) {
            said.push(format!(
                "{path}.{probe}.httpGet.port: there is no port named `{}`",
                port.as_str().unwrap_or_default()
            ));
        }
    }
    for (index, variable) in items(&container["env"]) {
        let name = variable["name"].as_str().unwrap_or_default();
        let is_part = |c: char| c.is_ascii_graphic() && c != '=';
        if name.is_empty() || !name.chars().all(is_part) {
            said.push(format!("{path}.env.{index}.name: `{name}` is not the name of a variable"));
        }
    }
    let resources = &container["resources"];
    for (what, request) in resources["requests"].as_object().into_iter().flatten() {
        let both = quantity(request).zip(quantity(&resources["limits"][what]));
        if both.is_some_and(|(request, limit)| request > limit) {
            said.push(format!("{path}.resources.requests.{what}: is more than its limit"));
        }
    }
}

/// A port by its number, or by its name: at most 15 lower-case letters, digits and `-`, with a letter.
fn port_reference(path: &str, port: &Value, said: &mut Vec<String>) {
    let Some(name) = port.as_str() else {
        if !port.is_null() {
            number(path, port, said);
        }
        return;
    };
    let has_letter = name.contains(|c: char| c.is_ascii_lowercase());
    if name.len() > 15 || !is_label(name) || !has_letter || name.contains("--") {
        said.push(format!("{path}: `{name}` is not the name of a port"));
    }
}

fn number(path: &str, port: &Value, said: &mut Vec<String>) {
    if port.as_i64().is_some_and(|port| !(1..=65_535).contains(&port)) {
        said.push(format!("{path}: {port} is not between 1 and 65535"));
    }
}

fn policy(spec: &Value, said: &mut Vec<String>) {
    for (index, direction) in items(&spec["policyTypes"]) {
        let direction = direction.as_str().unwrap_or_default();
        if !["Ingress", "Egress"].contains(&direction) {
            said.push(format!("spec.policyTypes.{index}: `{direction}` is not a direction"));
        }
    }
    for direction in ["ingress", "egress"] {
        for (rule, ports) in items(&spec[direction]) {
            for (index, port) in items(&ports["ports"]) {
                let path = format!("spec.{direction}.{rule}.ports.{index}.port");
                port_reference(&path, &port["port"], said);
            }
        }
    }
}

/// Returns the error of an invalid quantity.
pub(super) fn wrong_quantity(value: &Value) -> Option<String> {
    quantity(value).is_none().then(|| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("`{text}` is not a quantity")
    })
}

/// Returns the value of a quantity: a number with a suffix of Kubernetes, or with an exponent.
fn quantity(value: &Value) -> Option<f64> {
    let Some(text) = value.as_str() else { return value.as_f64() };
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, suffix) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        other => 10_f64.powi(other.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number.parse::<f64>().ok()? * factor)
}
