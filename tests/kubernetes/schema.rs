//! The published `OpenAPI` of Kubernetes: the fields, which are required, and their types.

use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The schemas of `lynceus lint`, which this check reads by itself.
static OPENAPI: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../crates/argo/schemas/fields.json");
    serde_json::from_str(text).expect("the file is JSON")
});

/// Returns the errors of an object by the schema of its kind.
pub(super) fn refusals(object: &Value) -> Result<Vec<String>> {
    let word = |name: &str| object[name].as_str().unwrap_or_default();
    let kind = format!("{}/{}", word("apiVersion"), word("kind"));
    let definition = OPENAPI["kinds"][&kind].as_str();
    let definition = definition.with_context(|| format!("no schema of `{kind}`"))?;
    let mut said = Vec::new();
    check(&OPENAPI["definitions"][definition], object, "", &mut said);
    Ok(said)
}

fn check(schema: &Value, value: &Value, path: &str, said: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let definition = &OPENAPI["definitions"][reference];
        assert!(definition.is_object(), "no definition of `{reference}`");
        if reference.ends_with(".Quantity") {
            if let Some(why) = super::rules::wrong_quantity(value) {
                said.push(format!("{path}: {why}"));
            }
            return;
        }
        return check(definition, value, path, said);
    }
    let (is_right, wanted) = match schema["type"].as_str() {
        Some("object") => (value.is_object(), "an object"),
        Some("array") => (value.is_array(), "an array"),
        Some("integer-or-string") => {
            (value.is_string() || value.is_i64(), "an integer or a string")
        }
        Some("string") => (value.is_string(), "a string"),
        Some("integer") => (value.is_i64(), "an integer"),
        Some("number") => (value.is_number(), "a number"),
        Some("boolean") => (value.is_boolean(), "a boolean"),
        None => return,
        other => panic!("{path}: the schema has type {other:?}"),
    };
    if !is_right {
        said.push(format!("{path}: must be {wanted}"));
        return;
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &below(path, &index.to_string()), said);
    }
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            said.push(format!("{}: is missing", below(path, name)));
        }
    }
    // An object without properties is a map, or an object that this reduced schema does not check.
    let known = schema["properties"].as_object();
    for (name, item) in fields {
        let place = below(path, name);
        match known {
            Some(known) => match known.get(name) {
                Some(schema) => check(schema, item, &place, said),
                None => said.push(format!("{place}: unknown field")),
            },
            None if schema["additionalProperties"].is_object() => {
                check(&schema["additionalProperties"], item, &place, said);
            }
            None => {}
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
