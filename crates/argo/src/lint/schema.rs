//! Checks fields by the published schemas of Argo Workflows and Kubernetes: their names, their
//! types, and which are required.
//!
//! `crates/argo/schemas/reduce.py` makes the file with the fields from those schemas.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use document::closest;
use document::node::{self, Key, Node, Place, Value};
use serde::Deserialize;

use crate::yaml::{self, Misfit};

/// Most names that an error lists.
const MOST_NAMES: usize = 12;

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../schemas/fields.json")).unwrap_or_default()
});

#[derive(Debug, Default, Deserialize)]
struct Published {
    /// The definition of each kind, by API version and kind.
    kinds: BTreeMap<String, String>,
    definitions: BTreeMap<String, Schema>,
}

/// A JSON schema, reduced to fields and types.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Schema {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    /// None if any value is valid.
    #[serde(rename = "type")]
    kind: Option<Kind>,
    /// None for a map, or for an object that is not described.
    properties: Option<BTreeMap<String, Schema>>,
    additional_properties: Option<Box<Schema>>,
    items: Option<Box<Schema>>,
    required: Vec<String>,
}

/// A type that a schema names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntegerOrString,
    Quantity,
    Scalar,
}

/// The type of a value, as kubectl reads it (YAML 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// What the schemas say about a kind of objects.
pub(super) enum Known {
    /// They describe it.
    Described(&'static str),
    /// They describe the kind in these API versions.
    Elsewhere(Vec<&'static str>),
    /// They do not have it, but they have one of a similar name, or all others of its API version.
    Unknown(Option<&'static str>),
    /// It belongs to another project.
    Foreign,
}

/// Returns what is known of a kind of objects.
pub(super) fn known(api_version: &str, kind: &str) -> Known {
    let kinds = &PUBLISHED.kinds;
    if let Some(definition) = kinds.get(&format!("{api_version}/{kind}")) {
        return Known::Described(definition);
    }
    let all = || kinds.keys().filter_map(|known| known.rsplit_once('/'));
    let versions: Vec<&str> =
        all().filter(|(_, other)| *other == kind).map(|(version, _)| version).collect();
    if !versions.is_empty() {
        return Known::Elsewhere(versions);
    }
    let mut of_version = all().filter(|(version, _)| *version == api_version).peekable();
    let is_described = of_version.peek().is_some();
    // Other projects have kinds in these groups, too.
    let is_whole = is_described && !api_version.contains("argoproj.io");
    match similar(kind, of_version.map(|(_, kind)| kind)) {
        Some(meant) => Known::Unknown(Some(meant)),
        None if is_whole => Known::Unknown(None),
        None => Known::Foreign,
    }
}

/// Returns the errors of an object, or of settings, by the definition of this name. The place of
/// the text in the file `name` is that of its first line.
pub(super) fn misfits(definition: &str, name: &str, text: &str) -> Vec<Misfit> {
    check(definition, name, text, false)
}

/// Returns the errors of a patch, which has only the fields that it changes.
pub(super) fn misfits_of_patch(definition: &str, text: &str) -> Vec<Misfit> {
    check(definition, "patch", text, true)
}

fn check(definition: &str, name: &str, text: &str, is_patch: bool) -> Vec<Misfit> {
    let Some((definition, schema)) = PUBLISHED.definitions.get_key_value(definition) else {
        return Vec::new();
    };
    let root = match node::parse(name, text) {
        Ok(root) => root,
        // This parser takes less than Kubernetes does: texts in quotes over several lines have to be
        // indented. Then the errors have no place.
        Err(_) => match yaml::read::<serde_json::Value>(text) {
            Ok(value) => without_places(&value),
            Err(misfit) => return vec![misfit],
        },
    };
    let mut walk = Walk { found: Vec::new(), is_patch };
    walk.value(schema, definition, "the object", &root);
    walk.found
}

/// Returns a value as a tree without lines.
fn without_places(value: &serde_json::Value) -> Node {
    let place = || Place { source: "".into(), line: 0, column: 0 };
    let scalar = |text: String, quoted| Value::Scalar { text, quoted };
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => scalar(value.to_string(), false),
        serde_json::Value::Number(number) => scalar(number.to_string(), false),
        serde_json::Value::String(text) => scalar(text.clone(), true),
        serde_json::Value::Array(items) => Value::List(items.iter().map(without_places).collect()),
        serde_json::Value::Object(fields) => {
            let key = |text: &String| Key { text: text.clone(), place: place() };
            Value::Map(fields.iter().map(|(name, it)| (key(name), without_places(it))).collect())
        }
    };
    Node { value, place: place() }
}

struct Walk {
    found: Vec<Misfit>,
    /// Whether required fields may be missing.
    is_patch: bool,
}

impl Walk {
    fn say(&mut self, place: &Place, message: String) {
        let line_and_column = u64::try_from(place.line).ok().zip(u64::try_from(place.column).ok());
        let place = line_and_column.filter(|(line, _)| *line > 0);
        self.found.push(Misfit { place, message });
    }

    /// Checks a value; `of` is the definition that it is a part of.
    fn value(&mut self, schema: &'static Schema, of: &'static str, name: &str, node: &Node) {
        let (schema, of) = match &schema.reference {
            Some(reference) => match PUBLISHED.definitions.get(reference) {
                Some(schema) => (schema, reference.as_str()),
                None => return,
            },
            None => (schema, of),
        };
        let (Some(wanted), Some(found)) = (schema.kind, found(&node.value)) else { return };
        if !wanted.takes(found) {
            return self.say(&node.place, mistyped(name, wanted, found, &node.value));
        }
        match &node.value {
            Value::Map(entries) => self.fields(schema, of, node, entries),
            Value::List(items) => {
                let Some(schema) = schema.items.as_deref() else { return };
                items.iter().for_each(|item| self.value(schema, of, name, item));
            }
            Value::Null | Value::Scalar { .. } => {}
        }
    }

    fn fields(
        &mut self,
        schema: &'static Schema,
        of: &'static str,
        node: &Node,
        entries: &[(Key, Node)],
    ) {
        let mut merges = false;
        for (key, value) in entries {
            // A YAML merge: its fields count as fields of this object.
            if key.text == "<<" {
                merges = true;
                continue;
            }
            // Directions of a patch, such as `$patch: delete`.
            if self.is_patch && key.text.starts_with('$') {
                continue;
            }
            match (&schema.properties, schema.additional_properties.as_deref()) {
                (Some(known), _) => match known.get(&key.text) {
                    Some(schema) => self.value(schema, of, &key.text, value),
                    None => self.say(&key.place, unknown(&key.text, known, of)),
                },
                (None, Some(schema)) => self.value(schema, of, &key.text, value),
                (None, None) => {}
            }
        }
        if self.is_patch || merges {
            return;
        }
        for name in &schema.required {
            let is_set = |(key, value): &(Key, Node)| {
                key.text == *name && !matches!(value.value, Value::Null)
            };
            if !entries.iter().any(is_set) {
                self.say(&node.place, format!("field `{name}` is missing ({})", described(of)));
            }
        }
    }
}

impl Kind {
    fn takes(self, found: Found) -> bool {
        let is_scalar = !matches!(found, Found::Object | Found::Array);
        match self {
            Self::Object => found == Found::Object,
            Self::Array => found == Found::Array,
            Self::String => found == Found::String,
            Self::Integer => found == Found::Integer,
            Self::Number => matches!(found, Found::Integer | Found::Number),
            Self::Boolean => found == Found::Boolean,
            Self::IntegerOrString => matches!(found, Found::Integer | Found::String),
            Self::Quantity => is_scalar && found != Found::Boolean,
            Self::Scalar => is_scalar,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::IntegerOrString => "an integer or a string",
            Self::Quantity => "a quantity",
            Self::Scalar => "a single value",
        }
    }
}

impl Found {
    fn words(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
        }
    }
}

/// Returns the type of a value; `None` for null, which Kubernetes reads as a field that is not set.
fn found(value: &Value) -> Option<Found> {
    Some(match value {
        Value::Null => return None,
        Value::Scalar { text, quoted: false } => plain(text),
        Value::Scalar { .. } => Found::String,
        Value::List(_) => Found::Array,
        Value::Map(_) => Found::Object,
    })
}

/// Returns the type of a text without quotes.
fn plain(text: &str) -> Found {
    const BOOLEANS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_word = |word: &str| {
        let first = word.chars().take(1).map(|c| c.to_ascii_uppercase());
        let capital: String = first.chain(word.chars().skip(1)).collect();
        text == word || text == word.to_uppercase() || text == capital
    };
    if BOOLEANS.iter().any(|word| is_word(word)) {
        return Found::Boolean;
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).replace('_', "");
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, radix)));
    let (number, radix) = radix.unwrap_or((digits.as_str(), 10));
    if !number.is_empty() && number.chars().all(|c| c.is_digit(radix)) {
        return Found::Integer;
    }
    let is_decimal = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit());
    if (is_decimal && digits.parse::<f64>().is_ok()) || [".inf", ".nan"].contains(&digits.as_str())
    {
        return Found::Number;
    }
    Found::String
}

