//! The manifests against Argo's own schema, which is not a part of this repository.

use std::io::Write as _;

use anyhow::Context as _;
use pipelines::argo::yaml;
use serde_json::Value;

use super::files;

/// Argo's own JSON schema, made strict: nothing is allowed that it does not name.
#[test]
fn argos_schema_allows_every_field() -> anyhow::Result<()> {
    let Some(path) = std::env::var_os("LYNCEUS_ARGO_SCHEMA") else {
        let message = "LYNCEUS_ARGO_SCHEMA does not name Argo's api/jsonschema/schema.json";
        writeln!(std::io::stderr(), "not checked: {message}")?;
        return Ok(());
    };
    let schema: Value = serde_json::from_slice(&fs_err::read(path)?)?;
    let definitions = schema["definitions"].as_object().context("definitions")?;
    let mut checked = 0;
    for file in files(&["labels.scenarios=logs/scenarios.csv"])? {
        for (_, text) in yaml::documents(&file.text) {
            let value: Value = yaml::read(&text)?;
            let kind = value["kind"].as_str().context("kind")?;
            let name = format!("io.argoproj.workflow.v1alpha1.{kind}");
            if let Some(definition) = definitions.get(&name) {
                let mut misfits = Vec::new();
                hold_against(definitions, definition, &value, kind, &mut misfits);
                assert_eq!(misfits, [""; 0], "{}", file.name);
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 4, "two templates and two clocks");
    Ok(())
}

/// Walks a value along a schema (draft 2020-12, as far as Argo uses it) and notes what does not fit.
fn hold_against(
    definitions: &serde_json::Map<String, Value>,
    schema: &Value,
    value: &Value,
    path: &str,
    misfits: &mut Vec<String>,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.trim_start_matches("#/definitions/");
        // As shipped it refuses whole numbers here, which Kubernetes takes.
        if name.ends_with("IntOrString") {
            if !value.is_string() && !value.is_i64() {
                misfits.push(format!("{path}: neither a whole number nor a text"));
            }
            return;
        }
        match definitions.get(name) {
            Some(definition) => hold_against(definitions, definition, value, path, misfits),
            None => misfits.push(format!("{path}: no definition {name}")),
        }
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        misfits.push(format!("{path}: is no {}", schema["type"]));
    }
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(required).is_none() {
            misfits.push(format!("{path}: lacks {required}"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match schema["properties"].get(name).or(schema.get("additionalProperties")) {
            Some(inner) => hold_against(definitions, inner, field, &path, misfits),
            None if schema["properties"].is_object() => {
                misfits.push(format!("{path}: no such field"));
            }
            None => {}
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        hold_against(definitions, &schema["items"], item, &format!("{path}[{index}]"), misfits);
    }
}
