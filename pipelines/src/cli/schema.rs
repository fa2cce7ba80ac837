//! `lynceus schema`: prints the JSON Schema of documents, or the reference page that is generated
//! from it.

mod examples;

use clap::{Args, ValueEnum};
use contract::StepError;
use serde_json::{Map, Value};

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

impl SchemaArgs {
    /// Returns whether the page is printed, not the schema.
    pub(super) fn is_markdown(&self) -> bool {
        self.format == Format::Markdown
    }
}

/// Form of the description of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON Schema, for editors and validators.
    Json,
    /// Tables of all fields, for people.
    Markdown,
}

pub(super) fn execute(args: &SchemaArgs) -> Result<(), StepError> {
    let schema = document::schema();
    match args.format {
        Format::Json => super::print_json(&schema),
        Format::Markdown => super::print(&markdown(&schema)),
    }
}

const HEAD: &str = "\
# The pipeline document

Every field of a document, generated from its schema by `lynceus schema --format markdown`. `lynceus schema` prints the schema itself: an editor
with a YAML language server completes and checks documents by it. A field without a default and marked *required* must be given; unknown fields are
errors. Durations are written `10d`, `5m`, `1h30m` or `250ms`. Examples are in the flow style of YAML; sections of their own show nested fields.
";

/// Returns one section with a table for the document and for each type that has fields or variants.
fn markdown(schema: &Value) -> String {
    let nothing = Map::new();
    let types = schema["$defs"].as_object().unwrap_or(&nothing);
    let mut text = HEAD.to_owned();
    section(&mut text, "Document", schema, types);
    for (name, schema) in types {
        if has_section(schema) {
            section(&mut text, name, schema, types);
        }
    }
    text
}

/// Returns whether a type gets its own section; other types are shown inline.
fn has_section(schema: &Value) -> bool {
    schema["properties"].is_object() || schema["oneOf"].is_array()
}

fn section(text: &mut String, name: &str, schema: &Value, types: &Map<String, Value>) {
    text.push_str(&format!("\n## {name}\n\n{}\n\n", words(schema)));
    if let Some(fields) = schema["properties"].as_object() {
        text.push_str("| field | type | default | example | meaning |\n|---|---|---|---|---|\n");
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        for (field, schema) in fields {
            let is_required = required.iter().any(|name| name.as_str() == Some(field));
            row(text, (name, field), schema, is_required, types);
        }
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        text.push_str("| value | meaning |\n|---|---|\n");
        for variant in variants {
            text.push_str(&format!("| {} | {} |\n", value(variant, types), words(variant)));
        }
    }
}

fn row(
    text: &mut String,
    (owner, field): (&str, &str),
    schema: &Value,
    is_required: bool,
    types: &Map<String, Value>,
) {
    let default = match schema.get("default") {
        Some(default) => code(default),
        None if is_required => "*required*".to_owned(),
        None => String::new(),
    };
    let kind = kind(schema, types);
    let example = examples::example(owner, field, schema, types).replace('|', "\\|");
    let meaning = words(schema);
    text.push_str(&format!("| `{field}` | {kind} | {default} | `{example}` | {meaning} |\n"));
}

/// Returns a schema's description in one line that a table can hold.
fn words(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\n', " ").replace('|', "\\|")
}

/// Returns a JSON value as code.
fn code(value: &Value) -> String {
    format!("`{}`", value.to_string().replace('|', "\\|"))
}

/// Returns one way to write a type with variants.
fn value(variant: &Value, types: &Map<String, Value>) -> String {
    if let Some(constant) = variant.get("const") {
        return code(constant);
    }
    if let Some(values) = variant["enum"].as_array() {
        return values.iter().map(code).collect::<Vec<_>>().join(" or ");
    }
    let nothing = Map::new();
    let fields = variant["properties"].as_object().unwrap_or(&nothing);
    let fields = fields.iter().map(|(name, schema)| format!("`{name}:` {}", kind(schema, types)));
    fields.collect::<Vec<_>>().join(", ")
}

/// Returns the type of a field, linked to its section if it has one.
fn kind(schema: &Value, types: &Map<String, Value>) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return match types.get(name) {
            Some(schema) if has_section(schema) => format!("[{name}](#{})", name.to_lowercase()),
            _ => name.to_lowercase(),
        };
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return alternatives(choices, types);
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => {
            format!("list of {}", kind(&schema["items"], types))
        }
        Value::String(name) if name == "object" => match &schema["additionalProperties"] {
            Value::Object(_) => format!("map of {}", kind(&schema["additionalProperties"], types)),
            _ => "map".to_owned(),
        },
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.collect::<Vec<_>>().join(" or ")
        }
        _ => "any value".to_owned(),
    }
}

/// Returns the types of a choice, without `null`: a field that may be null may be absent.
fn alternatives(choices: &[Value], types: &Map<String, Value>) -> String {
    let choices = choices.iter().filter(|choice| choice["type"] != "null");
    choices.map(|choice| kind(choice, types)).collect::<Vec<_>>().join(" or ")
}