fn mistyped(name: &str, wanted: Kind, found: Found, value: &Value) -> String {
    let Value::Scalar { text, quoted } = value else {
        return format!("`{name}` must be {}, and is {}", wanted.words(), found.words());
    };
    let hint = if *quoted && wanted.takes(plain(text)) {
        " (remove the quotes)"
    } else if wanted == Kind::String {
        " (put it in quotes)"
    } else {
        ""
    };
    let wanted = wanted.words();
    // A text of several lines would hide the error.
    let shown: String = text.chars().take_while(|c| *c != '\n').take(40).collect();
    format!("`{name}` must be {wanted}, and `{shown}` is {}{hint}", found.words())
}

fn unknown(name: &str, known: &BTreeMap<String, Schema>, of: &str) -> String {
    let names = || known.keys().map(String::as_str);
    if let Some(meant) = similar(name, names()) {
        return format!("unknown field `{name}` (did you mean `{meant}`?)");
    }
    if known.len() > MOST_NAMES {
        return format!("unknown field `{name}` ({} has none of a similar name)", described(of));
    }
    let known: Vec<&str> = names().collect();
    format!("unknown field `{name}` (known are {})", known.join(", "))
}

/// Returns the most similar name without regard to upper and lower case.
fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<(String, &str)> = known.map(|it| (it.to_lowercase(), it)).collect();
    let meant = closest(name, known.iter().map(|(lower, _)| lower.as_str()))?;
    known.iter().find(|(lower, _)| lower == meant).map(|(_, name)| *name)
}

/// Returns the words for a definition: its name and its project.
fn described(definition: &str) -> String {
    let name = definition.rsplit('.').next().unwrap_or_default();
    let project = if definition.contains("io.argoproj") {
        "Argo Workflows 4.1"
    } else if definition.contains("io.k8s") {
        "Kubernetes 1.34"
    } else {
        return format!("`{name}`");
    };
    format!("`{name}` of {project}")
}
