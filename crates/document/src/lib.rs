//! The pipeline document: what a user edits to adapt Lynceus to a cluster.
//!
//! [`read_with`] reads a YAML file, applies its profile, overlays and single fields, and returns
//! typed sections. Invalid values are refused with file, line, column and field.

pub mod alerts;
mod below;
pub mod channels;
mod check;
pub mod classify;
pub mod collect;
mod deserialize;
pub mod document;
pub mod expectations;
pub mod extension;
pub mod features;
pub mod heartbeat;
pub mod http;
pub mod least;
pub mod node;
pub mod postgres;
mod problem;
pub mod promql;
mod read;
pub mod scoring;
mod secret;
pub mod sections;
pub mod shards;
pub mod sinks;
pub mod sources;
pub mod template;
pub mod tracking;
mod url;

pub use below::below;
pub use deserialize::closest;
pub use document::Document;
pub use problem::Problem;
pub use read::{
    Changes, parse, place_of, problems, problems_in, profiles, read, read_as, read_with, to_yaml,
    write,
};
pub use secret::Secret;
pub use url::{HttpUrl, UrlError};

/// Returns the JSON Schema of a document, for editors.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Document).to_value();
    allow_bare_names(&mut schema);
    schema
}

/// Allows `- raw` where `- raw: {}` is allowed: the reader accepts a bare name as a mapping without
/// fields.
fn allow_bare_names(schema: &mut serde_json::Value) {
    let Some(definitions) = schema.get_mut("$defs").and_then(|defs| defs.as_object_mut()) else {
        return;
    };
    let needs_nothing = |definition: &serde_json::Value| {
        definition.get("required").and_then(|names| names.as_array()).is_none_or(Vec::is_empty)
    };
    let bare: Vec<String> = definitions
        .iter()
        .filter(|(_, definition)| needs_nothing(definition))
        .map(|(name, _)| format!("#/$defs/{name}"))
        .collect();
    let choices = definitions.values_mut().filter_map(|definition| definition.get_mut("oneOf"));
    for choices in choices.filter_map(|choices| choices.as_array_mut()) {
        let names: Vec<serde_json::Value> = choices
            .iter()
            .filter_map(|choice| {
                let (name, inner) = choice.get("properties")?.as_object()?.iter().next()?;
                let inner = inner.get("$ref")?.as_str()?;
                bare.iter().any(|bare| bare == inner).then(|| name.as_str().into())
            })
            .collect();
        if !names.is_empty() {
            choices.push(serde_json::json!({"enum": names}));
        }
    }
}
