//! The document of a run, field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::runs::Run;

/// Returns the fields of a run's document by path, each as text; empty without a document.
pub fn of(run: &Run) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let document = document::read(&run.folder.join("document.yaml")).ok();
    if let Some(value) = document.and_then(|document| serde_json::to_value(document).ok()) {
        flatten("", &value, &mut fields);
    }
    fields
}

/// Returns the fields that differ, with their value in each document.
pub fn differences(documents: &[BTreeMap<String, String>]) -> Vec<(String, Vec<Option<String>>)> {
    let keys: BTreeSet<&String> = documents.iter().flat_map(BTreeMap::keys).collect();
    let said = |key: &String| -> Vec<Option<String>> {
        documents.iter().map(|fields| fields.get(key).cloned()).collect()
    };
    keys.into_iter()
        .map(|key| (key.clone(), said(key)))
        .filter(|(_, said)| said.windows(2).any(|pair| pair[0] != pair[1]))
        .collect()
}

fn flatten(path: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    let join =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(object) if !object.is_empty() => {
            object.iter().for_each(|(name, value)| flatten(&join(name), value, fields));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                // Inserting a query must not appear as a change of all queries after it.
                let name = item.get("name").and_then(Value::as_str);
                flatten(&join(name.unwrap_or(&index.to_string())), item, fields);
            }
        }
        Value::String(text) => {
            fields.insert(path.to_owned(), text.clone());
        }
        other => {
            fields.insert(path.to_owned(), other.to_string());
        }
    }
}
